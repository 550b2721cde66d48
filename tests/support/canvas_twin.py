"""Codec canvases in plain NumPy, pixel by pixel: the twin of their plan, and of frames scaled by area."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
from numpy.typing import NDArray

from support.pixels import first_chroma, to_rgb, turn

Array = NDArray[Any]


def block_scores(bits: Array, height: int, width: int, patch: int, block: int) -> Array:
    """(frames, blocks) float32 of maps (frames, rows, columns) on frames of height x width."""
    side = patch * block
    scores = []
    for cells in bits:
        cost = np.log1p(np.maximum(cells, 0).astype(np.float64)).astype(np.float32)
        scale = max(np.float32(np.percentile(cost.astype(np.float64), 99)), np.float32(1e-6))
        heat = np.clip(cost / scale, np.float32(0), np.float32(1))
        rows = np.minimum(np.floor(np.arange(height) * (1 / (height / cells.shape[0]))), cells.shape[0] - 1).astype(int)
        columns = np.minimum(np.floor(np.arange(width) * (1 / (width / cells.shape[1]))), cells.shape[1] - 1)
        pixels = heat[rows][:, columns.astype(int)].astype(np.float64)
        sums = pixels.reshape(height // side, side, width // side, side).sum((1, 3))
        scores.append(sums.ravel().astype(np.float32))
    return np.array(scores)


def best(scores: Array, frames: Array, k: int) -> Array:
    """(k, 2) frame and block of the best among the blocks of these frames; ties by frame, then block."""
    every = [(-scores[f, b], f, b) for f in frames for b in range(scores.shape[1])]
    return np.array([(f, b) for _, f, b in sorted(every)[:k]], int).reshape(-1, 2)


def top_sum(scores: Array, start: int, end: int, budget: int, bins: int = 3) -> tuple[np.float32, int]:
    """Sum of the best blocks behind the anchor `start`, and how many bins of frames they lie in."""
    chosen = best(scores, np.arange(start + 1, end), budget)
    total = np.float32(scores[chosen[:, 0], chosen[:, 1]].astype(np.float64).sum())
    borders = np.linspace(1, max(2, end - start), bins + 1).astype(int)
    hit = chosen[:, 0] - start
    inside = [(hit >= a) & (hit < max(b, a + 1)) for a, b in itertools.pairwise(borders)]
    return total, sum(bool(one.any()) for one in inside)


def readiness_groups(
    scores: Array, budget: int, group_size: int, images: int, least: int, most: int
) -> tuple[float, list[tuple[int, int, str]]]:
    """Threshold and (start, end, reason) of every group."""
    n = len(scores)
    sums = [
        top_sum(scores, a, min(n, a + group_size), budget)[0]
        for a in range(0, n, group_size)
        if min(n - a, group_size) >= 4
    ]
    threshold = float(np.mean(np.array(sums, np.float64))) if sums else 0.0
    groups = []
    start = 0
    while n - start >= max(4, least):
        found, previous, last = None, None, min(n, start + most)
        for end in range(start + least, last + 1):
            total, coverage = top_sum(scores, start, end, budget)
            if total >= threshold and coverage >= min(3, images - 1):
                found = (end, "readiness_threshold")
                if previous is not None and (float(total) - previous) / max(abs(previous), 1e-6) < 0.05:
                    found = (end, "readiness_threshold_low_gain")
                    break
            previous = float(total)
        end, reason = found or (last, "tail_flush" if last == n else "max_group_frames")
        if end - start >= 4:
            groups.append((start, end, reason))
        start = end
    return threshold, groups


def canvases(
    scores: Array, frame_ids: Array, good: Array, start: int, end: int, grid: tuple[int, int], block: int, images: int
) -> Array:
    """(images * rows * columns, 3) positions of one group, raster order in each canvas."""
    rows, columns = grid
    across, per = columns // block, rows * columns // block**2
    fine = [f for f in range(start, end) if good[f]]
    anchor = fine[0] if fine else start
    others = np.array([f for f in fine if f != anchor], int)
    chosen = best(scores, others, (images - 1) * per)
    ordered = sorted((int(frame_ids[f]), int(b)) for f, b in chosen)
    listed = [(int(frame_ids[anchor]), b) for b in range(per)] + ordered
    positions = np.full((images, rows, columns, 3), -1, np.int32)
    for number, (frame, b) in enumerate(listed):
        canvas, place = divmod(number, per)
        for y in range(block):
            for x in range(block):
                at = place // across * block + y, place % across * block + x
                positions[canvas][at] = frame, b // across * block + y, b % across * block + x
    return positions.reshape(-1, 3)


def overlaps(out: int, plane: int, length: int, first: float, step: int) -> Array:
    """(out, plane) shares of the samples of a plane in `out` samples that share a picture of `length` luma samples.

    The first of the plane's samples sits at luma sample `first`, and they are `step` apart.
    """
    scale = length / out / step
    middles = ((np.arange(out) + 0.5) * length / out - 0.5 - first) / step + 0.5
    reach = max(scale, 1.0) / 2
    edges = np.concatenate([[-np.inf], np.arange(1, plane), [np.inf]])
    left = np.maximum(edges[None, :-1], (middles - reach)[:, None])
    right = np.minimum(edges[None, 1:], (middles + reach)[:, None])
    return np.maximum(right - left, 0) / (2 * reach)


def area_frame(planes: list[Array], options: dict[str, Any], height: int, width: int) -> Array:
    """(height, width, 3) float in 0..255, of planes as ``support.pixels.av_pictures`` gives them."""
    turns, mirrored, depth = options["quarter_turns"], options["mirrored"], options["bit_depth"]
    luma = turn(planes[0], turns, mirrored)
    ycc = np.full((3, height, width), 128.0 * 2 ** (depth - 8))
    for k, plane in enumerate(planes):
        shift, site = (options["chroma_shift"], options["chroma_site"]) if k else ((0, 0), (0, 0))
        turned = turn(plane, turns, mirrored).astype(np.float64)
        first_x = first_chroma(planes[0].shape[1], plane.shape[1], shift[0], site[0], (turns in (2, 3)) != mirrored)
        first_y = first_chroma(planes[0].shape[0], plane.shape[0], shift[1], site[1], turns in (1, 2))
        step_x, step_y = 1 << shift[0], 1 << shift[1]
        if turns % 2:
            first_x, first_y, step_x, step_y = first_y, first_x, step_y, step_x
        down = overlaps(height, turned.shape[0], luma.shape[0], first_y, step_y)
        across = overlaps(width, turned.shape[1], luma.shape[1], first_x, step_x)
        ycc[k] = down @ turned @ across.T
    return 255 * to_rgb(ycc, options["matrix"], depth, options["full_range"]).transpose(1, 2, 0)
