"""Canvases of one window of a video after the other."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ove_codec import _core
from ove_codec._pictures import VideoPictures
from ove_codec.canvases.clip import VideoClip
from ove_codec.canvases.config import config_of
from ove_codec.canvases.meta import meta_of
from ove_codec.canvases.painting import is_good
from ove_codec.canvases.planning import CanvasPlan, plan_blocks
from ove_codec.canvases.reading import Canvases
from ove_codec.canvases.scoring import costs_of, orientation_of, scores_of
from ove_codec.limits import Limits
from ove_codec.transcoding import Recipe


@dataclass(frozen=True)
class _Frame:
    """A sampled frame: its number, its time, the scores of its blocks, its samples, and whether it shows something."""

    number: int
    time: float
    scores: NDArray[np.float32]
    samples: NDArray[np.uint8]
    good: bool


def canvas_windows(
    source: Any,
    *,
    seconds: float = 8.0,
    step: float | None = None,
    sample_fps: float = 4.0,
    mode: str = "default",
    transcode: bool | str | Recipe = False,
    threads: int = 0,
    limits: Limits | None = None,
    **settings: Any,
) -> Iterator[Canvases]:
    """Gives the canvases of successive windows of a video, each as soon as its last frame is decoded.

    Windows may overlap: no picture is decoded or scaled twice, and only the sampled frames of one window are in memory.
    Frames are scored by their bits.

    Args:
        source: what ``ove_codec.open`` takes, or a video that it opened.
        seconds: length of a window, by time stamps.
        step: seconds from the start of a window to that of the next; `seconds` where None.
        sample_fps: frames to sample a second.
        mode, transcode, threads, limits: as for ``codec_canvases``.
        **settings: of ``CanvasConfig``, except for the number of frames.

    Yields:
        The canvases of each window that has a frame; `frame_ids` and `src_positions` number the frames of the video.

    Raises:
        ValueError: a window or step that is not positive, and what ``codec_canvases`` raises.
    """
    step = seconds if step is None else step
    if not (seconds > 0 and step > 0):
        raise ValueError(f"seconds and step must be positive, not {seconds} and {step}")
    if unfit := {"num_frames", "target_canvas", "sampling", "cap_intra"} & settings.keys():
        raise ValueError(
            f"{', '.join(sorted(unfit))}: windows sample at sample_fps, in order; leave these settings out"
        )
    config = config_of({**settings, "sampling": "fps", "sample_fps": sample_fps, "mode": mode})
    clip = VideoClip(VideoPictures(source, threads, limits, transcode), config, threads, limits)
    begins = float(clip.pts[clip.shown].min())
    kept: deque[_Frame] = deque()
    start = begins

    def canvases() -> Canvases:
        return _canvases([frame for frame in kept if frame.time >= start], clip)

    for frame in _frames(clip):
        while frame.time >= start + seconds:
            if any(one.time >= start for one in kept):
                yield canvases()
            start += step
            while kept and kept[0].time < start:
                kept.popleft()
        if frame.time >= start:
            kept.append(frame)
    if kept:
        yield canvases()


def _frames(clip: VideoClip) -> Iterator[_Frame]:
    """The sampled frames in display order, from one pass over the bits and one over the pixels."""
    height, width = clip.size
    samples = _core.FrameIterator(**clip.pixels.request(clip.shown), height=height, width=width, facts_step=1)
    orientation = orientation_of(clip.video)
    costs = costs_of(clip.video, clip.shown, clip.config)
    for (cells, intra), (slot, frame, facts) in zip(costs, samples, strict=True):
        scores = scores_of(cells[None], np.array([intra]), orientation, clip.size, clip.config)[0]
        number = int(clip.shown[slot])
        yield _Frame(number, float(clip.pts[number]), scores, frame, bool(is_good(facts)[0]))


def _canvases(frames: list[_Frame], clip: VideoClip) -> Canvases:
    good = np.array([frame.good for frame in frames])
    ids = np.array([frame.number for frame in frames], np.int64)
    plan = plan_blocks(np.stack([frame.scores for frame in frames]), ids, clip.size, clip.config, good)
    images = _cut(np.stack([frame.samples for frame in frames]), plan)
    meta = meta_of(clip, plan, good, "bits")
    return Canvases(images, plan.positions, clip.fps, ids, clip.times(ids), good, plan, meta)


def _cut(frames: NDArray[np.uint8], plan: CanvasPlan) -> NDArray[np.uint8]:
    """The canvases of a plan, out of whole frames (T, H, W, 3)."""
    side = plan.config.patch * plan.config.block
    height, width = plan.size
    down, across = height // side, width // side
    blocks = frames.reshape(-1, down, side, across, side, 3).swapaxes(2, 3).reshape(-1, down * across, side, side, 3)
    slots, numbers = plan.blocks[..., 0], plan.blocks[..., 1]
    chosen = blocks[slots, numbers]
    chosen[slots < 0] = 0
    return chosen.reshape(-1, down, across, side, side, 3).swapaxes(2, 3).reshape(-1, height, width, 3)
