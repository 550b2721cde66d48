"""Streams of both codecs, corrupted as transmission and storage do it: pictures and a clear error, or all pictures.

Every corruption is read in another process, under a cap on memory and on time.
"""

import functools
import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from support import ffmpeg
from support.annexb import nal_units
from support.grid import GRID, Clip
from support.h264 import grid as h264
from support.hevc.parameter_sets import Sps
from support.hevc.random_stream import RandomStream
from support.hevc.sequence import Sequence as HandMade
from support.hevc.slice_header import CRA

needs_x265 = pytest.mark.skipif(not ffmpeg.has_libx265(), reason="ffmpeg with libx265 is not installed")
needs_x264 = pytest.mark.skipif(not ffmpeg.has_libx264(), reason="ffmpeg with libx264 is not installed")

CORRUPTIONS = 36  # of every stream
MEMORY = 1 << 30  # bytes that reading may take
SECONDS = 20  # for one stream; it takes a hundredth of that

# Reads every file of a folder, with the caps; tells how many pictures came, what ended it, and the most memory held.
READER = f"""
import faulthandler, json, pathlib, resource, sys
import ove_codec
status = pathlib.Path("/proc/self/status").read_text()
held = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmData")) << 10
resource.setrlimit(resource.RLIMIT_DATA, (held + {MEMORY}, held + {MEMORY}))
for n, path in enumerate(sorted(pathlib.Path(sys.argv[1]).iterdir())):
    faulthandler.dump_traceback_later({SECONDS}, exit=True)
    count, error = 0, None
    try:
        video = ove_codec.open(path, threads=1 + n % 2)
        for picture in video:
            count += 1
            assert picture.residual.shape == (picture.coded_height, picture.coded_width)
            assert picture.mv.shape[:2] == picture.pred.shape == picture.qp.shape == picture.skip.shape
            picture.mv.sum(), picture.ref_poc.sum(), picture.cu_size.sum(), picture.bits.sum()
        assert len(video) == count
        list(video.read(range(0, count, 3)))
    except ove_codec.Error as caught:
        error = str(caught)
    print(json.dumps([path.name, count, error]), flush=True)
"""

Corruption = Callable[[bytes, np.random.Generator], bytes]


def any_bit(data: bytes, rng: np.random.Generator, end: int | None = None) -> bytes:
    damaged = bytearray(data)
    bit = int(rng.integers(8 * min(len(data), end or len(data))))
    damaged[bit // 8] ^= 0x80 >> bit % 8
    return bytes(damaged)


def header_bit(data: bytes, rng: np.random.Generator) -> bytes:
    return any_bit(data, rng, 200)


def burst(data: bytes, rng: np.random.Generator) -> bytes:
    """Up to 64 bytes of noise."""
    at, noise = int(rng.integers(len(data))), rng.bytes(int(rng.integers(2, 64)))
    return data[:at] + noise[: len(data) - at] + data[at + len(noise) :]


def truncated(data: bytes, rng: np.random.Generator) -> bytes:
    return data[: int(rng.integers(1, len(data)))]


def dropped_bytes(data: bytes, rng: np.random.Generator) -> bytes:
    at = int(rng.integers(len(data)))
    return data[:at] + data[at + int(rng.integers(1, 200)) :]


def repeated_bytes(data: bytes, rng: np.random.Generator) -> bytes:
    at = int(rng.integers(len(data)))
    return data[: at + int(rng.integers(1, 200))] + data[at:]


def on_nal_units(change: Callable[[list[bytes], int, np.random.Generator], None]) -> Corruption:
    def corrupt(data: bytes, rng: np.random.Generator) -> bytes:
        units = nal_units(data)
        change(units, int(rng.integers(len(units))), rng)
        return b"".join(b"\0\0\1" + unit for unit in units)

    corrupt.__name__ = change.__name__
    return corrupt


@on_nal_units
def dropped_unit(units: list[bytes], at: int, rng: np.random.Generator) -> None:
    del units[at]


@on_nal_units
def truncated_unit(units: list[bytes], at: int, rng: np.random.Generator) -> None:
    units[at] = units[at][: int(rng.integers(len(units[at])))]


@on_nal_units
def duplicated_unit(units: list[bytes], at: int, rng: np.random.Generator) -> None:
    units.insert(int(rng.integers(len(units) + 1)), units[at])


@on_nal_units
def swapped_units(units: list[bytes], at: int, rng: np.random.Generator) -> None:
    other = int(rng.integers(len(units)))
    units[at], units[other] = units[other], units[at]


@on_nal_units
def shuffled_units(units: list[bytes], at: int, rng: np.random.Generator) -> None:
    units[at:] = [units[at + i] for i in rng.permutation(len(units) - at)]


ON_FILES: list[Corruption] = [any_bit, header_bit, burst, truncated, dropped_bytes, repeated_bytes]
ON_NAL_UNITS: list[Corruption] = [dropped_unit, truncated_unit, duplicated_unit, swapped_units, shuffled_units]


def handmade() -> bytes:
    """Two sequences of different sizes, one after an end of sequence, and parameter sets in between."""
    sequence = HandMade(Sps(width=32, height=32, num_reorder=1))
    sequence.noise(0)
    sequence.inter(2, 0)
    sequence.inter(1, 0, 2)
    sequence.set_pps(init_qp=30)
    sequence.inter(3, 2, 0)
    sequence.end_of_sequence()
    sequence.set_sps(Sps(width=48, height=16))
    sequence.noise(4, CRA)
    sequence.inter(5, 4)
    return sequence.bytes()


def encoded(folder: Path, name: str, suffix: str, grid: Sequence[Clip | h264.Clip] = GRID) -> bytes:
    """A clip of a grid in small pictures, in a container."""
    (clip,) = (clip for clip in grid if clip.name == name)
    small: Clip | h264.Clip = replace(clip, name=f"mutated_{name}", size=(64, 48), frames=6, suffix=suffix)
    return small.encode(folder).read_bytes()


def joined(folder: Path) -> bytes:
    """Two H.264 streams with other parameter sets under the same ids, one after the other."""
    return encoded(folder, "cavlc_p", "h264", h264.GRID) + encoded(folder, "tff", "h264", h264.GRID)


ENCODED_H264 = [
    *[f"{name}.h264" for name in ("baseline", "direct_temporal_cabac", "slice_per_row", "i444_cavlc", "tff_slices")],
    *["tff_temporal_cavlc.h264", "weightp_b.mp4", "tff.mp4", "open_gop.ts"],
]


def encoded_h264(folder: Path, name: str) -> bytes:
    stem, suffix = name.split(".")
    return encoded(folder, stem, suffix, h264.GRID)


# How each is made, and how many pictures it has.
STREAMS: dict[str, tuple[Callable[[Path], bytes], int]] = {
    "handmade.hevc": (lambda folder: handmade(), 5),  # the CRA picture discards one that waits (C.5.2.2)
    "tiles_and_wavefronts.hevc": (lambda folder: RandomStream(2, 3, wavefront_in_tiles=True).data, 4),
    "random.hevc": (lambda folder: RandomStream(10, 4).data, 5),
    "b_pictures.hevc": (lambda folder: encoded(folder, "b8_pyramid", "hevc"), 6),
    "slices.hevc": (lambda folder: encoded(folder, "slices", "hevc"), 6),
    "clip.mp4": (lambda folder: encoded(folder, "mp4", "mp4"), 6),
    "clip.mkv": (lambda folder: encoded(folder, "mkv_open_gop", "mkv"), 6),
    "clip.ts": (lambda folder: encoded(folder, "ts", "ts"), 6),
    **{name: (functools.partial(encoded_h264, name=name), 6) for name in ENCODED_H264},
    "joined.h264": (joined, 12),
}


def read_all(folder: Path) -> Iterator[Any]:
    """(name, number of pictures, error or None) of every file."""
    files = len(list(folder.iterdir()))
    done = subprocess.run([sys.executable, "-c", READER, folder], capture_output=True, text=True, check=False)
    results = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 0, f"after {results[-1:]}: {done.stderr}"
    assert len(results) == files
    yield from results


@pytest.mark.threads
@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=() if i < 3 else needs_x265 if i < 8 else needs_x264) for i, name in enumerate(STREAMS)],
)
def test_corrupted(name: str, stream_folder: Path, tmp_path: Path) -> None:
    make, pictures = STREAMS[name]
    data = make(stream_folder)
    suffix = Path(name).suffix
    kinds = ON_FILES + (ON_NAL_UNITS if suffix in (".hevc", ".h264") else [])
    (tmp_path / f"sound{suffix}").write_bytes(data)
    for n in range(CORRUPTIONS):
        corrupt = kinds[n % len(kinds)]
        damaged = corrupt(data, np.random.default_rng(n))
        (tmp_path / f"{n:02}_{corrupt.__name__}{suffix}").write_bytes(damaged)
    for file, count, error in read_all(tmp_path):
        if file.startswith("sound"):
            assert (count, error) == (pictures, None)
        elif error is None:
            assert count > 0, file
            assert "truncated" not in file or suffix not in (".mp4", ".mkv"), f"{file}: the missing end is not noticed"
        else:
            assert file in error and len(error) > len(str(tmp_path / file)) + 10, error
            assert not re.search(r"std::|basic_string|vector::|bad_", error), error
