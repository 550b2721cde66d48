"""Uniform frames of a clip, for the "frames" backend of the processors."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ove_codec.models.vision_info import opened
from ove_codec.models.visuals import DEFAULT_FPS
from ove_codec.tokenizer import frames
from ove_codec.video import Video

_CHUNK = 16  # frames of full size in memory


class SampledFrames(NamedTuple):
    """Frames (H, W, 3) uint8 as they are asked for, their numbers in the clip, and its frames a second."""

    pictures: Iterator[NDArray[np.uint8]]
    numbers: Sequence[int]
    fps: float


@dataclass(frozen=True)
class FrameRule:
    """How many frames are taken of a clip.

    Attributes:
        num_frames: so many; None for 8 of less than 10 seconds, 16 of less than 30, `max_frames` of longer ones.
        max_frames: the most.
        target_fps: instead, so many a second.

    Raises:
        ValueError: a value is not positive.
    """

    num_frames: int | None = None
    max_frames: int = 384
    target_fps: float | None = None

    def __post_init__(self) -> None:
        for name in ("num_frames", "max_frames", "target_fps"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ValueError(f"{name} must be positive, got {value!r}")

    def numbers(self, count: int, fps: float, start: float | None = None, end: float | None = None) -> list[int]:
        """The frames taken of `count`, at equal distances from the first to the last; all where there are fewer.

        With `start` or `end` they are of the frames at start <= number / fps < end, in seconds.

        Raises:
            ValueError: no frame lies between start and end.
        """
        first = 0 if start is None else max(0, math.ceil(start * fps))
        last = count if end is None else min(count, math.ceil(end * fps))
        if first >= last:
            raise ValueError(f"no frame of {count / fps:.3f} seconds is between start {start} and end {end}")
        count = last - first
        duration = count / fps
        if self.target_fps is not None:
            wanted = min(max(1, int(duration * self.target_fps)), self.max_frames)
        elif self.num_frames is not None:
            wanted = self.num_frames
        else:
            wanted = 8 if duration < 10 else 16 if duration < 30 else self.max_frames
        if wanted >= count:
            return list(range(first, last))
        return [first + int(number) for number in np.linspace(0, count - 1, wanted).round()]


def given_frames(pictures: Any, fps: float | None) -> SampledFrames:
    """Frames that the caller has decoded, numbered from 0; as they are where they are sampled already."""
    if isinstance(pictures, SampledFrames):
        return pictures
    return SampledFrames(iter(pictures), range(len(pictures)), float(fps or DEFAULT_FPS))


def read_frames(source: Any, rule: FrameRule, start: float | None = None, end: float | None = None) -> SampledFrames:
    """Frames of a path, URL, bytes, file object or opened Video, of any codec that libavcodec knows.

    Raises:
        ove_codec.Error: the video cannot be read.
        ValueError: no frame lies between start and end, in seconds.
    """
    video = source if isinstance(source, Video) else Video(opened(source))
    numerator, denominator = video.info["frame_rate"]
    fps = numerator / denominator if numerator > 0 and denominator > 0 else DEFAULT_FPS
    numbers = rule.numbers(len(video.pixel_index), fps, start, end)

    def pictures() -> Iterator[NDArray[np.uint8]]:
        for start in range(0, len(numbers), _CHUNK):
            chunk = frames(video, numbers[start : start + _CHUNK], resize="native", normalize=False)
            yield from np.moveaxis(chunk.numpy(), 1, -1)

    return SampledFrames(pictures(), numbers, fps)
