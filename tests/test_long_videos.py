"""Indices of some pictures of long videos by their containers' tables: against the whole index, and few bytes read."""

import functools
import http.server
import io
import itertools
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import ove_codec
from ove_codec import _core
from support import ffmpeg, scenes

pytestmark = pytest.mark.skipif(not ffmpeg.has_libx265(), reason="needs ffmpeg with libx265")

SIZE = (96, 64)
GROUP, LOOPS = 20, 15  # pictures of a group, times that 4 groups are repeated
FRAMES = GROUP * 4 * LOOPS
KEYS = f"keyint={GROUP}:min-keyint={GROUP}:scenecut=0"
ENCODERS = {
    "h264": ("libx264", f"{KEYS}:bframes=3:b-adapt=0:b-pyramid=normal"),
    "hevc": ("libx265", f"{KEYS}:bframes=3:b-adapt=0:open-gop=0"),
    "hevc-radl": ("libx265", f"{KEYS}:bframes=3:b-adapt=0:open-gop=0:radl=2"),
    "hevc-open": ("libx265", f"{KEYS}:bframes=3:b-adapt=0:open-gop=1"),
    "h264-open": ("libx264", f"{KEYS}:bframes=3:b-adapt=0:b-pyramid=normal:open-gop=1"),
}
CLOSED = ("h264", "hevc")
TOLD = (*CLOSED, "hevc-radl", "hevc-open", "h264-open")


def long_video(folder: Path, kind: str, suffix: str = ".mp4", options: tuple[str, ...] = ()) -> Path:
    """Four groups of 20 pictures, repeated up to 1,200 pictures."""
    path = folder / f"long_{kind}{suffix}"
    if path.exists():
        return path
    short = folder / f"long_{kind}_short.mp4"
    if not short.exists():
        codec, params = ENCODERS[kind]
        raw = scenes.moving_scene(SIZE, 4 * GROUP, seed=3)
        source = ["-f", "rawvideo", "-pix_fmt", "yuv420p", "-s", f"{SIZE[0]}x{SIZE[1]}", "-r", "25", "-i", "-"]
        named = ["-x265-params", f"log-level=error:{params}"] if codec == "libx265" else ["-x264-params", params]
        ffmpeg.run(["-v", "error", *source, "-c:v", codec, *named, "-y", short], raw)
    loop: list[str | Path] = ["-stream_loop", str(LOOPS - 1), "-i", short]
    ffmpeg.run(["-v", "error", *loop, "-c", "copy", *options, "-y", path])
    return path


class Counted(io.RawIOBase):
    """A file elsewhere, which counts the bytes that are fetched."""

    def __init__(self, path: Path) -> None:
        self.file = path.open("rb", buffering=0)
        self.fetched = 0

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return self.file.seek(offset, whence)

    def read(self, size: int = -1) -> bytes:
        data = self.file.read(size)
        self.fetched += len(data)
        return data


@pytest.mark.parametrize("kind", TOLD)
@pytest.mark.parametrize("suffix", [".mp4", ".mov"])
def test_tables_tell_what_the_index_tells(stream_folder: Path, kind: str, suffix: str) -> None:
    path = long_video(stream_folder, kind, suffix)
    whole, table = _core.VideoIndex(path), _core.PictureTable.read(path)
    assert table is not None and len(table) == len(whole) == FRAMES
    for name in ("packet", "pts", "packet_bytes"):
        assert np.array_equal(getattr(table, name), getattr(whole, name)), name


@pytest.mark.parametrize("kind", TOLD)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(ids=st.sets(st.integers(0, FRAMES - 1), min_size=1, max_size=9), data=st.data())
def test_some_pictures_are_known_as_in_the_whole(
    stream_folder: Path, kind: str, ids: set[int], data: st.DataObject
) -> None:
    path = long_video(stream_folder, kind)
    whole, table = _whole(path), _core.PictureTable.read(path)
    assert table is not None
    wanted = sorted(ids)
    index = table.index(path, wanted)
    assert index is not None and len(index) == FRAMES
    for name in ("packet", "pts", "packet_bytes"):
        assert np.array_equal(getattr(index, name), getattr(whole, name)), name
    known = np.flatnonzero(index.type != "")
    assert set(wanted) <= set(known.tolist())
    for name in ("type", "random_access", *(["poc"] if index.counts_from_start else [])):
        assert np.array_equal(getattr(index, name)[known], getattr(whole, name)[known]), name
    some = data.draw(st.sets(st.sampled_from(known.tolist()), min_size=1))
    assert index.num_needed(sorted(some)) == whole.num_needed(sorted(some))
    assert index.num_decoded(sorted(some)) == whole.num_decoded(sorted(some))
    assert index.window(sorted(some)) == whole.window(sorted(some))
    unknown = np.flatnonzero(index.type == "")
    for ask in (index.num_needed, index.window):
        with pytest.raises((RuntimeError, ValueError), match=r"not read for this index|not made for"):
            ask([int(unknown[0])])
    with pytest.raises(IndexError):
        table.index(path, [FRAMES])


@functools.cache
def _whole(path: Path) -> _core.VideoIndex:
    return _core.VideoIndex(path)


def selections(source: Any, path: Path, **params: Any) -> Iterator[tuple[Any, Any]]:
    """Selection and tokens of a source, and those by the whole index."""
    given = ove_codec.open(source)
    whole = ove_codec.open(path)
    assert len(whole.index) == FRAMES
    for video in (given, whole):
        selection = ove_codec.select(video, size=56, budget=60, **params)
        yield selection, ove_codec.tokenize(video, selection)
    assert "index" not in vars(given)


@pytest.mark.parametrize("kind", TOLD)
@pytest.mark.parametrize(
    "params",
    [
        {"num_frames": 7},
        {"num_frames": 5, "start": 12.3, "end": 31.0},
        {"frame_ids": [3, 444, 445, 1199]},
        {"preset": "ove", "num_frames": 3, "start": 20.0, "end": 23.5},
        {"preset": "bitcost", "num_frames": 4},
        {"num_frames": 9, "sampling": "anchors"},
        {"num_frames": 40, "sampling": "anchors"},
        {"num_frames": 7, "sampling": "anchors", "tolerance": 0.3},
        {"num_frames": 12, "sampling": "anchors", "tolerance": 0.1, "start": 3.0, "end": 21.0},
    ],
)
def test_selections_are_those_of_the_whole_index(stream_folder: Path, kind: str, params: dict[str, Any]) -> None:
    path = long_video(stream_folder, kind)
    (some, tokens), (all_, others) = selections(path, path, **params)
    assert np.array_equal(some.frame_ids, all_.frame_ids) and np.array_equal(some.scores, all_.scores)
    assert np.array_equal(some.positions, all_.positions) and np.array_equal(tokens.patches, others.patches)


@pytest.mark.parametrize("kind", TOLD)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_anchors_are_those_of_the_whole_index(stream_folder: Path, kind: str, data: st.DataObject) -> None:
    path = long_video(stream_folder, kind)
    asked = sorted(data.draw(st.sets(st.integers(0, FRAMES - 1), min_size=1, max_size=30)))
    tolerance = data.draw(st.none() | st.sampled_from([0.0, 0.1, 0.5, 3.0]))
    table = _core.PictureTable.read(path)
    assert table is not None
    shown = range(FRAMES)
    nothing = table.index(path, [])
    assert nothing is not None
    some = table.index(path, nothing.unanchored(shown, asked, tolerance=tolerance))
    assert some is not None
    taken = some.anchors(shown, asked, tolerance=tolerance)
    assert taken is None or taken == _whole(path).anchors(shown, asked, tolerance=tolerance)
    if tolerance is None and all((b - a) % 2 for a, b in itertools.pairwise(asked)):  # no picture is in two reaches
        assert taken is not None


def test_arrays_are_those_of_the_whole_index(stream_folder: Path) -> None:
    for kind in TOLD:
        path = long_video(stream_folder, kind)
        some, whole = ove_codec.open(path), ove_codec.open(path)
        assert len(whole.index) == FRAMES
        ids = [0, 119, 333, 334, 351, 1188]
        for a, b in zip(some.read(ids), whole.read(ids), strict=True):
            assert (a.index, a.pts, a.poc, a.type, a.packet) == (b.index, b.pts, b.poc, b.type, b.packet)
            for name in ("mv", "pred", "ref_poc", "residual", "qp", "bits", "skip", "cu_size"):
                assert np.array_equal(getattr(a, name), getattr(b, name)), name
        assert ("index" in vars(some)) == ("open" in kind) and len(some) == FRAMES  # POCs are counted from the start
        assert len(list(some.seek(index=FRAMES - 2))) == 2  # most of the pictures: the whole index


def test_few_bytes_are_read(stream_folder: Path) -> None:
    for kind in TOLD:
        path = long_video(stream_folder, kind)
        table = _core.PictureTable.read(path)
        assert table is not None
        count = 8
        ids = np.linspace(0, FRAMES - 1, count).astype(np.int64)
        keys = _whole(path).random_access[np.argsort(table.packet)]
        group = np.cumsum(keys)[table.packet]  # by display index
        groups = np.unique(group[ids])
        held = int(table.packet_bytes[np.isin(group, groups)].sum())
        tables = path.stat().st_size - int(table.packet_bytes.sum())
        file: Any = Counted(path)
        selection = ove_codec.select(file, num_frames=count, size=56, budget=200)
        ove_codec.tokenize(file, selection)
        # Blocks are 64 KiB, and so is what libavformat reads at a time: one more a group, and what it looks at first.
        spare = (len(groups) + 4) * (1 << 16)
        assert file.fetched <= 1.2 * held + tables + spare, (kind, file.fetched, held, tables)


def remux(path: Path, name: str, *options: str) -> Path:
    out = path.with_name(name)
    if not out.exists():
        ffmpeg.run(["-v", "error", "-i", path, "-c", "copy", *options, "-y", out])
    return out


def test_where_tables_do_not_tell(stream_folder: Path, tmp_path: Path) -> None:
    path = long_video(stream_folder, "h264")
    fragments = remux(path, "long_fragments.mp4", "-movflags", "frag_keyframe+empty_moov")
    indexed = remux(path, "long_indexed.mp4", "-movflags", "dash+global_sidx")
    matroska, transport = remux(path, "long.mkv"), remux(path, "long.ts")
    cut = tmp_path / "cut.mp4"
    ffmpeg.run(["-v", "error", "-ss", "0.5", "-i", path, "-c", "copy", cut])
    for other in (fragments, indexed, matroska, transport, cut):
        assert _core.PictureTable.read(other) is None, other
        video = ove_codec.open(other)
        selection = ove_codec.select(video, num_frames=3, size=56)
        assert len(selection.frame_ids) == 3 and "index" in vars(video)
    data = path.read_bytes()
    short = tmp_path / "short.mp4"
    fast = remux(path, "long_fast.mp4", "-movflags", "+faststart").read_bytes()
    short.write_bytes(fast[: len(fast) * 2 // 3])
    assert _core.PictureTable.read(short) is None
    with pytest.raises(ove_codec.Error):
        ove_codec.select(short, num_frames=3)
    # Without its offsets from decoding to showing, a table has the pictures in another order than they are shown.
    table = _core.PictureTable.read(data.replace(b"ctts", b"free"))
    assert table is None or table.index(data.replace(b"ctts", b"free"), [5, 700]) is None
    # Without sync samples each is taken for one.
    everything = data.replace(b"stss", b"free")
    table = _core.PictureTable.read(everything)
    assert table is None or table.index(everything, [5]) is None
    video = ove_codec.open(everything)
    assert ove_codec.select(video, num_frames=3, size=56).frame_ids.tolist() == [0, 599, 1199]


@pytest.mark.parametrize("kind", ["hevc-open", "hevc-radl", "h264-open"])
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_pictures_shown_before_their_group_begins(stream_folder: Path, kind: str, data: st.DataObject) -> None:
    path = long_video(stream_folder, kind)
    video = ove_codec.open(path)
    packet = video.index.packet
    shown = np.argsort(packet)  # display index by packet
    starts = np.maximum.accumulate(np.where(video.index.random_access[shown], np.arange(FRAMES), 0))
    leading = [i for i in range(FRAMES) if i < shown[starts[packet[i]]]]
    assert len(leading) >= 2 * LOOPS
    ids = data.draw(st.sets(st.sampled_from(leading), min_size=1, max_size=3))
    ids |= data.draw(st.sets(st.integers(0, FRAMES - 1), max_size=3))
    displacement = {"vector": "displacement", "frame_ids": [min(ids & set(leading))]}
    for params in ({"frame_ids": sorted(ids)}, displacement):
        some, whole = selections(path, path, **params)
        assert np.array_equal(some[0].scores, whole[0].scores)
        assert np.array_equal(some[1].patches, whole[1].patches)
        assert np.array_equal(some[0].heat(0), whole[0].heat(0))


def test_tables_that_claim_too_much(stream_folder: Path) -> None:
    data = bytearray(long_video(stream_folder, "h264").read_bytes())
    at = data.index(b"stsz") + 8
    data[at : at + 4] = (1 << 20).to_bytes(4, "big")  # every sample of 1 MiB
    assert _core.PictureTable.read(bytes(data)) is None


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damaged_tables(stream_folder: Path, data: st.DataObject) -> None:
    long_video(stream_folder, "h264")
    file = bytearray((stream_folder / "long_h264_short.mp4").read_bytes())
    moov = file.index(b"moov")
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(moov, len(file) - 1))
        file[at] = data.draw(st.sampled_from([0, 1, 0x7F, 0x80, 0xFF]) | st.integers(0, 255))
    ids = sorted(data.draw(st.sets(st.integers(0, 4 * GROUP - 1), min_size=1, max_size=6)))
    try:
        table = _core.PictureTable.read(bytes(file))
        if table is None or len(table) <= ids[-1]:
            return
        index = table.index(bytes(file), ids)
        if index is not None:
            given = [picture.index for picture in _core.PictureIterator(bytes(file), index=index, frame_ids=ids)]
            assert given == ids
    except ove_codec.Error:
        pass


@pytest.mark.parametrize("most", [0, 1 << 17, 1 << 30])
def test_kept_reads(stream_folder: Path, most: int) -> None:
    path = long_video(stream_folder, "h264")
    size = path.stat().st_size
    file: Any = Counted(path)
    whole = [packet["data"] for packet in _core.Packets(path)]
    first = [packet["data"] for packet in _core.Packets(file)]
    unkept = file.fetched
    kept = _core.KeptReads(file, most)
    for _ in range(2):
        assert [packet["data"] for packet in _core.Packets(file)] == first == whole
    fetched = file.fetched - unkept
    assert fetched == size if most > size else fetched > size
    del kept
    assert [packet["data"] for packet in _core.Packets(file)] == whole
    assert file.fetched == 2 * unkept + fetched
    with pytest.raises(ValueError, match="most_bytes"):
        _core.KeptReads(file, -1)


def test_damage_outside_of_what_is_read_is_not_seen(stream_folder: Path) -> None:
    path = long_video(stream_folder, "h264")
    table = _core.PictureTable.read(path)
    assert table is not None
    data = bytearray(path.read_bytes())
    packets = list(_core.Packets(path))
    spot = packets[500]["position"]
    data[spot : spot + 40] = b"\xff" * 40
    ids = [3, 1100]
    assert table.index(bytes(data), ids) is not None
    assert table.index(bytes(data), [*ids, 519]) is None
    with pytest.raises(ove_codec.Error):
        ove_codec.select(bytes(data), frame_ids=[3, 519, 1100], size=56)


class Server(http.server.SimpleHTTPRequestHandler):
    """Files of a folder, and ranges of them."""

    sent = 0

    def do_GET(self) -> None:
        data = Path(self.translate_path(self.path)).read_bytes()
        first, last = 0, len(data) - 1
        if wanted := self.headers.get("Range"):
            begin, end = wanted.removeprefix("bytes=").split("-")
            first, last = int(begin), min(int(end or last), last)
        self.send_response(206 if wanted else 200)
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Range", f"bytes {first}-{last}/{len(data)}")
        self.send_header("Content-Length", str(last + 1 - first))
        self.end_headers()
        self.wfile.write(data[first : last + 1])
        type(self).sent += last + 1 - first

    def log_message(self, *_: Any) -> None:
        pass


def test_over_http(stream_folder: Path) -> None:
    fsspec = pytest.importorskip("fsspec")
    pytest.importorskip("aiohttp")
    path = long_video(stream_folder, "hevc")
    handler = functools.partial(Server, directory=str(stream_folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            address = f"http://127.0.0.1:{server.server_address[1]}/{path.name}"
            with fsspec.open(address, block_size=1 << 16, cache_type="none").open() as file:
                selection = ove_codec.select(file, num_frames=3, size=56, budget=40)
                tokens = ove_codec.tokenize(file, selection)
        finally:
            server.shutdown()
            thread.join()
    local = ove_codec.select(path, num_frames=3, size=56, budget=40)
    assert np.array_equal(selection.positions, local.positions)
    assert np.array_equal(tokens.patches, ove_codec.tokenize(path, local).patches)
    assert Server.sent < path.stat().st_size


def test_the_benchmark(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- long -->\nold\n<!-- /long -->\nbehind\n")
    bench = Path(__file__).resolve().parents[1] / "bench" / "long.py"
    options = ["--minutes", "1.3", "--whole-minutes", "0.6", "--height", "64", "--encoder", "h264"]
    files: list[str | Path] = ["--folder", tmp_path, "--results", tmp_path / "long.json", "--readme", page]
    done = subprocess.run([sys.executable, bench, *options, *files], capture_output=True, text=True, check=True)
    found = {result["way"]: result for result in map(json.loads, done.stdout.splitlines())}
    assert {"time", "time, whole index", "anchors", "read", "ove"} <= set(found)
    assert found["anchors"]["decoded"] < found["time"]["decoded"] == found["time, whole index"]["decoded"]
    assert found["time"]["pictures"] == 2400 and found["read"]["pictures"] == found["ove"]["pictures"] == 1200
    assert json.loads((tmp_path / "long.json").read_text()) == list(found.values())
    text = page.read_text()
    assert "old" not in text and "| 1.3 min, h264 | anchors | " in text and text.startswith("before\n")
