"""The configuration as transformers wants it."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from transformers import PretrainedConfig

from ove_codec.models.config import MODEL_TYPE, OVEncoderConfig, refuse_successors

_FIELDS = {field.name: field.default for field in fields(OVEncoderConfig)}


class OneVisionEncoderConfig(PretrainedConfig):
    """The fields of `OVEncoderConfig`, with its defaults, and those of every configuration of transformers.

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

    def encoder_config(self) -> OVEncoderConfig:
        """The same as the encoder itself takes it, checked."""
        return OVEncoderConfig(**{name: getattr(self, name) for name in _FIELDS})
