"""Many pictures in one packet: memory is that of a few pictures."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ove_codec
from support.mp4 import movie, sample_entry, samples
from support.pixels import encode, needs_ffmpeg

pytestmark = needs_ffmpeg
WIDTH, HEIGHT, PICTURES = 1280, 720, 200
# Motion of a 4x4 block takes 8 bytes, a sample of the residual 2.
PICTURE_BYTES = WIDTH * HEIGHT * 2 + WIDTH * HEIGHT // 2
# What the threads work on, what waits to be shown and what waits to be taken; together half of the pictures.
AT_A_TIME = 30

READ = """
import resource, sys
import ove_codec
count = sum(1 for _ in ove_codec.open(sys.argv[1], threads=int(sys.argv[2])))
print(count, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@pytest.fixture(scope="module", params=["libx264", "libx265"])
def files(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A video of skipped blocks, and the same with all its pictures in one sample."""
    folder = tmp_path_factory.mktemp(request.param)
    source = f"color=c=gray:s={WIDTH}x{HEIGHT}:r=25:d={PICTURES / 25}"
    fast = ["-preset", "ultrafast", "-pix_fmt", "yuv420p", "-bf", "0", "-g", "1000", "-sc_threshold", "0"]
    plain = encode(folder / "plain.mp4", *fast, source=source, codec=request.param)
    joined = folder / "joined.mp4"
    joined.write_bytes(movie([(sample_entry(plain.read_bytes()), [b"".join(samples(plain))])]))
    return plain, joined


def read(path: Path, threads: int) -> tuple[int, int]:
    """Pictures, and the most memory in bytes."""
    run = subprocess.run([sys.executable, "-c", READ, str(path), str(threads)], capture_output=True, check=True)
    count, kilobytes = map(int, run.stdout.split())
    return count, 1024 * kilobytes


@pytest.mark.parametrize("threads", [1, 4])
def test_memory_is_bounded(files: tuple[Path, Path], threads: int) -> None:
    plain, joined = files
    count, peak = read(plain, threads)
    joined_count, joined_peak = read(joined, threads)
    assert count == joined_count == PICTURES
    assert joined_peak < peak + AT_A_TIME * PICTURE_BYTES


def test_pictures_are_the_same(files: tuple[Path, Path]) -> None:
    def facts(path: Path, **options: Any) -> list[Any]:
        return [(p.poc, p.type, p.mv.sum(), p.bits.sum()) for p in ove_codec.open(path, **options)]

    plain, joined = files
    expected = facts(plain)
    assert facts(joined, threads=1) == expected
    assert facts(joined, threads=3) == expected
    video = ove_codec.open(joined)
    assert len(video) == PICTURES and np.array_equal(np.unique(video.index.packet), [0])
    chosen = [p.poc for p in video.read([5, 150])]
    assert chosen == [expected[5][0], expected[150][0]]
