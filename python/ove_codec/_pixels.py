"""Where the pixels of a video come from: which packets, and what the pixel decoder is asked for."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ove_codec import _core, video
from ove_codec.limits import Limits
from ove_codec.motion_only import MotionVideo
from ove_codec.video import Video, check_opened, reads_codec


class PixelSource:
    """Where the pixels of a video come from.

    packets: for every frame in display order, the number of the packet that it is decoded from.
    """

    def __init__(self, source: Any, threads: int, limits: Limits | None, on_damage: str = "raise") -> None:
        self.video: Any = source
        if isinstance(source, Video | MotionVideo):
            check_opened(source, on_damage)
        elif on_damage == "raise":  # of any codec
            self.video = Video(source, threads, limits)
        else:
            self.video = video.open(source, threads, limits, on_damage=on_damage)
        self.threads = threads
        self.packets: NDArray[np.int64] = np.asarray(self.video._table.packet, np.int64)
        numbers, counts = np.unique(self.packets, return_counts=True)
        if np.any(counts > 1):  # pictures are known by their packet
            raise _core.UnsupportedStreamError(
                f"{self.video.name}: packet {numbers[counts > 1][0]} holds several displayed pictures; convert the "
                "video to one picture per packet first, for example with: ffmpeg -i IN -c:v libx265 -crf 23 OUT.mp4"
            )

    def request(self, frame_ids: NDArray[np.int64]) -> dict[str, Any]:
        """Arguments of the _core functions that give the pictures of these ascending frames."""
        return {
            "source": self.video._readable,
            "packets": self.packets[frame_ids],
            "threads": self.threads,
            "index": self.video._index_of(frame_ids) if reads_codec(self.video.info["codec"]) else None,
            "max_luma_samples": self.video.limits.max_luma_samples,
        }
