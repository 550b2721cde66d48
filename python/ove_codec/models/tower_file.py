"""Reads a vision tower from a checkpoint: of the tower alone, or of a whole model."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable
from pathlib import Path
from typing import Any, TypeVar

import safetensors
import torch
from torch import nn

from ove_codec.models.checkpoint import check_fit, read_tensors, unwrapped, weight_files, with_config
from ove_codec.models.config import CONFIG_FILE, read_json_object
from ove_codec.models.tower_config import OVTowerConfig

Tower = TypeVar("Tower", bound=nn.Module)

# Whole models, and what their tower is where its own configuration does not say.
WHOLE_MODELS = {"llava_onevision2": "onevision_encoder", "mage_vl": "mage_vl_vision"}
_PREFIXES = ("model.visual.", "visual.")


def load_tower_file(
    make: Callable[[OVTowerConfig], Tower], directory: str | os.PathLike[str], dtype: torch.dtype
) -> Tower:
    """What `ove_codec.models.load_tower` reads; `make` builds the tower from its configuration."""
    root = with_config(directory)
    values = read_json_object(root / CONFIG_FILE)
    if not isinstance(values.get("model_type", ""), str):
        raise ValueError(f"{root / CONFIG_FILE}: model_type must be a string, got {values['model_type']!r}")
    whole = "vision_config" in values or values.get("model_type") in WHOLE_MODELS

    def name_of(key: str) -> str | None:
        name = unwrapped(key)
        for prefix in _PREFIXES:
            if name.startswith(prefix):
                return name[len(prefix) :]
        return None if whole else name

    files = weight_files(root, lambda key: name_of(key) is not None)
    names = set(filter(None, map(name_of, tensor_names(files))))
    if not names:
        raise ValueError(f"{root} has no tensors of a vision tower: none begins with {' or '.join(_PREFIXES)}")
    try:
        config = tower_config(values, names)
    except ValueError as error:
        raise ValueError(f"{root / CONFIG_FILE}: {error}") from error
    with torch.device("meta"):
        tower = make(config)
    expected = {name: tuple(tensor.shape) for name, tensor in tower.state_dict().items()}
    state, shapes = read_tensors(files, expected, dtype, name_of)
    check_fit(root, expected, shapes, expected.keys() - shapes.keys())
    tower.load_state_dict(state, assign=True)
    return tower.eval()


def tower_config(values: dict[str, Any], names: Collection[str]) -> OVTowerConfig:
    """The configuration of a tower, from that of a checkpoint and the names of the tower's tensors.

    Raises:
        ValueError: the checkpoint is of another model, a key is not known, or a value is not allowed.
    """
    model_type = values.get("model_type")
    if "vision_config" in values or model_type in WHOLE_MODELS:
        vision = values.get("vision_config", {})
        if not isinstance(vision, dict):
            raise ValueError(f"vision_config must be an object, got {vision!r}")
        if model_type not in WHOLE_MODELS:
            raise ValueError(f"model_type must be {' or '.join(map(repr, WHOLE_MODELS))}, got {model_type!r}")
        values = {"model_type": WHOLE_MODELS[model_type], **vision}
    merger = any(name.startswith("merger.") for name in names)
    fused = any(".self_attn.qkv." in name for name in names)
    if not merger:
        values = {"use_head": any(name.startswith("head.") for name in names), **values}
    return OVTowerConfig.from_dict(values, merger=merger, fused_qkv=fused)


def tensor_names(files: Iterable[Path]) -> list[str]:
    """The names in the headers of safetensors files; ValueError where one is damaged."""
    names: list[str] = []
    for file in files:
        try:
            with safetensors.safe_open(file, framework="pt") as tensors:
                names += tensors.keys()
        except safetensors.SafetensorError as error:
            raise ValueError(f"{file} is damaged or not a safetensors file: {error}") from error
    return names
