"""Pictures of what a codec knows of a picture: motion, residual, bits and blocks in colour."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import numpy as np
import numpy.typing as npt

from ove_codec._suggest import hint

Pixels = npt.NDArray[np.uint8]

# Anchors of the colour map at equal distances, dark to light, so that it reads without colour too.
_ANCHORS = ((6, 6, 24), (52, 16, 96), (128, 30, 108), (204, 58, 66), (246, 128, 28), (252, 206, 84), (255, 255, 224))
_INTRA, _INTER, _SKIP = (246, 128, 28), (62, 96, 168), (34, 38, 52)
_ARROW, _EDGE = (255, 255, 255), (14, 16, 22)
_ACROSS = 22  # arrows along the shorter side of a picture


@dataclass(frozen=True)
class Drawing:
    """A picture of one kind.

    Attributes:
        image: (H, W, 3) uint8, the display window, oriented for display.
        about: what the colours mean.
        most: value of the lightest colour, whose darkest is 0; None where colours are no scale.
    """

    image: Pixels
    about: str
    most: float | None


def colors(level: npt.NDArray[np.floating[Any]]) -> npt.NDArray[np.float64]:
    """Levels 0..1 (...) as red, green and blue, 0..255 (..., 3)."""
    anchors = np.array(_ANCHORS, np.float64)
    at = np.linspace(0, 1, len(anchors))
    return np.stack([np.interp(level, at, anchors[:, c]) for c in range(3)], axis=-1)


def draw_picture(picture: Any, kind: str) -> Drawing:
    """Draws one kind of what a ``Picture`` or ``MotionPicture`` has.

    Args:
        picture: the picture.
        kind: "motion": length of the vectors, with arrows that show how the content moved from the referenced picture;
            "residual": its magnitude; "bits": bits of each coding tree unit, per sample; "blocks": coding blocks, by
            whether they are intra, inter or skipped.

    Raises:
        ValueError: there is no such kind.
        UnsupportedStreamError: the picture has no such array.
    """
    if kind not in _KINDS:
        raise ValueError(f"unknown kind {kind!r}; {hint(str(kind), _KINDS)}")
    coded, about, most = _KINDS[kind](picture)
    x, y, width, height = picture.window
    image = coded[y : y + height, x : x + width]
    if picture.mirrored:
        image = image[:, ::-1]
    return Drawing(np.ascontiguousarray(np.rot90(image, -picture.rotation // 90)), about, most)


def png(image: Pixels) -> bytes:
    """The image as a PNG file."""
    from PIL import Image  # here, because the package is imported without it in less time

    out = BytesIO()
    Image.fromarray(image).save(out, "PNG")
    return out.getvalue()


def grid_image(mask: npt.NDArray[np.bool_], scores: npt.NDArray[np.floating[Any]], most: int = 8) -> Pixels:
    """Patch scores (T, rows, columns) of at most so many pictures side by side, dimmed where patches are dropped."""
    slots = np.unique(np.linspace(0, len(mask) - 1, min(most, len(mask))).astype(int))
    top = max(float(scores.max(initial=0)), 1e-9)
    side = max(2, 160 // max(mask.shape[1:]))
    tiles = []
    for t in slots:
        image = colors(np.sqrt(np.clip(scores[t] / top, 0, 1))) * np.where(mask[t], 1.0, 0.25)[..., None]
        image = np.where(mask[t][..., None], np.maximum(image, 48), image)
        tile = np.kron(image.astype(np.uint8), np.ones((side, side, 1), np.uint8))
        tiles += [tile, np.full((tile.shape[0], 6, 3), 255, np.uint8)]
    return np.concatenate(tiles[:-1], axis=1)


def on_cpu(array: Any) -> npt.NDArray[Any]:
    """An array of a picture in NumPy, wherever it lies."""
    return array if isinstance(array, np.ndarray) else np.asarray(array.cpu())


def _scaled(values: npt.NDArray[Any], picture: Any) -> tuple[Pixels, float]:
    """Values of blocks of any size over the coded picture in colour, and the value of the lightest colour."""
    largest = float(np.percentile(values, 99.5)) if values.size else 0.0
    most = largest or float(values.max(initial=0)) or 1.0
    image = colors(np.clip(values / most, 0, 1)).astype(np.uint8)
    down = -(-picture.coded_height // image.shape[0])
    across = -(-picture.coded_width // image.shape[1])
    return image.repeat(down, 0).repeat(across, 1)[: picture.coded_height, : picture.coded_width], most


def movement(picture: Any) -> npt.NDArray[np.float64]:
    """(h4, w4, 2) luma samples (x, y) by which the content of each 4x4 block moved: list 0, or else list 1, against the
    vector where the reference is shown before and along it where it is shown later; 0 of intra blocks."""
    pred, mv = on_cpu(picture.pred), on_cpu(picture.mv) / 4.0
    first = (pred & 1) > 0
    later = np.stack([np.zeros_like(first), np.ones_like(first)], axis=-1)
    if not picture.motion_only:
        later = on_cpu(picture.ref_poc) > picture.poc
    moved = np.where(later[..., None], mv, -mv)
    return np.where((pred > 0)[..., None], np.where(first[..., None], moved[:, :, 0], moved[:, :, 1]), 0.0)


def _motion(picture: Any) -> tuple[Pixels, str, float | None]:
    from PIL import Image, ImageDraw

    moved = movement(picture)
    image, most = _scaled(np.hypot(moved[..., 0], moved[..., 1]), picture)
    canvas = Image.fromarray(np.ascontiguousarray(image))
    draw = ImageDraw.Draw(canvas)
    step = max(4, min(moved.shape[:2]) // _ACROSS)  # 4x4 blocks from one arrow to the next
    for row in range(step // 2, moved.shape[0], step):
        for column in range(step // 2, moved.shape[1], step):
            dx, dy = moved[row, column].tolist()
            if dx * dx + dy * dy >= 1:
                _arrow(draw, (4 * column, 4 * row), (dx, dy), 4 * step)
    return np.asarray(canvas), "length of the vectors in luma samples", most


def _arrow(draw: Any, end: tuple[int, int], moved: tuple[float, float], step: int) -> None:
    """A line of at most the distance of two arrows, with a dot at its end; thicker where arrows are farther apart."""
    x, y = end
    scale = min(1.0, 2 * step / float(np.hypot(*moved)))
    thick = max(1, step // 16)
    draw.line((x - moved[0] * scale, y - moved[1] * scale, x, y), _ARROW, thick)
    draw.rectangle((x - thick, y - thick, x + thick, y + thick), _ARROW)


def _residual(picture: Any) -> tuple[Pixels, str, float | None]:
    levels = np.abs(on_cpu(picture.residual).astype(np.float64)) / 2 ** (picture.bit_depth - 8)
    image, most = _scaled(levels, picture)
    return image, "luma residual, magnitude at 8 bits", most


def _bits(picture: Any) -> tuple[Pixels, str, float | None]:
    bits = on_cpu(picture.bits).astype(np.float64) / picture.ctb_size**2
    most = float(bits.max(initial=0)) or 1.0
    image = colors(np.clip(bits / most, 0, 1)).astype(np.uint8)
    spread = image.repeat(picture.ctb_size, 0).repeat(picture.ctb_size, 1)
    return spread[: picture.coded_height, : picture.coded_width], "bits a luma sample", most


def _blocks(picture: Any) -> tuple[Pixels, str, float | None]:
    pred, skip, size = on_cpu(picture.pred), on_cpu(picture.skip), on_cpu(picture.cu_size)
    kinds = np.where(pred == 0, 0, np.where(skip, 2, 1))
    image = np.array([_INTRA, _INTER, _SKIP], np.uint8)[kinds].repeat(4, 0).repeat(4, 1)
    rows, columns = np.indices(size.shape)
    side = np.maximum(size.astype(int), 4)
    top = (4 * rows % side == 0).repeat(4, 0).repeat(4, 1)
    left = (4 * columns % side == 0).repeat(4, 0).repeat(4, 1)
    top[np.arange(top.shape[0]) % 4 != 0] = False
    left[:, np.arange(left.shape[1]) % 4 != 0] = False
    image[top | left] = _EDGE
    return image[: picture.coded_height, : picture.coded_width], "orange intra, blue inter, dark skipped", None


_KINDS: dict[str, Callable[[Any], tuple[Pixels, str, float | None]]] = {
    "motion": _motion,
    "residual": _residual,
    "bits": _bits,
    "blocks": _blocks,
}
KINDS = tuple(_KINDS)
