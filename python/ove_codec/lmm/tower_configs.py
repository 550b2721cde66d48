"""What the configurations of the towers have in common, and the values that a tower's data need."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from transformers import PretrainedConfig
from transformers.models.qwen3_vl.configuration_qwen3_vl import Qwen3VLVisionConfig
from transformers.models.siglip2.configuration_siglip2 import Siglip2VisionConfig

from ove_codec.models.config import MODEL_TYPES
from ove_codec.models.hf import OneVisionEncoderConfig
from ove_codec.tokenizer import CLIP_MEAN, CLIP_STD, Color

HALF: Color = (0.5, 0.5, 0.5)


_CLASSES: dict[str, type[PretrainedConfig]] = {
    **dict.fromkeys(MODEL_TYPES.values(), OneVisionEncoderConfig),
    "qwen3_vl_vision": Qwen3VLVisionConfig,
    "qwen3_vl": Qwen3VLVisionConfig,  # transformers 4 gives the part the name of the whole
    "siglip2_vision_model": Siglip2VisionConfig,
}


@dataclass(frozen=True)
class TowerTraits:
    """What the data of a tower must be like.

    Attributes:
        patch_size: side of a patch in samples.
        temporal_patch_size: frames in one patch.
        whole_frames: whether a frame must come with all its patches; otherwise any patches will do.
        merged: m where the tower's final output already is one feature for m x m patches, else 1.
        mean, std: of R, G and B in [0, 1], as the tower was trained.
    """

    patch_size: int
    temporal_patch_size: int
    whole_frames: bool
    merged: int
    mean: Color
    std: Color


def make(config: PretrainedConfig | dict[str, Any] | None) -> PretrainedConfig:
    """The configuration of a tower from its dict; that of `OVEncoder` large where it is None."""
    if config is None:
        return OneVisionEncoderConfig()
    if isinstance(config, PretrainedConfig):
        if not isinstance(config, tuple(_CLASSES.values())):
            raise ValueError(f"vision_config {type(config).__name__} is not that of a tower; {_known()}")
        return config
    values = dict(config)
    name = values.pop("model_type", None)
    if name not in _CLASSES:
        raise ValueError(f"vision_config has the model_type {name!r}; {_known()}")
    return _CLASSES[name](**values)


def traits(config: PretrainedConfig) -> TowerTraits:
    """What the data of the tower must be like."""
    if isinstance(config, Qwen3VLVisionConfig):
        return TowerTraits(config.patch_size, config.temporal_patch_size, True, config.spatial_merge_size, HALF, HALF)
    if isinstance(config, Siglip2VisionConfig):
        return TowerTraits(config.patch_size, 1, True, 1, HALF, HALF)
    return TowerTraits(config.patch_size, 1, False, 1, CLIP_MEAN, CLIP_STD)


def depth_of(config: PretrainedConfig, select_layer: int | None) -> int:
    """How many blocks of the tower are needed for the hidden state `select_layer`."""
    blocks = int(config.depth if isinstance(config, Qwen3VLVisionConfig) else config.num_hidden_layers)
    if select_layer is None:
        return blocks
    if not isinstance(select_layer, int) or isinstance(select_layer, bool) or not -blocks - 1 <= select_layer <= blocks:
        raise ValueError(
            f"select_layer must be None or one of the tower's {blocks + 1} hidden states, {-blocks - 1} to {blocks}, "
            f"not {select_layer!r}"
        )
    return select_layer % (blocks + 1)


def check(config: PretrainedConfig, merge_size: int, select_layer: int | None) -> None:
    """Raises ValueError unless the tower has that hidden state and `merge_size` fits what it has merged."""
    depth_of(config, select_layer)
    merged = traits(config).merged
    if select_layer is None and merged not in (1, merge_size):
        raise ValueError(
            f"merge_size must be {merged}, as in the tower's own merger, not {merge_size}; or give a select_layer, "
            "which bypasses the merger"
        )


def _known() -> str:
    return "choose from " + ", ".join(name for name in _CLASSES if name != "qwen3_vl")
