"""Which frames of a video are shown, and when."""

from __future__ import annotations

import os
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ove_codec import _core
from ove_codec._pixels import PixelSource
from ove_codec.video import Video


def uniform_frames(
    video: Video, count: int, start: float | None, end: float | None
) -> tuple[NDArray[np.int64], tuple[float, ...]]:
    """Display indices of `count` uniform frames in the window, and their seconds."""
    times = frame_times(video)
    low, high = (-np.inf if start is None else start), (np.inf if end is None else end)
    inside = np.flatnonzero((times >= low) & (times < high))
    if not len(inside):
        raise ValueError(f"{name_of(video.source)}: no picture is displayed from start={start} to end={end}")
    ids = np.unique(np.linspace(inside[0], inside[-1], count, dtype=np.int64))
    return ids, tuple(times[ids].tolist())


def frame_times(video: Video) -> NDArray[np.float64]:
    """Seconds of every frame in display order, as ``picture.pts`` has them; by the frame rate where none are given."""
    if _core.decodes(video.info["codec"]):
        return np.asarray(video._table.pts, np.float64)
    packets = PixelSource(video, video.threads, None).packets
    pts = _core.packet_times(video._readable)[0][packets]
    if np.any(pts == np.iinfo(np.int64).min):
        numerator, denominator = video.info["frame_rate"]
        return np.arange(len(pts), dtype=np.float64) * (denominator / max(1, numerator))
    return pts.astype(np.float64) * float(Fraction(*video.info["time_base"]))


def name_of(source: Any) -> str:
    """What messages call a video."""
    source = getattr(source, "source", source)
    source = getattr(source, "file", source)  # of a VideoStream
    return os.fspath(source) if isinstance(source, (str, os.PathLike)) else f"a video of type {type(source).__name__}"
