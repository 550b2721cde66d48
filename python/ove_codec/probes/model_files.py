"""What the files of a model tell: its preprocessing, and a checksum that features are kept under."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ove_codec.models.config import read_json_object
from ove_codec.tokenizer import CLIP_MEAN, CLIP_STD, Color

_RESAMPLING = {2: "bilinear", 3: "bicubic", "bilinear": "bilinear", "bicubic": "bicubic"}  # PIL's numbers, timm's names


def preprocessing(directory: Path, optional: bool = False) -> tuple[Color, Color, str]:
    """Mean and deviation of R, G and B, and the interpolation, that a directory's files tell.

    Read from `preprocessor_config.json`, the image processor in `processor_config.json`, or timm's `pretrained_cfg`.
    Sizes are not taken from there, because the patch budget decides on them. With `optional`, CLIP's values where there
    is no file.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: a value is missing or not known.
    """
    config = json_object(directory / "config.json") or {}
    processor = json_object(directory / "processor_config.json") or {}
    found = json_object(directory / "preprocessor_config.json") or processor.get("image_processor")
    if found is None and "pretrained_cfg" in config:
        given = config["pretrained_cfg"]
        found = {"image_mean": given.get("mean"), "image_std": given.get("std"), "resample": given.get("interpolation")}
    if found is None:
        if optional:
            return CLIP_MEAN, CLIP_STD, "bicubic"
        raise FileNotFoundError(
            f"{directory} holds no preprocessor_config.json, which gives the mean and deviation of the model's input"
        )
    values = []
    for name in ("image_mean", "image_std"):
        value = found.get(name)
        if not isinstance(value, list | tuple) or len(value) != 3 or not all(isinstance(v, int | float) for v in value):
            raise ValueError(f"{directory}: {name} must be three numbers, got {value!r}")
        values.append(tuple(float(v) for v in value))
    if min(values[1]) <= 0:
        raise ValueError(f"{directory}: image_std must be positive, got {values[1]}")
    resample = found.get("resample", 3)
    if resample not in _RESAMPLING:
        raise ValueError(f"{directory}: resample must be 2 (bilinear) or 3 (bicubic), got {resample!r}")
    return values[0], values[1], _RESAMPLING[resample]  # type: ignore[return-value]


def directory_digest(directory: Path) -> str:
    """SHA-256 of the names and contents of a model's JSON and safetensors files."""
    digest = hashlib.sha256()
    for file in sorted(directory.iterdir()):
        if file.suffix in (".json", ".safetensors") and file.is_file():
            own = hashlib.sha256()
            with file.open("rb") as content:
                while block := content.read(1 << 20):
                    own.update(block)
            digest.update(f"{file.name}\0{own.hexdigest()}\n".encode())
    return digest.hexdigest()


def refuse_missing(directory: Path, keys: Sequence[Any]) -> None:
    """Raises ValueError where there are keys of weights that a directory lacks."""
    names = sorted(str(key) for key in keys)
    if names:
        more = f" and {len(names) - 8} more" if len(names) > 8 else ""
        raise ValueError(
            f"{directory} has weights that are missing or have another shape: {', '.join(names[:8])}{more}"
        )


def json_object(file: Path) -> dict[str, Any] | None:
    """The object of a JSON file; None where there is no file."""
    return read_json_object(file) if file.is_file() else None
