"""Demuxing and pixel decoding: what is recognised, which packet a picture comes from, and what damage does."""

from __future__ import annotations

import io
import json
import os
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ove_codec import _core
from support.pixels import FFMPEG, encode, needs_ffmpeg

SHARED = Path(__file__).resolve().parents[2] / "shared"
needs_shared = pytest.mark.skipif(not SHARED.is_dir(), reason="needs ../shared")
OPEN_GOP = "log-level=none:keyint=8:min-keyint=8:open-gop=1:bframes=4:b-adapt=0:scenecut=0"
CLOSED_GOP = "log-level=none:keyint=8:min-keyint=8:open-gop=0:bframes=3:scenecut=0"


def run_ffmpeg(*arguments: Any) -> None:
    subprocess.run([str(FFMPEG), "-v", "error", "-y", *map(str, arguments)], check=True, capture_output=True)


def packets(source: Any) -> list[dict[str, Any]]:
    return list(_core.Packets(source))


def shown(source: Any) -> np.ndarray:
    pts, is_shown = _core.packet_times(source)
    numbers = np.flatnonzero(is_shown)
    return numbers[np.argsort(pts[numbers], kind="stable")]


def pictures(source: Any, numbers: Any, **options: Any) -> np.ndarray:
    return _core.gather_frames(source, numbers, resize="native", size=1, mean=(0, 0, 0), std=(1, 1, 1), **options)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """32 pictures, CRA pictures with leading pictures every 8."""
    path = tmp_path_factory.mktemp("media") / "open.mp4"
    return encode(path, "-pix_fmt", "yuv420p", "-x265-params", OPEN_GOP, source="testsrc2=s=96x64:r=25:d=1.28")


@pytest.fixture(scope="module")
def raw(clip: Path) -> Path:
    path = clip.with_suffix(".bit")
    run_ffmpeg("-i", clip, "-c", "copy", "-bsf:v", "hevc_mp4toannexb", "-f", "hevc", path)
    return path


# Recognising and reading.


@needs_ffmpeg
def test_facts(clip: Path) -> None:
    info = _core.stream_info(clip)
    assert (info["codec"], info["width"], info["height"], info["pixel_format"]) == ("hevc", 96, 64, "yuv420p")
    assert info["frame_rate"] == (25, 1)
    assert (info["frame_count"], info["bit_depth"], info["rotation"]) == (32, 8, 0)
    assert info["duration"] * info["time_base"][0] / info["time_base"][1] == pytest.approx(1.28)


@needs_ffmpeg
def test_raw_streams_come_whole_and_in_place(clip: Path, raw: Path) -> None:
    data = raw.read_bytes()
    found = packets(raw)
    assert b"".join(p["data"] for p in found) == data
    assert [p["index"] for p in found] == list(range(32))
    assert [p["position"] for p in found] == np.cumsum([0] + [len(p["data"]) for p in found])[:-1].tolist()
    assert [p["key"] for p in found] == [p["key"] for p in packets(clip)]
    mp4 = clip.read_bytes()
    assert all(mp4[p["position"] :].startswith(p["data"]) for p in packets(clip))


@needs_ffmpeg
@pytest.mark.parametrize("prefix", ["", "00", "00000001460150", "000001 4e0105046162636480", "000001 4c01ffff80"])
@pytest.mark.parametrize("name", ["a.bit", "a.265", "a", "a.mp4", "a.h264", "a.txt"])
def test_raw_streams_are_known_by_content(raw: Path, tmp_path: Path, prefix: str, name: str) -> None:
    """After nothing, a zero byte, an access unit delimiter, SEI or filler data, under any name."""
    path = tmp_path / name
    path.write_bytes(bytes.fromhex(prefix) + raw.read_bytes())
    assert _core.stream_info(path)["codec"] == "hevc"
    assert len(packets(path)) == 32


@needs_ffmpeg
def test_tiny_raw_streams(raw: Path) -> None:
    """A hundred bytes are too few for libavformat's own probe."""
    for length in (40, 100, 500):
        head = raw.read_bytes()[:length]
        assert _core.stream_info(head)["codec"] == "hevc"
        assert b"".join(p["data"] for p in packets(head)) == head


@needs_ffmpeg
@pytest.mark.parametrize("name", ["a.264", "a.265", "a.bit", "a.hevc"])
def test_h264_streams_are_not_taken_for_hevc(tmp_path: Path, name: str) -> None:
    path = encode(tmp_path / "a.264", "-pix_fmt", "yuv420p", codec="libx264").rename(tmp_path / name)
    assert _core.stream_info(path)["codec"] == "h264"
    assert pictures(path, [0]).shape == (1, 3, 112, 192)


@needs_ffmpeg
def test_names_are_not_addresses(clip: Path, tmp_path: Path) -> None:
    for name in ("http:x.mp4", "file:y.mp4", "%03d.mp4", "ü ö.mp4"):
        path = tmp_path / name
        path.write_bytes(clip.read_bytes())
        assert _core.stream_info(str(path))["codec"] == "hevc"
        assert _core.stream_info(path)["codec"] == "hevc"


@needs_ffmpeg
@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.m3u8", "#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\n{clip}\n#EXT-X-ENDLIST\n"),
        ("a.ffconcat", "ffconcat version 1.0\nfile '{clip}'\n"),
    ],
)
def test_no_other_file_is_opened(clip: Path, tmp_path: Path, name: str, text: str) -> None:
    ts = tmp_path / "a.ts"
    run_ffmpeg("-i", clip, "-c", "copy", ts)
    path = tmp_path / name
    path.write_text(text.format(clip=ts))
    for source in (path, path.read_bytes()):
        with pytest.raises(_core.DecodeError, match="not a video"):
            packets(source)


# Sources.


class Unseekable(io.RawIOBase):
    def __init__(self, data: bytes) -> None:
        self._data = io.BytesIO(data)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return False

    def read(self, size: int = -1) -> bytes:
        return self._data.read(min(size, 777))


@needs_ffmpeg
def test_kinds_of_source(clip: Path, raw: Path) -> None:
    expected = pictures(clip, shown(clip))
    data = clip.read_bytes()
    with open(clip, "rb") as file:
        file.seek(100)
        for source in (str(clip), data, bytearray(data), memoryview(data), np.frombuffer(data, np.uint8), file):
            np.testing.assert_array_equal(pictures(source, shown(source)), expected)
    stream = raw.read_bytes()
    assert len(packets(Unseekable(stream))) == 32
    np.testing.assert_array_equal(pictures(Unseekable(stream), [0, 20]), pictures(raw, [0, 20]))


@needs_ffmpeg
@pytest.mark.parametrize(
    ("params", "pixels"),
    [
        ("bframes=0", "yuv420p"),
        ("bframes=3:b-pyramid=none:cabac=0:colorprim=bt709:transfer=bt709:colormatrix=bt709:fullrange=on", "yuv420p"),
        ("bframes=8:b-pyramid=normal:sar=4/3:chromaloc=3", "yuv422p10le"),
        ("bframes=2:interlaced=1:open-gop=1:keyint=8", "yuv444p"),
        ("keyint=1:slices=4", "yuvj420p"),
    ],
)
def test_h264_is_described_from_its_headers(tmp_path: Path, params: str, pixels: str) -> None:
    """As libavformat does it, which decodes pictures for it. It has to where the source cannot seek."""
    path = tmp_path / "a.mp4"
    encode(path, "-pix_fmt", pixels, "-x264-params", params, "-movflags", "faststart", codec="libx264")
    unseekable: Any = Unseekable(path.read_bytes())
    assert _core.stream_info(path) == _core.stream_info(unseekable)


@needs_ffmpeg
def test_sources_that_fail(clip: Path) -> None:
    class Broken(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            if self.tell() > len(data) // 2:
                raise OSError("the disk is gone")
            return super().read(min(size or 0, 1024))

    data = clip.read_bytes()
    with pytest.raises(OSError, match="disk is gone"):
        packets(Broken(data))
    with pytest.raises(TypeError, match="binary"):
        packets(io.StringIO("text"))
    for source in (5, None, object()):
        with pytest.raises(TypeError, match="path, bytes or a binary file"):
            packets(source)
    with pytest.raises(ValueError, match="contiguous"):
        packets(memoryview(data)[::2])


# Errors.


def test_what_is_no_video(tmp_path: Path) -> None:
    text = tmp_path / "text.mp4"
    text.write_text("hello, world\n" * 50)
    empty = tmp_path / "empty.mp4"
    empty.touch()
    for source, message in (
        (tmp_path / "none.mp4", "none.mp4: no such file"),
        (tmp_path, "is a directory"),
        (empty, "empty.mp4: is empty"),
        (b"", "is empty"),
        (text, "text.mp4: is not a video"),
        (bytes(1000), "is not a video"),
        (b"hello", "is not a video"),
    ):
        with pytest.raises(_core.DecodeError, match=message):
            packets(source)
    with pytest.raises(ValueError, match="null byte"):
        packets(f"{text}\0")


@needs_ffmpeg
def test_sound_only(tmp_path: Path) -> None:
    path = tmp_path / "a.m4a"
    run_ffmpeg("-f", "lavfi", "-i", "sine=d=0.2", path)
    with pytest.raises(_core.DecodeError, match="sound only"):
        packets(path)


@needs_ffmpeg
@pytest.mark.parametrize("name", ["front.mp4", "pieces.mp4", "a.mkv"])
def test_files_cut_short(clip: Path, tmp_path: Path, name: str) -> None:
    """The packets before the cut come, then an error with the place of it."""
    whole = tmp_path / name
    flags = {"front.mp4": "faststart", "pieces.mp4": "frag_keyframe+empty_moov"}.get(name)
    run_ffmpeg("-i", clip, "-c", "copy", *(["-movflags", flags] if flags else []), whole)
    size = whole.stat().st_size * 3 // 5
    cut = tmp_path / ("cut." + name)
    cut.write_bytes(whole.read_bytes()[:size])
    seen: list[bytes] = []
    with pytest.raises(_core.DecodeError, match=r"cut\..*ends") as error:
        seen.extend(packet["data"] for packet in _core.Packets(cut))
    assert error.value.position == size
    assert len(seen) > 5
    complete = [p["data"] for p in packets(whole)]
    assert seen[:-1] == complete[: len(seen) - 1]
    early = shown(whole)[:3]
    np.testing.assert_array_equal(pictures(cut, early), pictures(whole, early))
    with pytest.raises(_core.DecodeError, match=r"ends|incomplete"):
        pictures(cut, [0, 31])


@needs_ffmpeg
def test_damage_is_found_and_nothing_is_printed(clip: Path, raw: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Whatever bytes change: an exception of the family or pictures, and not a word."""
    rng = np.random.default_rng(1)
    errors = 0
    for path in (clip, raw):
        data = np.frombuffer(path.read_bytes(), np.uint8)
        for _ in range(60):
            damaged = data.copy()
            where = rng.integers(0, len(data), rng.integers(1, 30))
            damaged[where] = rng.integers(0, 256, len(where))
            try:
                pictures(damaged.tobytes(), np.arange(32), threads=int(rng.integers(1, 3)))
            except _core.Error:
                errors += 1
    assert errors > 20
    captured = capfd.readouterr()
    assert captured.out == captured.err == ""


# Which picture comes from which packet.


def by_itself(source: Any, number: int) -> np.ndarray:
    return pictures(source, [number], threads=1, index=_core.VideoIndex(source))[0]


@needs_ffmpeg
@pytest.mark.parametrize("params", [OPEN_GOP, CLOSED_GOP], ids=["open", "closed"])
def test_any_choice_of_pictures_is_the_same(tmp_path: Path, params: str) -> None:
    """Groups of pictures that are left out change nothing, leading pictures of the next group included."""
    path = encode(tmp_path / "a.mp4", "-pix_fmt", "yuv420p", "-x265-params", params, source="testsrc2=s=96x64:r=25:d=2")
    every = pictures(path, np.arange(50))
    assert len({p.tobytes() for p in every}) == 50
    for number in range(50):
        np.testing.assert_array_equal(by_itself(path, number), every[number])
    rng = np.random.default_rng(2)
    for threads in (1, 2, 3):
        chosen = rng.permutation(50)[: rng.integers(2, 8)]
        some = pictures(path, chosen, threads=threads, index=_core.VideoIndex(path))
        np.testing.assert_array_equal(some, every[chosen])


@needs_ffmpeg
def test_parameter_sets_of_groups_left_out(tmp_path: Path) -> None:
    """Two streams with different parameter sets under the same numbers, each set only where it first appears."""
    joined = b""
    for i, extra in enumerate(("", ":ctu=16:max-merge=1:no-wpp=1")):
        path = tmp_path / f"{i}.h265"
        source = f"testsrc2=s=96x64:r=25:d={0.96 + i}"
        encode(path, "-pix_fmt", "yuv420p", "-x265-params", CLOSED_GOP + extra, source=source)
        seen = set()
        for unit in path.read_bytes().replace(b"\0\0\0\1", b"\0\0\1").split(b"\0\0\1")[1:]:
            kind = unit[0] >> 1
            if kind not in (32, 33, 34) or kind not in seen:
                joined += b"\0\0\0\1" + unit
            seen.add(kind)
    count = len(packets(joined))
    assert count == 24 + 49
    every = pictures(joined, np.arange(count))
    for number in (count - 1, count - 9, count - 20, 3):
        np.testing.assert_array_equal(by_itself(joined, number), every[number])


@needs_ffmpeg
def test_edit_list_and_start_time(tmp_path: Path, clip: Path) -> None:
    """Discarded packets count, are decoded and do not come out; a late start moves nothing."""
    part, late = tmp_path / "part.mp4", tmp_path / "late.mp4"
    run_ffmpeg("-ss", "0.5", "-i", clip, "-c", "copy", part)
    run_ffmpeg("-i", clip, "-c", "copy", "-output_ts_offset", "7", late)
    discarded = [p["index"] for p in packets(part) if p["discard"]]
    assert discarded
    every = pictures(clip, shown(clip))
    tail = pictures(part, shown(part))
    np.testing.assert_array_equal(tail, every[-len(tail) :])
    with pytest.raises(_core.DecodeError, match="does not come out"):
        pictures(part, discarded)
    np.testing.assert_array_equal(pictures(late, shown(late)), every)


@needs_ffmpeg
def test_numbers_that_cannot_be(clip: Path) -> None:
    with pytest.raises(_core.DecodeError, match="packet 32 does not come out"):
        pictures(clip, [32])
    for bad in ([-1], [3, 3], []):
        with pytest.raises(ValueError, match=r"negative|repeat|at least one"):
            pictures(clip, bad)
    with pytest.raises(ValueError, match="threads"):
        pictures(clip, [0], threads=-1)


@needs_ffmpeg
def test_size_changes(tmp_path: Path) -> None:
    for i, size in enumerate(("96x64", "128x96")):
        encode(tmp_path / f"{i}.h265", "-pix_fmt", "yuv420p", source=f"testsrc2=s={size}:r=25:d=0.2")
    data = (tmp_path / "0.h265").read_bytes() + (tmp_path / "1.h265").read_bytes()
    assert pictures(data, np.arange(5)).shape == (5, 3, 64, 96)
    assert pictures(data, np.arange(5, 10)).shape == (5, 3, 96, 128)
    with pytest.raises(_core.UnsupportedStreamError, match="packet 5 is of another size"):
        pictures(data, np.arange(10))


# Streams from elsewhere.


@needs_shared
def test_conformance_streams(capfd: pytest.CaptureFixture[str]) -> None:
    """Packets of every raw stream are the file, byte for byte; damaged and exact ones alike do not print."""
    golden = json.loads((SHARED / "conformance" / "golden.json").read_text())
    count = 0
    for name, entry in golden.items():
        path = SHARED / "conformance" / name
        data = path.read_bytes()
        if name in ("derived/EMPTY.bit", "derived/NOT_VIDEO.bit"):
            with pytest.raises(_core.DecodeError, match=os.path.basename(name)):
                packets(path)
            continue
        assert b"".join(p["data"] for p in packets(path)) == data, name
        if entry["expect"] == "exact":
            assert _core.stream_info(path)["codec"] == "hevc", name
            count += 1
    assert count > 80
    captured = capfd.readouterr()
    assert captured.out == captured.err == ""


@needs_shared
@pytest.mark.parametrize(
    ("name", "codec", "number", "rotation"),
    [
        ("androidx_sample_h265.ts", "hevc", 30, 0),
        ("libvpl_cars_320x240.h264", "h264", 30, 0),
        ("torchcodec_av1_video.mkv", "av1", 125, 0),
        ("torchcodec_nasa_13013_rotated.mp4", "h264", 17, 270),
        ("torchcodec_discard_first_keyframe.mp4", "h264", 30, 0),
        ("androidx_fragmented_captions_h265.mp4", "hevc", 61, 0),
    ],
)
def test_real_clips(name: str, codec: str, number: int, rotation: int) -> None:
    path = SHARED / "clips" / name
    info = _core.stream_info(path)
    assert (info["codec"], info["rotation"], len(packets(path))) == (codec, rotation, number)


@needs_shared
def test_damaged_clip_is_told() -> None:
    path = SHARED / "clips" / "decord_corrupted.mp4"
    with pytest.raises(_core.DecodeError, match=r"decord_corrupted.mp4: damaged") as error:
        pictures(path, shown(path))
    assert error.value.position is not None
    assert 0 < error.value.position < path.stat().st_size
