"""What a run notes of each clip beside its selection, to tell of the whole data set without reading the shards."""

from __future__ import annotations

import os
import platform
from typing import Any

import numpy as np
import numpy.typing as npt

from ove_codec.datasets import places
from ove_codec.selection import Geometry, Selection

#: Shares of the patches at which the budget curve is known: budgets are small, so small ones lie close together.
BUDGETS = tuple(round((i / 32) ** 2, 6) for i in range(33))
_DIGITS = 4


def statistics(selection: Selection) -> dict[str, Any]:
    """Plain values of JSON.

    patches: T * rows * columns. heat: of each sampled picture, its mean over what is shown of it, 0..1. curve: for each
    of ``BUDGETS``, the share of all heat in so many of the patches, the hottest ones. kept: the share of all heat in
    the patches that are kept. Without any heat curve and kept are None.
    """
    unit = 255 if selection.params["quantize"] else 1
    return shares(selection.scores, selection.mask, unit * max(1, _shown_area(selection.geometry)))


def shares(scores: npt.NDArray[Any], mask: npt.NDArray[np.bool_], area: int) -> dict[str, Any]:
    """The same of scores (T, ...) of patches or blocks, those kept being in the mask.

    `area` is the sum of the scores of a picture that is all heat.
    """
    scores = scores.astype(np.float64)
    total = float(scores.sum())
    heat = scores.sum(axis=tuple(range(1, scores.ndim))) / area
    curve = kept = None
    if total > 0:
        summed = np.concatenate([[0], np.cumsum(np.sort(scores, axis=None)[::-1])])
        at = np.interp(np.array(BUDGETS) * scores.size, np.arange(scores.size + 1), summed)
        curve = [round(float(share), _DIGITS) for share in at / total]
        kept = round(float(scores[mask].sum()) / total, _DIGITS)
    return {
        "patches": int(scores.size),
        "heat": [float(f"{value:.{_DIGITS}g}") for value in heat],
        "curve": curve,
        "kept": kept,
    }


def worker_name() -> str:
    """This process, by its machine and number."""
    return f"{places.printable(platform.node())}/{os.getpid()}"


def _shown_area(geometry: Geometry) -> int:
    """Samples of the canvas that the picture covers."""
    width = min(geometry.canvas_width, geometry.offset_x + geometry.resized_width) - max(0, geometry.offset_x)
    height = min(geometry.canvas_height, geometry.offset_y + geometry.resized_height) - max(0, geometry.offset_y)
    return max(0, width) * max(0, height)
