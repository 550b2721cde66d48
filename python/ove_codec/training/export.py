"""From a checkpoint of a run to a directory that `OVEncoder.from_pretrained` reads."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import torch

from ove_codec.models import OVEncoder, OVEncoderConfig
from ove_codec.training import checkpoint


def find_checkpoint(path: Path) -> Path:
    """The checkpoint that `path` is, or the newest whole one of the run whose folder it is.

    Raises:
        FileNotFoundError: there is none.
    """
    if (path / checkpoint.COMPLETE_FILE).is_file():
        return path
    found = checkpoint.complete(path)
    if not found:
        raise FileNotFoundError(f"{path} is neither a whole checkpoint nor a folder with one")
    return found[-1]


def export(source: Path, target: Path, average: bool | None = None) -> dict[str, Any]:
    """Writes the encoder of a checkpoint as `config.json` and `model.safetensors`, float32.

    Args:
        source: a checkpoint, or the folder of a run, whose newest is taken.
        target: directory to make; it has its name only when it is whole.
        average: take the averaged weights; None: where there are some.

    Returns:
        What was exported: checkpoint, step, average.

    Raises:
        FileNotFoundError, FileExistsError, ValueError: there is no checkpoint, the target is there, or the checkpoint
            is damaged or has no averaged weights.
    """
    if target.exists():
        raise FileExistsError(f"{target} is there already: remove it, or choose another directory")
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
    part.rename(target)
    return {"checkpoint": str(path), "step": state["step"], "average": average}
