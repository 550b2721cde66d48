"""Exports a checkpoint of a run to a directory that `OVEncoder.from_pretrained` and the classes of `models.hf`
read."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from ove_codec.models import OVEncoder, OVEncoderConfig
from ove_codec.tokenizer import CLIP_MEAN, CLIP_STD
from ove_codec.training import checkpoint

PREPROCESSOR_FILE = "preprocessor_config.json"


def find_checkpoint(path: Path) -> Path:
    """`path` if it is a checkpoint, or the newest complete checkpoint if it is the folder of a run.

    Raises:
        FileNotFoundError: there is none.
    """
    if (path / checkpoint.COMPLETE_FILE).is_file():
        return path
    found = checkpoint.complete(path)
    if not found:
        raise FileNotFoundError(f"{path} is neither a complete checkpoint nor a folder with one")
    return found[-1]


def export(source: Path, target: Path, average: bool | None = None) -> dict[str, Any]:
    """Writes the encoder of a checkpoint: `config.json`, `model.safetensors` (float32), `preprocessor_config.json`.

    The `model_type` in `config.json` follows from the `rope_layout` that was trained, see `OVEncoderConfig`. Images are
    preprocessed at the largest `size` of the recipe's image inputs; at the configuration's `image_size` without one.

    Args:
        source: a checkpoint, or the folder of a run for its newest checkpoint.
        target: directory to create; it appears when it is complete.
        average: export the averaged weights; None: if there are any.

    Returns:
        What was exported: checkpoint, step, average.

    Raises:
        FileNotFoundError, FileExistsError, ValueError: there is no checkpoint, the target exists, or the checkpoint is
            damaged or has no averaged weights.
    """
    if target.exists():
        raise FileExistsError(f"{target} already exists: remove it, or choose another directory")
    path = find_checkpoint(source)
    state = checkpoint.read_state(path)
    config = OVEncoderConfig.from_dict(state["config"])
    has_average = "average" in state["weights"]
    if average and not has_average:
        raise ValueError(f"{path} has no averaged weights: the recipe had no optimizer.ema")
    average = has_average if average is None else average
    with torch.device("meta"):
        model = OVEncoder(config)
    weights = {name: torch.empty(p.shape, dtype=torch.float32) for name, p in model.named_parameters()}
    prefix = "average" if average else "backbone"
    checkpoint.load_tensors(path, {f"{prefix}.{name}": weight for name, weight in weights.items()}, alone=True)
    model.load_state_dict(weights, assign=True)
    part = target.with_name(f".{target.name}.partial")
    shutil.rmtree(part, ignore_errors=True)
    model.save_pretrained(part)
    text = json.dumps(preprocessor(config, json.loads(state["recipe"])), indent=2, sort_keys=True)
    (part / PREPROCESSOR_FILE).write_text(text + "\n", encoding="utf-8")
    part.rename(target)
    return {"checkpoint": str(path), "step": state["step"], "average": average}


def preprocessor(config: OVEncoderConfig, recipe: Mapping[str, Any]) -> dict[str, Any]:
    """The content of `preprocessor_config.json`: how `ImageInput` of a recipe makes pixels, in CLIP's terms.

    Args:
        config: of the encoder.
        recipe: as the checkpoint stores it.
    """
    inputs = [head["inputs"] for head in recipe["heads"].values()]
    size = max((kinds["image"]["size"] for kinds in inputs if "image" in kinds), default=config.image_size)
    size -= size % config.patch_size
    return {
        "image_processor_type": "CLIPImageProcessor",
        "do_convert_rgb": True,
        "do_resize": True,
        "size": {"shortest_edge": size},
        "resample": int(Image.Resampling.BICUBIC),
        "do_center_crop": True,
        "crop_size": {"height": size, "width": size},
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": list(CLIP_MEAN),
        "image_std": list(CLIP_STD),
        "patch_size": config.patch_size,
    }
