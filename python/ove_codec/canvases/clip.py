"""What is known of a clip before its pixels are decoded, and which of its frames are sampled."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ove_codec import _core
from ove_codec._pictures import VideoPictures
from ove_codec._pixels import PixelSource
from ove_codec.canvases.config import CanvasConfig
from ove_codec.canvases.planning import CanvasPlan
from ove_codec.canvases.sampling import sampled_frames
from ove_codec.canvases.scoring import block_scores
from ove_codec.limits import Limits

UNKNOWN_RATE = 30.0
_MOST_FRAMES = 1 << 24  # that a container may claim beyond those it has
_ISO_CONTAINERS = ("mov", "mp4", "m4a", "3gp", "3g2", "mj2")


def rate_of(rate: Sequence[int] | None) -> float:
    """Frames a second, of numerator and denominator; what readers of canvases take where it is unknown."""
    return rate[0] / rate[1] if rate and rate[0] > 0 and rate[1] > 0 else UNKNOWN_RATE


def shown_size(size: Sequence[int], aspect: Sequence[int] | None, rotation: int) -> tuple[int, int]:
    """Height and width, in square samples, of pictures of `size`, width and height as they are stored.

    `aspect` is that of a stored sample, width and height; None, or zeros, for square ones. `rotation` is in degrees.
    """
    width, height = size
    if aspect and aspect[0] > 0 and aspect[1] > 0:
        width = max(1, round(width * aspect[0] / aspect[1]))
    return (width, height) if rotation % 180 else (height, width)


class Clip(ABC):
    """Sampled frames of a clip.

    Attributes:
        config: what was asked for.
        frame_ids: (T,) their numbers.
        shown: (T',) the pictures that stand for them, ascending; slots: (T,) the one of each frame.
        height, width: of a frame as it is shown, in samples.
        fps: frames a second.
        total: frames of the clip.
    """

    config: CanvasConfig
    frame_ids: NDArray[np.int64]
    shown: NDArray[np.int64]
    slots: NDArray[np.intp]
    height: int
    width: int
    fps: float
    total: int

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the canvases, and of the scaled frames."""
        return self.config.canvas_size(self.height, self.width)

    @abstractmethod
    def times(self, frame_ids: NDArray[np.int64]) -> NDArray[np.float64]:
        """(T,) seconds at which these frames are shown."""

    @abstractmethod
    def bits_per_pixel(self) -> float | None:
        """Bits that a sample takes on average; None where that is not known."""

    @abstractmethod
    def block_scores(self, score: str) -> NDArray[np.float32]:
        """(T, blocks) scores of the sampled frames."""

    @abstractmethod
    def place_blocks(self, pictures: NDArray[np.int64], **request: Any) -> NDArray[np.float64]:
        """Places blocks of these pictures, ascending ones of ``shown``; else as ``_core.place_blocks``."""

    def meta(self, plan: CanvasPlan, good: NDArray[np.bool_], score: str) -> dict[str, Any]:
        """Facts about the clip and the settings, ready for JSON."""
        config, (rows, columns) = self.config, plan.grid
        groups = []
        for number, group in enumerate(plan.groups):
            slots = [group.anchor, *(i for i in range(group.start, group.end) if i != group.anchor)]
            first = number * config.images_per_group
            used = plan.blocks[first : first + config.images_per_group, :, 0]
            groups.append(
                {
                    "group_idx": number,
                    "group_start_idx": group.start,
                    "group_end_idx": group.end,
                    "group_stop_reason": group.reason,
                    "frame_ids": plan.frame_ids[slots].tolist(),
                    "selected_blocks_per_frame": [int(np.count_nonzero(used == slot)) for slot in slots],
                    "global_img_offset": first,
                    "num_canvases": config.images_per_group,
                }
            )
        return {
            "fps": self.fps,
            "mode": config.mode,
            "score": score,
            "config": {name: value for name, value in vars(config).items() if value is not None},
            "total_frames": self.total,
            "orig_hw": [self.height, self.width],
            "processed_hw": list(plan.size),
            "patch": config.patch,
            "block_size": config.block,
            "grid_hw": [rows, columns],
            "hb_wb": [rows // config.block, columns // config.block],
            "readiness_threshold": plan.threshold,
            "bad_frames": plan.frame_ids[~good].tolist(),
            "groups": groups,
        }


class VideoClip(Clip):
    """A video, of which `config` tells what is sampled."""

    def __init__(
        self, pictures: VideoPictures, config: CanvasConfig, threads: int = 0, limits: Limits | None = None
    ) -> None:
        self._pictures = pictures
        video = pictures.video
        self.video = video
        self._decoding = threads, limits
        self.config = config
        self.info: dict[str, Any] = video.info
        self.pts = np.asarray(video.index.pts, np.float64)
        if not len(self.pts):
            raise _core.DecodeError(f"{video.name}: no picture is displayed; check that the file is complete")
        self.fps = rate_of(self.info["frame_rate"])
        self.total = self._legacy_total() if config.mode == "legacy" else len(self.pts)
        span = self._span()
        keys = np.flatnonzero(np.isin(span, self._keyframes()))
        self.frame_ids = span[sampled_frames(len(span), keys.tolist(), self.fps, config)]
        self.shown, self.slots = np.unique(np.minimum(self.frame_ids, len(self.pts) - 1), return_inverse=True)
        self.height, self.width = self._frame_size()

    def times(self, frame_ids: NDArray[np.int64]) -> NDArray[np.float64]:
        if self.config.mode == "legacy":
            return frame_ids / self.fps
        return self.pts[np.minimum(frame_ids, len(self.pts) - 1)]

    def _span(self) -> NDArray[np.int64]:
        """Numbers of the frames that may be sampled."""
        span = np.arange(self.total)
        start, end = self.config.start, self.config.end
        if start is None and end is None:
            return span
        times = self.times(span)
        inside = (times >= (-np.inf if start is None else start)) & (times < (np.inf if end is None else end))
        if not inside.any():
            raise ValueError(
                f"{self.video.name}: no frame is displayed from start={start} to end={end}: its times are "
                f"{times.min():.3f}..{times.max():.3f}"
            )
        return span[inside]

    def _legacy_total(self) -> int:
        total = self.info["frame_count"]
        if total <= 0:
            total = max(1, round(self.fps * (self.info["duration"] or 0)))
        if total > max(_MOST_FRAMES, len(self.pts)):
            raise _core.DecodeError(
                f"{self.video.name}: the file claims {total} frames and has {len(self.pts)}; take mode='default', "
                "which counts them"
            )
        return int(total)

    def _keyframes(self) -> list[int]:
        index = self.video.index
        keys = np.flatnonzero(index.random_access)
        if self.config.mode == "legacy":
            if self.info["container"].split(",")[0] in _ISO_CONTAINERS:
                keys = np.asarray(index.packet)[keys]  # numbers in decoding order
            else:
                keys = np.round(self.pts[keys] * self.fps).astype(np.int64)
            keys = np.clip(keys, 0, self.total - 1)
        return sorted({0, *keys.tolist()})

    def _frame_size(self) -> tuple[int, int]:
        """Height and width of a frame as it is shown, in samples of square shape; in legacy mode, in those of the
        stream."""
        window = self.video.index.window(self.shown.tolist()) or (0, 0, self.info["width"], self.info["height"])
        aspect = None if self.config.mode == "legacy" else self.info["sample_aspect_ratio"]
        return shown_size(window[2:], aspect, self.info["rotation"])

    def block_scores(self, score: str) -> NDArray[np.float32]:
        return block_scores(self._pictures, self.shown, self.size, score, self.config)[self.slots]

    @cached_property
    def pixels(self) -> PixelSource:
        return PixelSource(self.video, *self._decoding)

    def place_blocks(self, pictures: NDArray[np.int64], **request: Any) -> NDArray[np.float64]:
        return _core.place_blocks(**self.pixels.request(pictures), **request)

    def bits_per_pixel(self) -> float | None:
        samples = self.height * self.width * len(self.pts)
        return 8 * float(np.sum(self.video.index.packet_bytes)) / samples
