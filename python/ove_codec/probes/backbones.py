"""A backbone from a local directory: those of transformers (`config.json`, safetensors, `preprocessor_config.json`), of
timm (`config.json` with `architecture` and `pretrained_cfg`, `model.safetensors`), and of the OneVision-Encoder.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from ove_codec.models.config import MODEL_TYPE, MODEL_TYPES
from ove_codec.probes.base_backbones import Backbone, ImageBackbone, OVBackbone, frame_embedding
from ove_codec.probes.families import Family, family
from ove_codec.probes.image_backbones import TimmBackbone, TransformersBackbone
from ove_codec.probes.model_files import directory_digest, json_object, preprocessing

__all__ = [
    "Backbone",
    "ImageBackbone",
    "OVBackbone",
    "TimmBackbone",
    "TransformersBackbone",
    "directory_digest",
    "frame_embedding",
    "load_backbone",
    "preprocessing",
]


def load_backbone(
    name: str,
    directory: str | os.PathLike[str],
    *,
    device: torch.device | str = "cpu",
    precision: str = "float32",
) -> Backbone:
    """Loads a backbone from a local directory; nothing is downloaded, and only safetensors are read.

    Args:
        name: one of `families.BACKBONES`.
        directory: of its files.
        device: to run it on.
        precision: "float32", or "bfloat16" through autocast.

    Raises:
        FileNotFoundError: the directory or a file in it is missing.
        ModuleNotFoundError: transformers or timm is not installed.
        ValueError: the files belong to another kind of model, or weights are missing.
    """
    wanted = family(name)
    if precision not in ("float32", "bfloat16"):
        raise ValueError(f"precision must be float32 or bfloat16, got {precision!r}")
    root = Path(directory)
    config = json_object(root / "config.json") if root.is_dir() else None
    if config is None:
        raise FileNotFoundError(
            f"{root} is not a directory with a config.json; weights are read from local directories only, so download "
            "them first"
        )
    make = _kind(root, config, wanted)
    return make(name, root, config, torch.device(device), precision)


def _kind(root: Path, config: dict[str, Any], wanted: Family) -> Callable[..., Backbone]:
    """The class for the files of a directory, after checking that they are of the family."""
    found = config.get("model_type")
    if "architecture" in config and "pretrained_cfg" in config:
        if MODEL_TYPE in wanted.model_types:
            raise ValueError(f"{root} holds a timm model, but {wanted.title} is not one")
        return TimmBackbone
    if found not in wanted.model_types:
        raise ValueError(
            f"{root} holds a model of type {found!r}; {wanted.title} is {' or '.join(map(repr, wanted.model_types))}"
        )
    return OVBackbone if found in MODEL_TYPES.values() else TransformersBackbone
