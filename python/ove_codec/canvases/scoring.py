"""Scores of the blocks of sampled frames, by their bits or by a preset's heat."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ove_codec import _core
from ove_codec._backend import CPU
from ove_codec._pictures import VideoPictures
from ove_codec._reading import Pictures
from ove_codec.canvases.config import CanvasConfig
from ove_codec.canvases.planning import heat_of
from ove_codec.motion_only import lacking
from ove_codec.presets import PRESETS, resolve
from ove_codec.selection import score_clip

_WEIGHTS = {
    "motion": (1.0, 0.0),
    "residual": (0.0, 1.0),
    "motion+residual": (0.5, 0.5),
}  # of motion and residual, for scores that are no preset of their own
_MACROBLOCK = 16  # samples


def score_params(score: str) -> dict[str, Any] | None:
    """Parameters of a selection that scores so; None for "bits". Raises ValueError for other names."""
    if score == "bits":
        return None
    if score in _WEIGHTS:
        motion, residual = _WEIGHTS[score]
        return resolve("paper", {"mv_weight": motion, "residual_weight": residual, "resize": "stretch"})
    if score in PRESETS:
        return resolve(score, {"resize": "stretch"})
    raise ValueError(f"score must be 'bits', {', '.join(map(repr, [*_WEIGHTS, *PRESETS]))}, not {score!r}")


def block_scores(
    pictures: VideoPictures, frame_ids: NDArray[np.int64], size: tuple[int, int], score: str, config: CanvasConfig
) -> NDArray[np.float32]:
    """(T, blocks) float32 of frames scaled to `size`."""
    params = score_params(score)
    if params is None:
        return _bits_scores(pictures, frame_ids, size, config)
    return heat_scores(pictures.checked(params), frame_ids, params, size, config)


def heat_scores(
    pictures: Pictures,
    frame_ids: NDArray[np.int64],
    params: dict[str, Any],
    size: tuple[int, int],
    config: CanvasConfig,
) -> NDArray[np.float32]:
    """(T, blocks) float32 by the heat of a selection with these parameters."""
    params = {**params, "frame_ids": frame_ids.tolist(), "num_frames": None, "size": size, "patch_size": config.patch}
    patches: NDArray[np.float32] = score_clip(pictures, params, CPU).scored.values
    frames, rows, columns = patches.shape
    block = config.block
    blocks = patches.reshape(frames, rows // block, block, columns // block, block).sum((2, 4), np.float64)
    return blocks.reshape(frames, -1).astype(np.float32)


def _bits_scores(
    pictures: VideoPictures, frame_ids: NDArray[np.int64], size: tuple[int, int], config: CanvasConfig
) -> NDArray[np.float32]:
    video = pictures.video
    return scores_of_frames(costs_of(video, frame_ids, config), orientation_of(video), size, config)


def scores_of_frames(
    costs: Iterable[tuple[NDArray[Any], bool]],
    orientation: tuple[int, bool],
    size: tuple[int, int],
    config: CanvasConfig,
) -> NDArray[np.float32]:
    """As ``scores_of``, of what ``costs_of`` gives: the grid of costs may change where nothing compares frames."""
    if config.cap_intra is not None:
        return scores_of(*_stacked(costs), orientation, size, config)
    return np.concatenate([scores_of(c[None], np.array([intra]), orientation, size, config) for c, intra in costs])


def orientation_of(video: Any) -> tuple[int, bool]:
    """Clockwise degrees to turn the pictures by for display, and whether they are mirrored before that."""
    return video.info["rotation"], video.info["mirrored"]


def scores_of(
    costs: NDArray[Any],
    intra: NDArray[np.bool_],
    orientation: tuple[int, bool],
    size: tuple[int, int],
    config: CanvasConfig,
) -> NDArray[np.float32]:
    """Scores (T, blocks) float32 of costs (T, rows, columns), as coded, of frames scaled to `size`.

    `orientation` is that of ``orientation_of``.
    """
    heat = heat_of(costs, config, intra)
    rotation, mirrored = orientation
    if mirrored:
        heat = heat[:, :, ::-1]
    heat = np.rot90(heat, -rotation // 90, (1, 2))
    return _core.block_scores(np.ascontiguousarray(heat), *size, config.patch * config.block)


def cell_costs(
    pictures: VideoPictures, frame_ids: NDArray[np.int64], config: CanvasConfig
) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """The costs of ``costs_of`` (T, rows, columns), and which frames are I pictures."""
    return _stacked(costs_of(pictures.video, frame_ids, config))


def _stacked(costs: Iterable[tuple[NDArray[Any], bool]]) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    cells, intra = zip(*costs, strict=True)
    if len(shapes := {one.shape for one in cells}) > 1:
        raise _core.UnsupportedStreamError(
            f"the grid of costs changes inside the video: {sorted(shapes)}; leave cap_intra out, or split the video "
            "where its coding changes"
        )
    return np.stack(cells), np.array(intra, bool)


def costs_of(video: Any, frame_ids: NDArray[np.int64], config: CanvasConfig) -> Iterator[tuple[NDArray[Any], bool]]:
    """Bits (rows, columns) of the cells of each of these ascending frames, as coded, and whether it is an I picture:
    int32 of CTUs or macroblocks, float32 of 4x4 blocks.

    In legacy mode they are in whole bytes, without the syntax around the coding quadtree, and those of macroblocks have
    one column too many. Raises UnsupportedStreamError where the video has no bits, or the size of its pictures changes.
    """
    if not video.has("bits"):
        raise _core.UnsupportedStreamError(lacking(video.name, video.info["codec"], "bits", "take score='motion'"))
    pictures = video._pictures(
        residual=False,
        motion=False,
        index=video.index,
        frame_ids=frame_ids.tolist(),
        whole_bytes=config.mode == "legacy",
        bits_by_block=config.bitcost_grid == "sub",
    )
    first, count = None, 0
    for picture in pictures:
        first = first or picture.window
        if picture.window != first:
            raise _core.UnsupportedStreamError(
                f"{video.name}: the picture is {first[2]}x{first[3]} at first and {picture.width}x"
                f"{picture.height} at display index {picture.index}; split the video where its size changes"
            )
        yield _cells(picture, config), picture.type == "I"
        count += 1
    if count < len(frame_ids):
        raise _core.DecodeError(f"{video.name}: the video ended before the picture of display index {frame_ids[count]}")


def _cells(picture: _core.Picture, config: CanvasConfig) -> NDArray[Any]:
    if config.bitcost_grid == "sub":
        return picture.block_bits
    macroblocks = picture.ctb_size == picture.block_unit == _MACROBLOCK
    return np.pad(picture.bits, ((0, 0), (0, 1))) if config.mode == "legacy" and macroblocks else picture.bits
