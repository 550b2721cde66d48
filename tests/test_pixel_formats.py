"""Every pixel format that the installed FFmpeg writes and reads, against PyAV's R'G'B'."""

from __future__ import annotations

import functools
import subprocess
from pathlib import Path

import numpy as np
import pytest

import ove_codec
from support.pixels import FFMPEG, needs_ffmpeg

pytestmark = needs_ffmpeg
SIZE = (64, 48)
SCENE = f"testsrc2=s={SIZE[0]}x{SIZE[1]}:r=25:d=0.08,gblur=6,hue=s=0.4"


@functools.cache
def formats() -> list[str]:
    """Those that libswscale reads and writes."""
    if FFMPEG is None:
        return []
    lines = subprocess.run([FFMPEG, "-v", "error", "-pix_fmts"], capture_output=True, check=True, text=True).stdout
    table = [line.split() for line in lines.split("-----\n")[1].splitlines()]
    return [name for flags, name, *_ in table if flags.startswith("IO") and "H" not in flags]


def written(folder: Path, name: str) -> Path | None:
    """Raw pictures in the first container that gives them back in the same format."""
    av = pytest.importorskip("av")
    assert FFMPEG
    for suffix in ("nut", "avi", "mkv", "mov"):
        path = folder / f"{name}.{suffix}"
        options = ["-c:v", "rawvideo", "-pix_fmt", name, "-y", str(path)]
        command = [FFMPEG, "-v", "error", "-f", "lavfi", "-i", SCENE, *options]
        if subprocess.run(command, capture_output=True, check=False).returncode == 0:
            with av.open(str(path)) as container:
                format = container.streams.video[0].format
                if format is not None and format.name == name:
                    return path
    return None


def expected(path: Path) -> np.ndarray:
    """What PyAV makes of the pictures, by the way through libswscale that does not round in between."""
    av = pytest.importorskip("av")
    with av.open(str(path)) as container:
        frames = list(container.decode(video=0))
        parts = frames[0].format.components
        subsampled = any(part.width < SIZE[0] for part in parts)
        if subsampled or any(part.is_chroma for part in parts):
            frames = [frame.reformat(format="gbrp16le").reformat(format="gbrp") for frame in frames]
        return np.stack([frame.to_ndarray(format="rgb24") for frame in frames])


def found(path: Path) -> np.ndarray:
    return ove_codec.frames(path, resize="native", normalize=False).numpy().transpose(0, 2, 3, 1)


@pytest.mark.parametrize("name", formats())
def test_pixel_format(name: str, tmp_path: Path) -> None:
    path = written(tmp_path, name)
    if path is None:
        pytest.skip(f"no container holds {name}")
    mine = found(path)
    if name in ("rgb565be", "bgr565be", "rgb555be", "bgr555be"):  # libswscale's own way to rgb24 takes bytes in turn
        other = written(tmp_path, name.replace("be", "le"))
        assert other is not None
        # The same picture; dithering goes by the byte order.
        assert np.abs(mine.astype(int) - found(other)).max() <= 16
        return
    right = expected(path)
    assert mine.shape == right.shape
    difference = mine.astype(int) - right
    assert abs(difference.mean()) < 0.6
    assert np.median(np.abs(difference)) <= 1 and np.percentile(np.abs(difference), 99) <= 6
