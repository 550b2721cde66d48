"""Every pixel format that the installed FFmpeg writes, against PyAV's rgb24."""

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


@functools.cache
def formats() -> list[str]:
    """Those that libswscale reads and writes."""
    if FFMPEG is None:
        return []
    lines = subprocess.run([FFMPEG, "-v", "error", "-pix_fmts"], capture_output=True, check=True, text=True).stdout
    table = [line.split() for line in lines.split("-----\n")[1].splitlines()]
    return [name for flags, name, *_ in table if flags.startswith("IO") and "H" not in flags]


@pytest.mark.parametrize("name", formats())
def test_pixel_format(name: str, tmp_path: Path) -> None:
    av = pytest.importorskip("av")
    assert FFMPEG
    path = tmp_path / "a.nut"
    scene = f"testsrc2=s={SIZE[0]}x{SIZE[1]}:r=25:d=0.08,gblur=6"
    command = [FFMPEG, "-v", "error", "-f", "lavfi", "-i", scene, "-c:v", "rawvideo", "-pix_fmt", name, str(path)]
    made = subprocess.run(command, capture_output=True, check=False)
    if made.returncode or not path.exists():
        pytest.skip(f"NUT holds no {name}: {made.stderr.decode()[-200:]}")
    with av.open(str(path)) as container:
        if container.streams.video[0].format is None or container.streams.video[0].format.name != name:
            pytest.skip(f"NUT gives {name} back as another format")
        right = np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])
    found = ove_codec.frames(path, resize="native", normalize=False).numpy().transpose(0, 2, 3, 1)
    assert found.shape == right.shape
    difference = found.astype(int) - right
    # Chroma between its samples is interpolated in another way, and libswscale rounds twice.
    assert abs(difference.mean()) < 0.6
    assert np.median(np.abs(difference)) <= 1 and np.percentile(np.abs(difference), 95) <= 6
