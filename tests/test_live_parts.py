"""Streams whose container begins anew, or whose codec changes: every part gives what it gives alone."""

import io
import itertools
import random
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import ove_codec
from ove_codec._parts import Parts
from support import ffmpeg
from test_live import low_delay

pytestmark = pytest.mark.skipif(not ffmpeg.has_libx265(), reason="needs ffmpeg with libx265")

OPTIONS: dict[str, Any] = {"window": 0.5, "fps": 5.0, "size": 56, "budget": 20}
MUXERS: dict[str, tuple[str, ...]] = {
    "ts": ("-f", "mpegts"),
    "ts-pid": ("-f", "mpegts", "-mpegts_pmt_start_pid", "0x900", "-mpegts_start_pid", "0x300"),
    "m2ts": ("-f", "mpegts", "-mpegts_m2ts_mode", "1"),
    "mkv": ("-f", "matroska"),
    "mkv-live": ("-f", "matroska", "-live", "1"),
    "mp4": ("-f", "mp4", "-movflags", "frag_keyframe+empty_moov+default_base_moof"),
    "flv": ("-f", "flv"),
    "mpeg4-ts": ("-c:v", "mpeg4", "-f", "mpegts"),
    "sorenson-flv": ("-c:v", "flv1", "-f", "flv"),
}
Summary = list[tuple[list[float], set[int], int, list[int]]]


def muxed(folder: Path, muxer: str, codec: str = "libx264", size: tuple[int, int] = (96, 64)) -> bytes:
    path = folder / f"part_{muxer}_{codec}_{size[0]}"
    if not path.exists():
        options = ["-c", "copy"] if "-c:v" not in MUXERS[muxer] else []
        source = low_delay(folder, codec, size)
        ffmpeg.run(["-v", "error", "-r", "25", "-i", source, *options, *MUXERS[muxer], "-y", path])
    return path.read_bytes()


def summary(windows: Iterator[ove_codec.Window]) -> Summary:
    return [(w.pts.tolist(), {p.width for p in w}, len(w.tokens), [loss.packet for loss in w.lost]) for w in windows]


def windows_of(data: bytes) -> Summary:
    return summary(ove_codec.stream(io.BytesIO(data), **OPTIONS))


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (("ts", "libx265"), ("ts", "libx264")),
        (("ts", "libx264"), ("ts-pid", "libx264", (128, 80))),
        (("ts-pid", "libx264"), ("ts", "libx265")),
        (("ts", "libx264"), ("ts", "libx264", (128, 80))),
        (("m2ts", "libx264"), ("m2ts", "libx265")),
        (("mkv", "libx265"), ("mkv", "libx264")),
        (("mkv-live", "libx264"), ("mkv-live", "libx265", (128, 80))),
        (("mkv-live", "libx264"), ("mkv", "libx264", (128, 80))),
        (("mp4", "libx265"), ("mp4", "libx264")),
        (("mp4", "libx264"), ("mp4", "libx264", (128, 80))),
        (("flv", "libx264"), ("flv", "libx264", (128, 80))),
    ],
)
def test_each_part_gives_what_it_gives_alone(stream_folder: Path, first: Any, second: Any) -> None:
    one, two = muxed(stream_folder, *first), muxed(stream_folder, *second)
    expected = [windows_of(data) for data in (one, two)]
    assert all(len(windows) == 3 and not any(lost for *_, lost in windows) for windows in expected)
    assert windows_of(one + two) == expected[0] + expected[1]
    if first[:2] != ("ts", "libx264") or second[0] != "ts":  # where packets that come again count once
        assert windows_of(one + two + one) == expected[0] + expected[1] + expected[0]


def test_a_size_that_changes_behind_one_header(stream_folder: Path) -> None:
    one, two = (muxed(stream_folder, "flv", size=size) for size in ((96, 64), (128, 80)))
    tags = two[13:]  # behind the header
    assert windows_of(one + tags) == windows_of(one) + windows_of(two)


@pytest.mark.parametrize(("first", "second"), [("ts", "mpeg4-ts"), ("flv", "sorenson-flv")])
@pytest.mark.parametrize("header", [True, False])
def test_another_codec_ends_the_stream(stream_folder: Path, first: str, second: str, header: bool) -> None:
    one, two = muxed(stream_folder, first), muxed(stream_folder, second)
    windows = ove_codec.stream(io.BytesIO(one + (two if header or second == "mpeg4-ts" else two[13:])), **OPTIONS)
    assert summary(itertools.islice(windows, 3)) == windows_of(one)
    with pytest.raises(ove_codec.UnsupportedStreamError, match=r"codec is (mpeg4|flv1)"):
        next(windows)


def test_a_raw_stream_keeps_its_codec(stream_folder: Path) -> None:
    one, two = (low_delay(stream_folder, codec).read_bytes() for codec in ("libx265", "libx264"))
    windows = list(ove_codec.stream(io.BytesIO(one + two), **OPTIONS))
    assert summary(iter(windows))[:2] == windows_of(one)[:2]
    assert [loss.packet for window in windows for loss in window.lost][:1] in ([29], [30])


class Feed:
    """Bytes in pieces of these sizes."""

    name = "feed"

    def __init__(self, data: bytes, sizes: Iterator[int]) -> None:
        self._file, self._sizes = io.BytesIO(data), sizes

    def read(self, size: int) -> bytes:
        return self._file.read(min(size, next(self._sizes)))


def parts_of(data: bytes, sizes: Iterator[int]) -> list[bytes]:
    parts = Parts(Feed(data, sizes))
    found = []
    while parts.next():
        pieces = []
        while piece := parts.read(1 << 16):
            pieces.append(piece)
        found.append(b"".join(pieces))
    return found


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(muxer=st.sampled_from(["ts", "ts-pid", "m2ts", "mkv", "mkv-live", "mp4", "flv"]), seed=st.integers(0, 1 << 30))
def test_pieces_of_any_size(stream_folder: Path, muxer: str, seed: int) -> None:
    dice = random.Random(seed)
    codec = "libx264" if muxer == "flv" else "libx265"
    one, two = muxed(stream_folder, muxer, codec), muxed(stream_folder, muxer, "libx264")
    if "ts" in muxer:  # from anywhere on
        one = one[dice.randrange(1000) :]
    most = dice.choice([3, 100, 5000, 1 << 16])
    found = parts_of(one + two, (dice.randint(1, most) for _ in itertools.count()))
    assert len(found) == 2
    if "ts" not in muxer:
        assert found == [one, two]
        return
    # The tables of the second part lie ahead of its pictures; the first of them is there twice.
    assert (one + two).startswith(found[0]) and len(found[0]) >= len(one)
    rest = (one + two)[len(found[0]) :]
    assert found[1].endswith(rest) and len(found[1]) - len(rest) in (188, 192)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(muxer=st.sampled_from(["ts", "m2ts", "mkv", "mkv-live", "mp4", "flv"]), data=st.data())
def test_damaged_bytes_are_passed_on(stream_folder: Path, muxer: str, data: st.DataObject) -> None:
    file = bytearray(muxed(stream_folder, muxer)[: data.draw(st.integers(0, 4000))])
    for _ in range(data.draw(st.integers(0, 8))):
        if file:
            file[data.draw(st.integers(0, len(file) - 1))] = data.draw(st.integers(0, 255))
    found = parts_of(bytes(file), itertools.repeat(700))
    rest = bytes(file)
    assert rest.startswith(found[0])
    for part in found:
        rest = rest[len(part) :] if rest.startswith(part) else rest[len(part) - 204 :]
    assert len(b"".join(found)) >= len(file)


def test_little_is_held() -> None:
    size = 64 << 20
    head = (24).to_bytes(4, "big") + b"ftypisom" + bytes(12) + (size + 8).to_bytes(4, "big") + b"mdat"

    class Endless:
        name = "endless"
        left = size

        def read(self, most: int) -> bytes:
            if self.left == size:
                self.left -= 1
                return head
            count = min(self.left, most)
            self.left -= count
            return bytes(count)

    parts = Parts(Endless())
    tracemalloc.start()
    assert parts.next()
    total = 0
    while piece := parts.read(1 << 16):
        total += len(piece)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert total >= size and peak < 1 << 20
