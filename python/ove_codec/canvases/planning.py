"""Which blocks of which frames fill the canvases."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ove_codec import _core
from ove_codec.canvases.config import FEWEST_FRAMES, CanvasConfig, config_of


class Group(NamedTuple):
    """Sampled frames ``start`` to ``end`` - 1, which fill one set of canvases.

    ``reason`` says why the group ends there. ``anchor`` is the sampled frame that the first canvas shows whole: the
    first good one.
    """

    start: int
    end: int
    reason: str
    anchor: int


@dataclass(frozen=True, eq=False)
class CanvasPlan:
    """Where every patch of every canvas comes from.

    Attributes:
        frame_ids: (T,) int64 numbers of the sampled frames.
        block_scores: (T, blocks) float32, blocks in raster order.
        threshold: that a group's score must reach; 0 for fixed grouping.
        groups: in order; each has 4 frames or more, except the single group of a short clip. Frames outside groups are
            not used.
        positions: (canvases * rows * columns, 3) int32: frame number, patch row and column of every patch of every
            canvas in raster order; -1 where the canvas is empty.
        blocks: (canvases, blocks of a canvas, 2) int32: index in ``frame_ids`` and number of the block at this place,
            in raster order; -1 where empty.
        size: height and width of a canvas, and of the scaled frames, in samples.
        config: what it was made with.
    """

    frame_ids: NDArray[np.int64]
    block_scores: NDArray[np.float32]
    threshold: float
    groups: tuple[Group, ...]
    positions: NDArray[np.int32]
    blocks: NDArray[np.int32]
    size: tuple[int, int]
    config: CanvasConfig

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of patches of a canvas."""
        return self.size[0] // self.config.patch, self.size[1] // self.config.patch

    @property
    def num_canvases(self) -> int:
        return len(self.groups) * self.config.images_per_group


def plan(
    bits: ArrayLike,
    frame_ids: ArrayLike,
    *,
    size: tuple[int, int],
    good: ArrayLike | None = None,
    intra: ArrayLike | None = None,
    **settings: Any,
) -> CanvasPlan:
    """Plans the canvases of a clip from the bits that its codec spent.

    Each map becomes heat: log1p, divided by its percentile in the frame, stretched over the scaled frame. The score of
    a block is the sum of its heat. Groups of frames end where their best blocks have scored enough; the first good
    frame of a group is kept whole and the best blocks of its other good frames fill the rest of its canvases. Blocks
    rank by score, then frame, then block, so the plan is the same on every machine.

    Args:
        bits: (T, rows, columns) costs of the cells of the sampled frames: CTUs, macroblocks, or any other grid over the
            whole frame.
        frame_ids: (T,) numbers of these frames.
        size: height and width of the frames in samples.
        good: (T,) whether a frame has content; None for all. Blocks of other frames are not chosen.
        intra: (T,) which frames are I pictures; for ``cap_intra``.
        **settings: of ``CanvasConfig``.

    Raises:
        ValueError: shapes that do not fit, costs that are not finite, or a setting out of range.
        TypeError: an unknown setting.
    """
    config = config_of(settings)
    costs = np.asarray(bits)
    if costs.ndim != 3 or 0 in costs.shape:
        raise ValueError(f"bits must be (frames, rows, columns), each at least 1, not {costs.shape}")
    heat = heat_of(costs, config, intra)
    height, width = config.canvas_size(*size)
    scores = _core.block_scores(heat, height, width, config.patch * config.block)
    return plan_blocks(scores, frame_ids, (height, width), config, good)


def heat_of(costs: NDArray[Any], config: CanvasConfig, intra: ArrayLike | None = None) -> NDArray[np.float32]:
    """Costs (T, rows, columns) as heat in 0..1."""
    cells = costs.astype(np.float32)
    if not np.isfinite(cells).all():
        raise ValueError("bits must be finite")
    heat = _core.cell_heat(cells, config.percentile)
    if config.cap_intra is None:
        return heat
    if intra is None:
        raise ValueError("cap_intra needs to know which pictures are I pictures: pass intra")
    marked = np.asarray(intra, bool)
    if marked.shape != (len(heat),):
        raise ValueError(f"intra must have an entry for each of the {len(heat)} frames, not {marked.shape}")
    if marked.any() and not marked.all():
        heat[marked] = np.minimum(heat[marked], np.percentile(heat[~marked], config.cap_intra).astype(np.float32))
    return heat


def plan_blocks(
    scores: NDArray[np.float32],
    frame_ids: ArrayLike,
    size: tuple[int, int],
    config: CanvasConfig,
    good: ArrayLike | None = None,
    bits_per_pixel: float | None = None,
) -> CanvasPlan:
    """Plans canvases of `size` by scores (T, blocks) of the blocks of frames scaled to it.

    `bits_per_pixel` is the mean of the clip, for ``threshold_mode="clamped_sqrt_bpppf"``.
    """
    ids = np.asarray(frame_ids, np.int64)
    if ids.shape != (len(scores),):
        raise ValueError(
            f"frame_ids must hold one index for each of the {len(scores)} frames of the maps; its shape is {ids.shape}"
        )
    if len(ids) and not 0 <= ids.min() <= ids.max() < 2**31:
        raise ValueError(f"frame_ids must be 0 to 2**31 - 1, not {ids.min()} to {ids.max()}")
    usable = None if good is None else np.asarray(good, bool)
    if usable is not None and usable.shape != ids.shape:
        raise ValueError(f"good must have an entry for each of the {len(ids)} frames, not {usable.shape}")
    budget = (config.images_per_group - 1) * scores.shape[1]
    ranked = _core.RankedBlocks(scores, budget)
    threshold = 0.0
    if config.grouping == "fixed":
        bounds = _chunks(len(ids), config.group_size)
    else:
        threshold = _threshold(ranked, config, bits_per_pixel)
        bounds = ranked.groups(
            threshold,
            min_frames=config.min_group_frames,
            max_frames=config.max_group_frames,
            coverage_bins=config.coverage_bins,
            min_coverage=min(config.coverage_bins, config.images_per_group - 1),
            delta_ratio=config.delta_ratio,
        )
    if not bounds:
        bounds = [(0, len(ids), "short_clip")]
    groups = tuple(Group(a, b, why, _anchor(usable, a, b)) for a, b, why in bounds)
    blocks = np.concatenate([_filled(ranked, group, ids, usable, config, scores.shape[1]) for group in groups])
    positions = _positions(blocks, ids, size, config)
    return CanvasPlan(ids, scores, threshold, groups, positions, blocks, size, config)


def _threshold(ranked: _core.RankedBlocks, config: CanvasConfig, bits_per_pixel: float | None) -> float:
    if config.threshold is not None:
        return config.threshold
    if config.threshold_mode == "fixed":
        return config.norm_threshold
    if config.threshold_mode == "clamped_sqrt_bpppf":
        if bits_per_pixel is None:
            raise ValueError("threshold_mode='clamped_sqrt_bpppf' needs a video, not arrays alone: pass threshold")
        return config.norm_threshold * float(np.sqrt(np.clip(bits_per_pixel, 0.015, 0.09)))
    return ranked.mean_chunk_sum(config.group_size)


def _chunks(count: int, size: int) -> list[tuple[int, int, str]]:
    bounds = [(start, min(count, start + size)) for start in range(0, count, size)]
    return [(a, b, "fixed_group_size") for a, b in bounds if b - a >= FEWEST_FRAMES]


def _anchor(good: NDArray[np.bool_] | None, start: int, end: int) -> int:
    if good is None or not good[start:end].any():
        return start
    return start + int(np.argmax(good[start:end]))


def _filled(
    ranked: _core.RankedBlocks,
    group: Group,
    ids: NDArray[np.int64],
    good: NDArray[np.bool_] | None,
    config: CanvasConfig,
    per_canvas: int,
) -> NDArray[np.int32]:
    """The blocks of a group, (images_per_group, per_canvas, 2) slot and block: the anchor's, then the chosen ones by
    frame number and block."""
    chosen = ranked.choose(group.start, group.end, group.anchor, good)
    chosen = chosen[np.lexsort((chosen[:, 1], ids[chosen[:, 0]]))]
    blocks = np.full((config.images_per_group * per_canvas, 2), -1, np.int32)
    blocks[:per_canvas, 0] = group.anchor
    blocks[:per_canvas, 1] = np.arange(per_canvas)
    blocks[per_canvas : per_canvas + len(chosen)] = chosen
    return blocks.reshape(config.images_per_group, per_canvas, 2)


def _positions(
    blocks: NDArray[np.int32], ids: NDArray[np.int64], size: tuple[int, int], config: CanvasConfig
) -> NDArray[np.int32]:
    side = config.patch * config.block
    down, across = size[0] // side, size[1] // side
    slots, numbers = blocks[..., 0], blocks[..., 1]
    corner = np.stack([ids[slots], numbers // across * config.block, numbers % across * config.block], -1)
    corner[slots < 0] = -1
    corner = corner.reshape(len(blocks), down, 1, across, 1, 3)
    steps = np.zeros((config.block, 1, config.block, 3), np.int64)
    steps[..., 1] += np.arange(config.block)[:, None, None]
    steps[..., 2] += np.arange(config.block)
    patches = np.where(corner < 0, -1, corner + steps)
    return patches.reshape(-1, 3).astype(np.int32)
