"""Small clips of many codecs and containers, made with PyAV: what a wheel is tried out on."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

WIDTH, HEIGHT, PICTURES = 192, 128, 24
X265 = {"preset": "fast", "crf": "26", "x265-params": "log-level=none:bframes=3:keyint=12:pools=1:frame-threads=1"}
X264 = {"preset": "fast", "bf": "2", "g": "12"}
VPX = {"deadline": "realtime", "cpu-used": "8"}

# name, which tells the container; encoder; pixel format; options
CLIPS: list[tuple[str, str, str, dict[str, str]]] = [
    ("hevc.mp4", "libx265", "yuv420p", X265),
    ("hevc10.mkv", "libx265", "yuv420p10le", X265),
    ("hevc.ts", "libx265", "yuv420p", X265),
    ("hevc.hevc", "libx265", "yuv420p", X265),
    ("h264.mp4", "libx264", "yuv420p", X264),
    ("h264.flv", "libx264", "yuv420p", X264),
    ("h264.h264", "libx264", "yuv420p", X264),
    ("vp8.webm", "libvpx", "yuv420p", VPX),
    ("vp9.webm", "libvpx-vp9", "yuv420p", VPX),
    ("vp9.ivf", "libvpx-vp9", "yuv420p", VPX),
    ("av1.mp4", "libsvtav1", "yuv420p", {"preset": "12"}),
    # Without B pictures: of direct blocks FFmpeg 5 exports vectors that were left in memory, FFmpeg 7 none.
    ("mpeg4.avi", "mpeg4", "yuv420p", {"g": "12"}),
    ("mpeg2.mpg", "mpeg2video", "yuv420p", {"bf": "2", "g": "12"}),
    ("mpeg1.mpg", "mpeg1video", "yuv420p", {"g": "12"}),
    ("mjpeg.mov", "mjpeg", "yuvj420p", {}),
    ("wmv2.asf", "wmv2", "yuv420p", {}),
]


def pictures() -> Iterator[NDArray[np.uint8]]:
    """A square that moves over noise that moves the other way."""
    rng = np.random.default_rng(7)
    ground = rng.integers(40, 200, (HEIGHT // 8, WIDTH // 8, 3), np.uint8).repeat(8, 0).repeat(8, 1)
    for n in range(PICTURES):
        picture = np.roll(ground, -2 * n, 1)
        picture[30 + n : 70 + n, 3 * n : 3 * n + 40] = (250, 40 + 4 * n, 30)
        yield np.ascontiguousarray(picture)


def make(folder: Path) -> None:
    """Makes all of them. The transport stream has sound too."""
    os.environ["SVT_LOG"] = "0"  # its encoder writes to the terminal
    folder.mkdir(parents=True, exist_ok=True)
    for name, encoder, pixel_format, options in CLIPS:
        container: Any
        with av.open(str(folder / name), "w") as container:
            stream = container.add_stream(encoder, rate=25, options=options)
            stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, pixel_format
            sound = container.add_stream("aac", rate=44100) if name.endswith(".ts") else None
            for picture in pictures():
                container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "rgb24")))
            container.mux(stream.encode())
            if sound:
                silence = av.AudioFrame.from_ndarray(np.zeros((2, 44100), np.float32), "fltp", "stereo")
                silence.rate = 44100
                container.mux(sound.encode(silence))
                container.mux(sound.encode())
