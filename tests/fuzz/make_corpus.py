"""Makes the seed corpus of the fuzz targets: small streams of the suite's own writers, of libx265 and of libx264.

Usage: make_corpus.py FOLDER. Writes FOLDER/nal, FOLDER/h264_nal, FOLDER/file and FOLDER/push; each fuzz target tells
the form of an input.
"""

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from support import ffmpeg
from support.annexb import nal_units
from support.grid import GRID, Clip
from support.h264 import random_stream as h264
from support.hevc.parameter_sets import Sps
from support.hevc.random_stream import RandomStream
from support.hevc.sequence import Sequence
from support.hevc.slice_header import CRA

VPS, SPS, PPS = 32, 33, 34

# How the NAL target frames a seed: flags, then the detail pattern.
FRAMINGS = [(0, 0xFF), (1, 0xAA), (2, 0xFF), (5, 0x0F), (33, 0xFF), (2 | 4, 0x55), (1 | 16, 0), (32, 0xCC)]
# How packets are pushed, and what becomes of them.
PUSH_FLAGS = [0x02, 0x16, 0x04, 0x2E, 0x0C]
PUSH_FAULTS = [b"", b"\0\0\1\0\0\0", b"\2", b"\0\0\0\5", b"\0\3\0\0\0", b"\0\0\4\0\6\0\0", b"\7\0\0\0\1"]
# How the file target reads a seed.
FLAGS = [0, 4, 1, 2, 8 | 1, 36]


def configuration_record(stream: bytes) -> bytes:
    """The hvcC (ISO/IEC 14496-15, 8.3.3.1) of a stream, with four-byte lengths; what no decoder needs is zero."""
    record = bytearray(23)
    record[0], record[21] = 1, 3
    for kind in (VPS, SPS, PPS):
        units = [unit for unit in nal_units(stream) if unit[0] >> 1 == kind]
        if units:
            record[22] += 1
            record += bytes([0x80 | kind]) + len(units).to_bytes(2, "big")
            record += b"".join(len(unit).to_bytes(2, "big") + unit for unit in units)
    return bytes(record)


def avc_configuration_record(stream: bytes) -> bytes:
    """The avcC (ISO/IEC 14496-15, 5.3.3.1) of a stream, with four-byte lengths."""
    sets = [[unit for unit in nal_units(stream) if unit[0] & 31 == kind] for kind in (7, 8)]
    record = bytes([1, *sets[0][0][1:4], 0xFF])
    for mark, units in zip((0xE0, 0), sets, strict=True):
        record += bytes([mark | len(units)]) + b"".join(len(unit).to_bytes(2, "big") + unit for unit in units)
    return record


def nal_input(stream: bytes, number: int, record: Callable[[bytes], bytes] = configuration_record) -> bytes:
    """The stream as input of a NAL target, framed in one of the ways."""
    flags, pattern = FRAMINGS[number % len(FRAMINGS)]
    extradata = record(stream) if flags & 3 == 2 else b""
    return bytes([flags, pattern]) + len(extradata).to_bytes(2, "big") + extradata + stream


def push_input(stream: bytes, number: int, h264: bool) -> bytes:
    """The stream as input of the target of pushed packets."""
    faults = PUSH_FAULTS[number % len(PUSH_FAULTS)]
    return bytes([PUSH_FLAGS[number % len(PUSH_FLAGS)] | h264, len(faults)]) + faults + stream


def handmade() -> dict[str, bytes]:
    """Streams of one-slice pictures: sequences that end, change their size, and start with CRA pictures."""
    small = Sequence(Sps(width=16, height=16))
    small.noise(0)
    small.inter(1, 0)
    small.inter(3, 1, 0)
    small.inter(2, 3, 1)
    small.end_of_sequence()
    small.noise(4, CRA)
    small.inter(5, 4)
    small.set_sps(Sps(width=24, height=16, log2_ctb=5, temporal_mvp=False))
    small.noise(0)
    small.inter(1, 0)
    streams = {"sequences": small.bytes()}
    for n, sps in enumerate((Sps(width=16, height=16), Sps(width=16, height=16, log2_ctb=5, temporal_mvp=False))):
        tiny = Sequence(sps, seed=n)
        tiny.noise(0)
        tiny.inter(2, 0)
        tiny.inter(1, 0, 2)
        streams[f"tiny_{n}"] = tiny.bytes()
    return streams


def small_clips(all_tools: bool) -> list[Clip]:
    """The grid in pictures of a few blocks; some in containers too."""
    clips = []
    for n, clip in enumerate(GRID if all_tools else GRID[3::12]):
        large_ctu = "64" in clip.name
        size = (128, 64) if large_ctu else (min(clip.size[0], 64), min(clip.size[1], 48))
        frames = min(clip.frames, 3 if large_ctu else 4)
        clips.append(replace(clip, size=size, frames=frames, params=f"info=0:{clip.params}"))
        if n % 5 == 2:
            suffix = ("mp4", "mkv", "ts", "mov")[n // 5 % 4]
            clips.append(replace(clips[-1], name=f"{clip.name}_{suffix}", suffix=suffix))
    return clips


# Parameters of libx264: entropy coding, fields, transforms, direct modes, weights, slices.
X264 = (
    "cabac=1:bframes=3:b-adapt=0:8x8dct=1",
    "cabac=0:bframes=2:b-adapt=0:direct=temporal:partitions=all",
    "cabac=1:interlaced=1:bframes=2:direct=temporal",
    "cabac=0:interlaced=1:bframes=0:slices=3",
    "cabac=1:qp=0:8x8dct=1:bframes=1",
    "cabac=1:weightp=2:ref=4:slices=2:direct=spatial:bframes=2:partitions=all",
    "cabac=1:cqm=jvt:keyint=3:open-gop=1:bframes=2",
    "cabac=0:qp=51:intra-refresh=1:keyint=4",
)


def h264_streams() -> dict[str, bytes]:
    streams = {}
    for n, params in enumerate(X264):
        for fmt in ("yuv420p", "yuv444p") if n < 2 else ("yuv420p",):
            for size, seconds in (("64x48", 0.6), ("16x32", 0.3)):
                command = ["-v", "error", "-f", "lavfi", "-i", f"testsrc2=s={size}:r=10:d={seconds}", "-pix_fmt", fmt]
                command += ["-c:v", "libx264", "-x264-params", f"threads=1:{params}", "-f", "h264", "-"]
                streams[f"x264_{n}_{fmt}_{size}"], _ = ffmpeg.run(command)
    return streams


def make_corpus(folder: Path, all_tools: bool = True) -> None:
    """Writes the seeds; without `all_tools`, a few that are made in seconds."""
    streams = handmade()
    for seed in range(24 if all_tools else 4):
        streams[f"random_{seed}"] = RandomStream(seed, 2, wavefront_in_tiles=seed % 4 == 3).data
    files = dict(streams)
    if ffmpeg.has_libx265():
        clips = folder / "clips"
        clips.mkdir(parents=True, exist_ok=True)
        for clip in small_clips(all_tools):
            path = clip.encode(clips)
            files[path.stem] = path.read_bytes()
            if path.suffix == ".hevc":
                streams[path.stem] = path.read_bytes()
    avc = h264_streams() if ffmpeg.has_libx264() else {}
    for seed in range(24 if all_tools else 4):
        made = h264.RandomStream(seed, interlaced=seed % 2 > 0, poc_type=seed // 2 % 2, for_libavcodec=False, frames=5)
        avc[f"h264_random_{seed}"] = made.data
    files |= avc
    for target in ("nal", "h264_nal", "file", "push"):
        (folder / target).mkdir(parents=True, exist_ok=True)
    for n, (name, data) in enumerate(sorted(streams.items())):
        (folder / "nal" / name).write_bytes(nal_input(data, n))
    for n, (name, data) in enumerate(sorted(avc.items())):
        (folder / "h264_nal" / name).write_bytes(nal_input(data, n, avc_configuration_record))
    for n, (name, data, h264_too) in enumerate((*item, item[0] in avc) for item in sorted({**streams, **avc}.items())):
        (folder / "push" / name).write_bytes(push_input(data, n, h264_too))
    for n, (name, data) in enumerate(sorted(files.items())):
        (folder / "file" / name).write_bytes(data + bytes([FLAGS[n % len(FLAGS)]]))


if __name__ == "__main__":
    make_corpus(Path(sys.argv[1]))
