"""The configuration as transformers wants it."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from transformers import PretrainedConfig

from ove_codec.models.config import MODEL_TYPE, MODEL_TYPES, OVEncoderConfig, refuse_successors

_FIELDS = {field.name: field.default for field in fields(OVEncoderConfig)}


class OneVisionEncoderConfig(PretrainedConfig):
    """The fields of `OVEncoderConfig`, with its defaults, and those of every configuration of transformers.

    It is written with the `model_type` of its `rope_layout`, as `OVEncoderConfig` writes it, and reads either.

    Raises:
        ValueError: a size or option is not allowed; the message names it.
    """

    model_type = MODEL_TYPE

    def __init__(self, **values: Any) -> None:
        own = {name: values.pop(name, default) for name, default in _FIELDS.items()}
        refuse_successors(values)
        super().__init__(**values)
        for name, value in own.items():
            setattr(self, name, value)
        self.encoder_config()

    @classmethod
    def get_config_dict(cls, *args: Any, **kwargs: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        """As of every configuration; both types are one class here, which transformers would warn about."""
        values, rest = super().get_config_dict(*args, **kwargs)
        if values.get("model_type") in MODEL_TYPES.values():
            values["model_type"] = MODEL_TYPE
        return values, rest

    def to_dict(self) -> dict[str, Any]:
        """What `save_pretrained` writes."""
        return {**super().to_dict(), "model_type": MODEL_TYPES[self.rope_layout]}

    def encoder_config(self) -> OVEncoderConfig:
        """The same as the encoder itself takes it, checked."""
        return OVEncoderConfig(**{name: getattr(self, name) for name in _FIELDS})
