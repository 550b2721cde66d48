"""Where the pixels of a video come from: which packets, and what the pixel decoder is asked for."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ove_codec import _core
from ove_codec.limits import Limits
from ove_codec.motion_only import MotionVideo
from ove_codec.video import Video, reads_codec


class PixelSource:
    """Where the pixels of a video come from.

    packets: for every frame in display order, the number of the packet that it is decoded from.
    """

    def __init__(self, source: Any, threads: int, limits: Limits | None) -> None:
        self.video: Any = source if isinstance(source, Video | MotionVideo) else Video(source, threads, limits)
        self.threads = threads
        self.packets: NDArray[np.int64]
        codec = self.video.info["codec"]
        if reads_codec(codec) or isinstance(self.video, MotionVideo):
            self.packets = np.asarray(self.video.index.packet, np.int64)
            return
        # By the time stamps of the packets that are shown; where some have none, in decoding order, or as decoded.
        pts, shown = _core.packet_times(self.video.source)
        numbers = np.flatnonzero(shown)
        if (pts[numbers] == np.iinfo(np.int64).min).any() and _core.exports_motion(codec):
            decoded = MotionVideo(self.video.source, threads, self.video.limits, self.video.info)
            self.packets = decoded.index.packet
        else:
            self.packets = numbers[np.argsort(pts[numbers], kind="stable")]

    def request(self, frame_ids: NDArray[np.int64]) -> dict[str, Any]:
        """Arguments of the _core functions that give the pictures of these ascending frames."""
        return {
            "source": self.video.source,
            "packets": self.packets[frame_ids],
            "threads": self.threads,
            "index": self.video.index if reads_codec(self.video.info["codec"]) else None,
            "max_luma_samples": self.video.limits.max_luma_samples,
        }
