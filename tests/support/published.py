"""Files of the form in which the encoder is published, with small sizes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from ove_codec.models import OVEncoder, OVEncoderConfig

SIZES: dict[str, Any] = {
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "patch_size": 14,
}

CONFIG: dict[str, Any] = {
    "architectures": ["OneVisionEncoderModel"],
    "attention_dropout": 0.0,
    "auto_map": {
        "AutoConfig": "configuration_onevision_encoder.OneVisionEncoderConfig",
        "AutoModel": "modeling_onevision_encoder.OneVisionEncoderModel",
    },
    "dtype": "bfloat16",
    "hidden_act": "gelu",
    "image_size": 448,
    "initializer_range": 0.02,
    "layer_norm_eps": 1e-06,
    "layer_norm_type": "layer_norm",
    "model_type": "onevision_encoder",
    "num_channels": 3,
    "rope_temporal_size": 64,
    "rope_theta": 10000.0,
    "transformers_version": "4.57.1",
    "use_head": True,
    **SIZES,
}
PREPROCESSOR: dict[str, Any] = {
    "crop_size": {"height": 448, "width": 448},
    "do_center_crop": True,
    "do_convert_rgb": True,
    "do_normalize": True,
    "do_rescale": True,
    "do_resize": True,
    "image_mean": [0.48145466, 0.4578275, 0.40821073],
    "image_processor_type": "CLIPImageProcessor",
    "image_std": [0.26862954, 0.26130258, 0.27577711],
    "resample": 3,
    "rescale_factor": 0.00392156862745098,
    "size": {"shortest_edge": 448},
}


def write_weights(directory: Path, weights: dict[str, Tensor], shards: int = 1) -> None:
    for old in directory.glob("model*"):
        old.unlink()
    if shards == 1:
        save_file(weights, directory / "model.safetensors", metadata={"format": "pt"})
        return
    index: dict[str, str] = {}
    for shard in range(shards):
        file = f"model-{shard + 1:05}-of-{shards:05}.safetensors"
        part = {name: weights[name] for name in sorted(weights)[shard::shards]}
        save_file(part, directory / file, metadata={"format": "pt"})
        index |= dict.fromkeys(part, file)
    size = sum(value.nbytes for value in weights.values())
    text = json.dumps({"metadata": {"total_size": size}, "weight_map": index})
    (directory / "model.safetensors.index.json").write_text(text)


def write(directory: Path) -> dict[str, Tensor]:
    """Makes the directory; returns its weights, every one of which differs from its initial value."""
    torch.manual_seed(0)
    model = OVEncoder(OVEncoderConfig.from_dict(CONFIG))
    weights = {name: (value + 0.1 * torch.randn_like(value)).bfloat16() for name, value in model.state_dict().items()}
    directory.mkdir()
    (directory / "config.json").write_text(json.dumps(CONFIG))
    (directory / "preprocessor_config.json").write_text(json.dumps(PREPROCESSOR))
    write_weights(directory, weights)
    return weights
