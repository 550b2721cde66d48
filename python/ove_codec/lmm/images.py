"""Images for a tower: read from files, and the sizes that they are given."""

from __future__ import annotations

import os
from typing import Any

from PIL import Image, ImageOps

from ove_codec.models.images import to_rgb


def load_image(image: Any) -> Image.Image:
    """A PIL image in RGB from a file, upright by its EXIF orientation, or from an image or array."""
    if not isinstance(image, (str, os.PathLike)) and not hasattr(image, "read"):
        return to_rgb(image)
    with Image.open(image) as opened:
        return to_rgb(ImageOps.exif_transpose(opened))


def image_size(width: int, height: int, patch_size: int, merge_size: int, bounds: tuple[int, int]) -> tuple[int, int]:
    """Width and height of whole blocks, as near to the image's as the bounds on its patches allow."""
    unit = patch_size * merge_size
    least, most = (bound / merge_size**2 for bound in bounds)
    columns, rows = max(1, round(width / unit)), max(1, round(height / unit))
    if columns * rows > most:
        scale = (most * unit**2 / (width * height)) ** 0.5
        columns, rows = (max(1, int(side * scale / unit)) for side in (width, height))
    elif columns * rows < least:
        scale = (least * unit**2 / (width * height)) ** 0.5
        columns, rows = (max(1, -int(-side * scale // unit)) for side in (width, height))
    # Where one side is a single block, or is rounded up, the other gives way.
    most = int(most)
    columns, rows = min(columns, max(1, most // rows)), rows
    rows = min(rows, max(1, most // columns))
    return columns * unit, rows * unit
