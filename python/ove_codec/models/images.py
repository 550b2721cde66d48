"""Pictures to normalised pixels as CLIP's preprocessing makes them, with Pillow and NumPy only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image


def to_rgb(image: Any, channels_first: bool | None = None) -> Image.Image:
    """A Pillow image, or an array or tensor (H, W), (H, W, C) or (C, H, W) of uint8 with 1, 3 or 4 channels, as RGB.

    `channels_first` tells (C, H, W); None takes it where the first side is 1, 3 or 4 and the last is not.

    Raises:
        ValueError: the array is another.
    """
    if isinstance(image, Image.Image):
        return image.convert("RGB")
    array = np.asarray(image)
    if array.ndim == 2:
        array = array[..., None]
    if array.ndim != 3 or array.dtype != np.uint8:
        raise ValueError(f"images must be Pillow images or uint8 arrays (H, W, C), got {array.dtype} {array.shape}")
    if channels_first is None:
        channels_first = array.shape[0] in (1, 3, 4) and array.shape[2] not in (1, 3, 4)
    if channels_first:
        array = np.moveaxis(array, 0, 2)
    if array.shape[2] not in (1, 3, 4) or 0 in array.shape:
        raise ValueError(f"images must have 1, 3 or 4 channels and at least one sample, got {array.shape}")
    return Image.fromarray(array[..., 0] if array.shape[2] == 1 else np.ascontiguousarray(array)).convert("RGB")


def resize(image: Image.Image, size: Mapping[str, int], resample: int) -> Image.Image:
    """To {"height", "width"}, or {"shortest_edge"} with the longer side rounded down.

    Raises:
        ValueError: size has other keys or is not positive.
    """
    _check_size("size", size, ({"shortest_edge"}, {"height", "width"}))
    if "shortest_edge" in size:
        short, edge = min(image.size), size["shortest_edge"]
        width, height = (edge if side == short else int(edge * side / short) for side in image.size)
    else:
        width, height = size["width"], size["height"]
    return image.resize((width, height), Image.Resampling(resample))


def center_crop(image: Image.Image, size: Mapping[str, int]) -> Image.Image:
    """The middle {"height", "width"}; black where the image is smaller.

    Raises:
        ValueError: size has other keys or is not positive.
    """
    _check_size("crop_size", size, ({"height", "width"},))
    left, top = (image.width - size["width"]) // 2, (image.height - size["height"]) // 2
    return image.crop((left, top, left + size["width"], top + size["height"]))


def normalize(pixels: NDArray[np.float32], mean: Sequence[float], std: Sequence[float]) -> NDArray[np.float32]:
    """(pixels - mean) / std of (H, W, 3)."""
    if len(mean) != 3 or len(std) != 3 or 0 in std:
        raise ValueError(f"image_mean and image_std must be 3 numbers, std not zero, got {mean} and {std}")
    shift: NDArray[np.float32] = np.array(mean, np.float32)
    scale: NDArray[np.float32] = np.array(std, np.float32)
    return (pixels - shift) / scale


def _check_size(name: str, size: Mapping[str, int], allowed: tuple[set[str], ...]) -> None:
    if set(size) not in allowed or any(not isinstance(v, int) or v < 1 for v in size.values()):
        wanted = " or ".join("{" + ", ".join(sorted(keys)) + "}" for keys in allowed)
        raise ValueError(f"{name} must be {wanted} in samples, got {dict(size)}")
