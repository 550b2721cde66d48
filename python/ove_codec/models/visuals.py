"""Images, frames and codec canvases as a tower's patches, and the prompt text that stands for them.

Patches and positions are in merge-block order (`merge_order`), as towers of LLaVA-OneVision-2 and Mage-VL take them.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

VISION_START, VISION_END = "<|vision_start|>", "<|vision_end|>"
IMAGE_PAD, VIDEO_PAD = "<|image_pad|>", "<|video_pad|>"
DEFAULT_FPS = 30.0  # where a video does not say
_LARGEST_RATIO = 200  # of the sides of an image


@dataclass(frozen=True)
class Visual:
    """One image or video of a prompt.

    Attributes:
        pixel_values: (N, 3*p*p) float32, normalised.
        grid_thw: (n, 3) int64, the grid rows.
        patch_positions: (N, 3) int64 t, h, w.
        text: what stands for it in the prompt, with an image token for every merge block.
    """

    pixel_values: NDArray[np.float32]
    grid_thw: NDArray[np.int64]
    patch_positions: NDArray[np.int64]
    text: str


@dataclass(frozen=True)
class PatchFormat:
    """How pixels become patches.

    Attributes:
        patch_size: p, side of a patch in samples.
        merge_size: m, side of a merge block in patches.
        scale: of a sample, before mean and std are taken off; 1 where samples are not rescaled.
        mean, std: of R, G and B; None where samples are not normalised.
    """

    patch_size: int
    merge_size: int
    scale: float = 1 / 255
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None

    @property
    def factor(self) -> int:
        """Sides of pictures are multiples of so many samples."""
        return self.patch_size * self.merge_size

    def grid(self, height: int, width: int) -> tuple[int, int]:
        """Patch rows and columns of a picture; ValueError where its sides are no multiples of a merge block."""
        if height < 1 or width < 1 or height % self.factor or width % self.factor:
            raise ValueError(
                f"a picture of {width} x {height} samples cannot be divided into blocks of {self.factor} samples, "
                f"patch_size {self.patch_size} times merge_size {self.merge_size}"
            )
        return height // self.patch_size, width // self.patch_size

    def patches(self, picture: NDArray[np.uint8]) -> NDArray[np.float32]:
        """(h*w, 3*p*p) normalised patches of (H, W, 3) R'G'B' samples: channel, row and column in each."""
        h, w = self.grid(*picture.shape[:2])
        p, m = self.patch_size, self.merge_size
        samples = picture.reshape(h // m, m, p, w // m, m, p, 3).transpose(0, 3, 1, 4, 6, 2, 5)
        table = self._table()
        rows = np.stack([table[c][samples[:, :, :, :, c]] for c in range(3)], axis=4)
        return rows.reshape(h * w, 3 * p * p)

    def _table(self) -> NDArray[np.float32]:
        """(3, 256) the value of every sample; in double precision first, so that results are those of transformers."""
        values = np.tile((np.arange(256, dtype=np.float64) * self.scale).astype(np.float32), (3, 1))
        if self.mean is None or self.std is None:
            return values
        return (values - np.array(self.mean, np.float32)[:, None]) / np.array(self.std, np.float32)[:, None]


def merge_order(rows: int, columns: int, merge_size: int) -> NDArray[np.int64]:
    """(rows * columns,) raster numbers of a grid's patches in merge-block order."""
    m = merge_size
    numbers = np.arange(rows * columns).reshape(rows // m, m, columns // m, m)
    return numbers.swapaxes(1, 2).reshape(-1)


def fitted_size(height: int, width: int, factor: int, min_pixels: int, max_pixels: int) -> tuple[int, int]:
    """Height and width in whole multiples of `factor`, near the picture's shape, within bounds on the area.

    Sides are rounded (halves to even); where their product is out of bounds the sides are scaled, and rounded down or
    up. Each is one factor at least.

    Raises:
        ValueError: a side is not positive, or more than 200 times the other.
    """
    if min(height, width) < 1 or max(height, width) > _LARGEST_RATIO * min(height, width):
        raise ValueError(
            f"the sides of an image must be positive, and the longer at most {_LARGEST_RATIO} times the shorter, got "
            f"{width} x "
            f"{height}"
        )
    rows, columns = (round(side / factor) for side in (height, width))
    area = rows * columns * factor**2
    if area > max_pixels:
        shrink = math.sqrt(height * width / max_pixels)
        rows, columns = (math.floor(side / shrink / factor) for side in (height, width))
    elif area < min_pixels:
        grow = math.sqrt(min_pixels / (height * width))
        rows, columns = (math.ceil(side * grow / factor) for side in (height, width))
    return max(1, rows) * factor, max(1, columns) * factor


def image_visual(picture: NDArray[np.uint8], form: PatchFormat) -> Visual:
    """An image of whole merge blocks, at t = 0."""
    return _pictures([picture], form, [0], [VISION_START, VISION_END])


def frames_visual(
    pictures: Sequence[NDArray[np.uint8]], form: PatchFormat, numbers: Sequence[int], fps: float, decimals: int = 1
) -> Visual:
    """Whole frames of a clip, a grid row each, with their times before them and no line breaks between.

    Args:
        pictures: (H, W, 3) each, of whole merge blocks.
        form: of the patches.
        numbers: of the frames in the clip.
        fps: frames a second; times are number / fps.
        decimals: of the seconds.

    Raises:
        ValueError: there is no frame.
    """
    if not len(pictures):
        raise ValueError("a video must have at least one frame")
    around = [f"<{number / fps:.{decimals}f} seconds>{VISION_START}" for number in numbers]
    return _pictures(pictures, form, numbers, [*around, VISION_END])


def canvas_visual(
    images: Any, src_positions: Any, form: PatchFormat, fps: float | None, *, joined: bool, decimals: int = 1
) -> Visual:
    """Codec canvases: not resized, padding canvases left out, every run of one source frame with its time before it.

    Args:
        images: (n, H, W, 3) uint8, or n pictures of one size.
        src_positions: (n*h*w, 3) integers, source frame, patch row and column, in raster order of each canvas; -1 for
            padding.
        form: of the patches.
        fps: frames a second of the source; 30 where None or 0.
        joined: one grid row of all canvases, so that windows of several attend together (LLaVA-OneVision-2); otherwise
            a grid row each (Mage-VL).
        decimals: of the seconds.

    Raises:
        ValueError: shapes do not fit one another or the patches, a canvas is padding in part, or none is left.
    """
    canvases = [np.asarray(image) for image in images]
    sizes = {canvas.shape for canvas in canvases}
    if len(sizes) != 1 or any(canvas.dtype != np.uint8 for canvas in canvases) or len(next(iter(sizes))) != 3:
        raise ValueError(f"canvases must be uint8 arrays (H, W, 3) of the same size, got {sorted(sizes)}")
    h, w = form.grid(*canvases[0].shape[:2])
    positions = np.asarray(src_positions)
    if positions.shape != (len(canvases) * h * w, 3) or not np.issubdtype(positions.dtype, np.integer):
        raise ValueError(
            f"src_positions must be ({len(canvases) * h * w}, 3) integers, for {len(canvases)} canvases of {h} x {w} "
            f"patches of patch_size {form.patch_size}, got {positions.dtype} {positions.shape}"
        )
    placed = positions.reshape(len(canvases), h * w, 3)
    padding: NDArray[np.bool_] = np.any(placed < 0, axis=2)
    if (bad := np.flatnonzero(padding.any(axis=1) & ~padding.all(axis=1))).size:
        raise ValueError(
            f"src_positions has padding (-1) in a part of canvas {bad[0]}; a canvas must be padding as a whole or not "
            "at all"
        )
    used = np.flatnonzero(~padding.any(axis=1))
    if not used.size:
        raise ValueError(f"all {len(canvases)} canvases are padding: give at least one with content")
    order = merge_order(h, w, form.merge_size)
    ordered = placed[used][:, order].reshape(-1, 3).astype(np.int64)
    grid = [[len(used), h, w]] if joined else [[1, h, w]] * len(used)
    pixels = np.concatenate([form.patches(canvases[number]) for number in used])
    text = runs_text(ordered[:, 0], form.merge_size, fps, decimals)
    return Visual(pixels, np.array(grid, np.int64), ordered, text)


def runs_text(times: NDArray[np.integer[Any]], merge_size: int, fps: float | None, decimals: int = 1) -> str:
    """The prompt text of a codec video: for every run of one source frame its time and as many image tokens as blocks.

    Args:
        times: (N,) source frames in merge-block order.
        merge_size: m; a run of k * m^2 patches has k image tokens.
        fps: frames a second; 30 where None or 0.
        decimals: of the seconds.

    Raises:
        ValueError: runs are not made of whole blocks, so that there are fewer image tokens than merged tokens.
    """
    rate = float(fps or DEFAULT_FPS)
    area = merge_size**2
    bounds = [0, *(np.flatnonzero(np.diff(times)) + 1).tolist(), len(times)]
    pieces, tokens = [], 0
    for start, stop in itertools.pairwise(bounds):
        count = (stop - start) // area
        if count == 0 or times[start] < 0:
            continue
        tokens += count
        seconds = f"<{int(times[start]) / rate:.{decimals}f} seconds>"
        pieces.append(f"{seconds}{VISION_START}{IMAGE_PAD * count}{VISION_END}\n")
    if tokens != len(times) // area:
        raise ValueError(
            f"{len(times)} patches of canvases make {len(times) // area} tokens of {merge_size} x {merge_size}, but "
            f"only {tokens} have patches of a single source frame; use a block that is a multiple of {merge_size} "
            "patches"
        )
    return "".join(pieces)


def _pictures(
    pictures: Sequence[NDArray[np.uint8]], form: PatchFormat, times: Sequence[int], around: Sequence[str]
) -> Visual:
    """A grid row for every picture; `around` is the text before each, and the text after each."""
    area = form.merge_size**2
    grids, positions, text = [], [], []
    for picture, time, before in zip(pictures, times, around[:-1], strict=True):
        h, w = form.grid(*picture.shape[:2])
        grids.append((1, h, w))
        cells = merge_order(h, w, form.merge_size)
        positions.append(np.stack((np.full(h * w, time), cells // w, cells % w), axis=1))
        text.append(f"{before}{IMAGE_PAD * (h * w // area)}{around[-1]}")
    pixels = np.concatenate([form.patches(picture) for picture in pictures])
    return Visual(pixels, np.array(grids, np.int64), np.concatenate(positions).astype(np.int64), "".join(text))
