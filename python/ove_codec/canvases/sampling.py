"""Which frames of a clip are looked at."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ove_codec.canvases.config import CanvasConfig

_REACH = 4  # frames that a sample moves away from a key frame


def sampled_frames(total: int, keyframes: Sequence[int], fps: float, config: CanvasConfig) -> NDArray[np.int64]:
    """Numbers of the frames to look at, of a clip of `total` frames with these key frames.

    They lie at equal distances, and beside key frames where ``avoid_keyframes`` is set. Where frames coincide, others
    near them take their place.
    """
    if config.sampling == "fps":
        count = np.ceil(total / fps * config.sample_fps)
        if count < total:
            times = np.arange(max(1, count)) / config.sample_fps
            wanted = np.minimum(np.round(times * fps), total - 1).astype(np.int64)
        else:  # however many a frame rate near 0 asks for
            wanted = np.arange(total)
    else:
        count = min(config.frames_wanted(), total)
        wanted = np.linspace(0, total - 1, count).astype(np.int64)
    if not config.avoid_keyframes:
        return np.unique(wanted)
    keys = set(keyframes)
    moved = list(dict.fromkeys(_beside(int(frame), keys, total) for frame in wanted))
    return np.array(_refilled(moved, len(wanted), keys, total), np.int64)


def _beside(frame: int, keys: set[int], total: int) -> int:
    """The nearest frame that is no key frame, the later of two; the frame itself where there is none."""
    if frame not in keys:
        return frame
    for distance in range(1, _REACH + 1):
        for near in (frame + distance, frame - distance):
            if 0 <= near < total and near not in keys:
                return near
    return frame


def _refilled(frames: list[int], count: int, keys: set[int], total: int) -> list[int]:
    """`count` frames, ascending: these, then those near them that are no key frames, then any."""
    missing = count - len(frames)
    if missing <= 0:
        return frames
    used = np.zeros(total, bool)
    used[frames] = True
    kept = np.sort(np.array(frames, np.int64))
    free = np.array([i for i in np.flatnonzero(~used).tolist() if i not in keys], np.int64)
    at = np.searchsorted(kept, free)
    left = free - kept[np.maximum(at - 1, 0)]
    right = kept[np.minimum(at, len(kept) - 1)] - free
    distance = np.where(at == 0, right, np.where(at == len(kept), left, np.minimum(left, right)))
    order = np.lexsort((free, np.abs(free - total // 2), distance))
    more = free[order[:missing]].tolist()
    used[more] = True
    more += np.flatnonzero(~used)[: missing - len(more)].tolist()
    return sorted(frames + more)
