"""Ways to choose the tokens of a clip under one budget, on the same sampled pictures and the same patch grid."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import motion_clips
import numpy as np
from numpy.typing import NDArray

import ove_codec
from ove_codec import Selection


@dataclasses.dataclass(frozen=True)
class Grid:
    """What all methods share: sampled pictures, canvas, patch and budget."""

    num_frames: int
    size: int
    patch_size: int
    budget: int

    @property
    def per_frame(self) -> int:
        return (self.size // self.patch_size) ** 2


# What a preset shares with the others here, so that it differs from them by what it prefers alone.
def _shared(grid: Grid) -> dict[str, Any]:
    return {**dataclasses.asdict(grid), "resize": "crop", "padding": "exclude"}


BASELINES = {
    "uniform frames": "whole pictures at equal distances, as many as the budget has room for",
    "random patches": "drawn from all sampled pictures",
    "pixel difference": "the patches that differ most from the picture before, and the first picture",
}


def select(path: Path, method: str, overrides: Mapping[str, Any], grid: Grid, seed: int) -> Selection:
    """The selection of a method: one of ``BASELINES``, or a preset with some parameters overridden."""
    if method not in BASELINES:
        return ove_codec.select(path, method, threads=1, **{**_shared(grid), **overrides})
    sampled = ove_codec.select(path, "paper", threads=1, **_shared(grid))
    frames, rows, columns = sampled.mask.shape
    if method == "uniform frames":
        count = min(grid.budget // grid.per_frame, frames)
        last = len(ove_codec.open(path)) - 1
        frame_ids = np.unique(np.linspace(0, last, count).astype(np.int64))
        mask = np.ones((len(frame_ids), rows, columns), bool)
        return _with_mask(sampled, mask, frame_ids)
    score = np.random.default_rng(seed).random((frames, rows, columns))
    if method == "pixel difference":
        score = _differences(path, sampled.frame_ids, grid)
        score[0] = np.inf
    kept = np.argsort(-score, axis=None, kind="stable")[: grid.budget]
    mask = np.zeros(score.shape, bool)
    mask.flat[kept] = True
    return _with_mask(sampled, mask, sampled.frame_ids)


def _with_mask(selection: Selection, mask: NDArray[np.bool_], frame_ids: NDArray[np.int64]) -> Selection:
    positions = np.argwhere(mask).astype(np.int32)
    return dataclasses.replace(
        selection, mask=mask, positions=positions, frame_ids=frame_ids, scores=mask * np.float32(1)
    )


def _differences(path: Path, frame_ids: NDArray[np.int64], grid: Grid) -> NDArray[np.float64]:
    """Mean absolute difference of every patch from the same place in the picture before."""
    both = np.unique(np.concatenate([frame_ids, np.maximum(frame_ids - 1, 0)]))
    pictures = ove_codec.frames(path, both, size=grid.size, normalize=False, threads=1).numpy().astype(np.float64)
    now, before = np.searchsorted(both, frame_ids), np.searchsorted(both, np.maximum(frame_ids - 1, 0))
    difference = np.abs(pictures[now] - pictures[before]).mean(1)
    p, n = grid.patch_size, grid.size // grid.patch_size
    return np.asarray(difference.reshape(-1, n, p, n, p).mean((2, 4)))


def tokens(path: Path, selection: Selection, grid: Grid) -> tuple[NDArray[np.float16], NDArray[np.float32]]:
    """Patch rows (budget, 3*p*p) and positions (budget, 3) of t, h, w.

    t is the time of the picture whatever was sampled: 0 at the first and num_frames - 1 at the last of the clip.
    """
    video = ove_codec.open(path, threads=1)
    made = ove_codec.tokenize(video, selection, threads=1)
    positions = made.positions.numpy().astype(np.float32)
    times = selection.frame_ids / (len(video) - 1) * (grid.num_frames - 1)
    positions[:, 0] = times[positions[:, 0].astype(int)]
    return made.patches.numpy().astype(np.float16), positions


def on_the_action(selection: Selection, action: motion_clips.Action, side: int) -> tuple[int, int]:
    """How many patches of pictures in which the disc moves touch it, and how many patches there are."""
    n = selection.mask.shape[1]
    t, h, w = selection.positions.T
    centres = action.centres[selection.frame_ids[t]] * n / side  # in patches
    x, y = centres[:, 0], centres[:, 1]
    reach = action.radius * n / side
    gap_x, gap_y = np.maximum(0, np.maximum(w - x, x - w - 1)), np.maximum(0, np.maximum(h - y, y - h - 1))
    touches = (np.hypot(gap_x, gap_y) < reach) & action.moving[selection.frame_ids[t]]
    return int(touches.sum()), len(t)
