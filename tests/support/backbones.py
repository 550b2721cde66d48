"""Tiny backbones with random weights, saved as their libraries save them."""

from __future__ import annotations

import json
from importlib import import_module
from pathlib import Path
from typing import Any

import torch

from ove_codec.models import OVEncoder, OVEncoderConfig

MEAN, STD = [0.4, 0.5, 0.6], [0.2, 0.25, 0.3]
PATCH, SIDE, HIDDEN = 4, 16, 64

_SIZES: dict[str, Any] = {
    "hidden_size": HIDDEN, "intermediate_size": 80, "num_hidden_layers": 2, "num_attention_heads": 2,
    "image_size": SIDE, "patch_size": PATCH,
}  # fmt: skip
# Name of the backbone, vision model class, its configuration's class, and what differs from the sizes above.
FAMILIES: list[tuple[str, str, str, dict[str, Any]]] = [
    ("clip", "CLIPVisionModel", "CLIPVisionConfig", {}),
    ("metaclip", "CLIPVisionModel", "CLIPVisionConfig", {"hidden_act": "gelu"}),
    ("siglip", "SiglipVisionModel", "SiglipVisionConfig", {}),
    ("siglip2", "SiglipVisionModel", "SiglipVisionConfig", {}),
    ("siglip2", "Siglip2VisionModel", "Siglip2VisionConfig", {"num_patches": 16}),
    ("metaclip2", "MetaClip2VisionModel", "MetaClip2VisionConfig", {}),
    ("aimv2", "Aimv2VisionModel", "Aimv2VisionConfig", {}),
    ("aimv2", "Aimv2VisionModel", "Aimv2VisionConfig", {"is_native": True}),
    ("dinov3", "DINOv3ViTModel", "DINOv3ViTConfig", {"num_register_tokens": 3}),
]


def save_transformers(folder: Path, model_class: str, config_class: str, changes: dict[str, Any]) -> Any:
    """Saves a tiny model, every parameter random, and returns it."""
    transformers = import_module("transformers")
    torch.manual_seed(0)
    config = getattr(transformers, config_class)(**{**_SIZES, **changes})
    model = getattr(transformers, model_class)(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    model.save_pretrained(folder)
    save_preprocessor(folder)
    return model


def save_preprocessor(folder: Path, **changes: Any) -> None:
    values = {"image_mean": MEAN, "image_std": STD, "resample": 3, "size": {"shortest_edge": SIDE}, **changes}
    (folder / "preprocessor_config.json").write_text(json.dumps(values))


def save_ov_encoder(folder: Path, seed: int = 0, **changes: Any) -> OVEncoder:
    """Saves a tiny OneVision-Encoder and returns it."""
    values = {
        "hidden_size": HIDDEN, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 2,
        "patch_size": PATCH, **changes,
    }  # fmt: skip
    torch.manual_seed(seed)
    model = OVEncoder(OVEncoderConfig.from_dict(values)).eval()
    model.save_pretrained(folder)
    return model
