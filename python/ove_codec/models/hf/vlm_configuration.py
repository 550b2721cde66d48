"""Configurations of LLaVA-OneVision-2 and Mage-VL as transformers wants them."""

from __future__ import annotations

from dataclasses import fields
from typing import Any, ClassVar

import transformers
from transformers import AutoConfig, PretrainedConfig

from ove_codec.models.tower_config import OVTowerConfig, refuse_unknown

_DEFAULTS = {field.name: field.default for field in fields(OVTowerConfig)}
_MAGE_ONLY = ("use_patch_position_encoding", "max_position_embeddings")
_INTERNAL = ("fused_qkv", "rope_layout", "rope_temporal_size")


def check_version() -> None:
    """Raises ImportError before transformers 5, which reads other rotary frequencies from the files' `text_config`."""
    if int(transformers.__version__.partition(".")[0]) < 5:
        raise ImportError(f"LLaVA-OneVision-2 and Mage-VL need transformers 5, but this is {transformers.__version__}")


class LlavaOnevision2VisionConfig(PretrainedConfig):
    """The fields of `OVTowerConfig`, with the defaults of LLaVA-OneVision-2, and those of every configuration.

    Raises:
        ValueError: a size or option is not allowed, or a key is not known and may change results.
    """

    model_type = "onevision_encoder"
    base_config_key = "vision_config"
    own_defaults: ClassVar[dict[str, Any]] = {
        **{name: value for name, value in _DEFAULTS.items() if name not in (*_INTERNAL, *_MAGE_ONLY)},
        "spatial_merge_size": 3,
    }

    def __init__(self, **values: Any) -> None:
        model_type = values.pop("model_type", self.model_type)
        if model_type != self.model_type:
            raise ValueError(f"vision_config must be of the model_type {self.model_type!r}, got {model_type!r}")
        refuse_unknown(values)
        own = {name: values.pop(name, default) for name, default in self.own_defaults.items()}
        super().__init__(**values)
        for name, value in own.items():
            setattr(self, name, value)
        self.tower_config()

    def tower_config(self) -> OVTowerConfig:
        """The same as the tower itself takes it, checked."""
        names = [name for name in _DEFAULTS if name not in _INTERNAL and hasattr(self, name)]
        return OVTowerConfig(**{name: getattr(self, name) for name in names})


class MageVLVisionConfig(LlavaOnevision2VisionConfig):
    """The fields of `OVTowerConfig`, with the defaults of Mage-VL."""

    model_type = "mage_vl_vision"
    own_defaults: ClassVar[dict[str, Any]] = {name: value for name, value in _DEFAULTS.items() if name not in _INTERNAL}

    def __init__(self, **values: Any) -> None:  # transformers makes another one for a class without
        super().__init__(**values)


class LlavaOnevision2Config(PretrainedConfig):
    """A vision tower and a language model, and the tokens that stand for images and videos.

    Args:
        vision_config: of the tower, or its dict.
        text_config: of any causal language model of transformers, or its dict; Qwen3 where it does not say.
        image_token_id: the token that stands in `input_ids` where a merged token of an image, frame or canvas goes.
        video_token_id, vision_start_token_id, vision_end_token_id: of the prompts.

    Raises:
        ValueError: a value is not allowed, or the tower's tokens do not fit the language model.
        ImportError: transformers is older than 5.
    """

    model_type = "llava_onevision2"
    vision_class: ClassVar[type[LlavaOnevision2VisionConfig]] = LlavaOnevision2VisionConfig
    sub_configs = {"vision_config": LlavaOnevision2VisionConfig, "text_config": AutoConfig}  # noqa: RUF012

    def __init__(
        self,
        vision_config: LlavaOnevision2VisionConfig | dict[str, Any] | None = None,
        text_config: PretrainedConfig | dict[str, Any] | None = None,
        image_token_id: int = 151655,
        video_token_id: int = 151656,
        vision_start_token_id: int = 151652,
        vision_end_token_id: int = 151653,
        tie_word_embeddings: bool = False,
        **kwargs: Any,
    ) -> None:
        check_version()
        given = vision_config is not None and text_config is not None
        if not isinstance(vision_config, PretrainedConfig):
            vision_config = self.vision_class(**(vision_config or {}))
        if not isinstance(text_config, PretrainedConfig):
            text_config = AutoConfig.for_model(**{"model_type": "qwen3", **(text_config or {})})
        text: Any = text_config
        self.vision_config, self.text_config = vision_config, text
        self.image_token_id = image_token_id
        self.video_token_id = video_token_id
        self.vision_start_token_id = vision_start_token_id
        self.vision_end_token_id = vision_end_token_id
        out, hidden = vision_config.out_hidden_size, text.hidden_size
        if given and out != hidden:
            raise ValueError(f"out_hidden_size {out} of vision_config must be hidden_size {hidden} of text_config")
        if given and not 0 <= image_token_id < text.vocab_size:
            raise ValueError(
                f"image_token_id {image_token_id} is not one of the {text.vocab_size} tokens of text_config"
            )
        super().__init__(tie_word_embeddings=tie_word_embeddings, **kwargs)

    def to_diff_dict(self) -> dict[str, Any]:
        """What `save_pretrained` writes: every key, since other readers may have other defaults."""
        return self.to_dict()


class MageVLConfig(LlavaOnevision2Config):
    """As `LlavaOnevision2Config`, of Mage-VL."""

    model_type = "mage_vl"
    vision_class: ClassVar[type[LlavaOnevision2VisionConfig]] = MageVLVisionConfig
    sub_configs = {"vision_config": MageVLVisionConfig, "text_config": AutoConfig}  # noqa: RUF012

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # transformers makes another one for a class without
        super().__init__(*args, **kwargs)
