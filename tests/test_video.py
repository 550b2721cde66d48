"""Reading videos through the public API: sources, order, times, damage, memory."""

import gc
import io
import itertools
import subprocess
import sys
import threading
import weakref
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np
import pytest
import torch

import ove_codec
from ove_codec import _core
from support import ffmpeg, scenes

ARRAYS = ("pred", "mv", "ref_poc", "residual", "qp", "cu_size", "skip", "bits")
SIZE = (208, 120)
FRAMES = 24

pytestmark = pytest.mark.skipif(not ffmpeg.has_libx265(), reason="ffmpeg with libx265 is not installed")


@pytest.fixture(scope="module")
def clip(stream_folder: Path) -> Path:
    raw = scenes.moving_scene(SIZE, FRAMES)
    params = "bframes=3:keyint=8:min-keyint=8:ref=3"
    return ffmpeg.encode(raw, SIZE, "yuv420p", params, stream_folder / "video_api.mp4")


@pytest.fixture(scope="module")
def pictures(clip: Path) -> list[ove_codec.Picture]:
    return list(ove_codec.open(clip, threads=1))


def same(a: ove_codec.Picture, b: ove_codec.Picture) -> bool:
    facts = ("index", "pts", "poc", "type", "width", "height", "packet", "rotation", "bit_depth")
    return all(getattr(a, n) == getattr(b, n) for n in facts) and all(
        np.array_equal(getattr(a, n), getattr(b, n)) for n in ARRAYS
    )


def test_display_order_and_times(pictures: list[ove_codec.Picture]) -> None:
    assert [p.index for p in pictures] == list(range(FRAMES))
    assert np.allclose(np.diff([p.pts for p in pictures]), 1 / 25)
    assert {p.type for p in pictures} == {"I", "P", "B"}
    assert pictures[0].type == "I"
    assert pictures[0].random_access
    # Packets come in decoding order, which B pictures make another one.
    assert sorted(p.packet for p in pictures) == list(range(FRAMES))
    assert [p.packet for p in pictures] != list(range(FRAMES))


def test_shapes_and_types(pictures: list[ove_codec.Picture]) -> None:
    p = pictures[3]
    height, width = p.coded_height, p.coded_width
    assert (p.width, p.height) == SIZE
    assert p.window == (0, 0, *SIZE)
    grid = (height // 4, width // 4)
    expected: dict[str, tuple[tuple[int, ...], Any]] = {
        "pred": (grid, np.uint8),
        "mv": ((*grid, 2, 2), np.int16),
        "ref_poc": ((*grid, 2), np.int32),
        "residual": ((height, width), np.int16),
        "qp": (grid, np.int8),
        "cu_size": (grid, np.uint8),
        "skip": (grid, np.bool_),
        "bits": ((-(-height // p.ctb_size), -(-width // p.ctb_size)), np.int32),
    }
    for name, (shape, dtype) in expected.items():
        array = getattr(p, name)
        assert array.shape == shape, name
        assert array.dtype == dtype, name
        assert array.flags.c_contiguous, name
        assert not array.flags.writeable, name


@pytest.mark.threads
@pytest.mark.parametrize("threads", [0, 2, 5])
def test_threads_change_nothing(clip: Path, pictures: list[ove_codec.Picture], threads: int) -> None:
    again = list(ove_codec.open(clip, threads=threads))
    assert len(again) == len(pictures)
    assert all(map(same, again, pictures))


@pytest.mark.parametrize("kind", ["str", "bytes", "bytearray", "memoryview", "BytesIO", "file", "pipe"])
def test_sources(clip: Path, pictures: list[ove_codec.Picture], kind: str) -> None:
    data = clip.read_bytes()

    class Pipe(io.RawIOBase):
        def __init__(self) -> None:
            self.rest = io.BytesIO(data)

        def readable(self) -> bool:
            return True

        def readinto(self, buffer: Any) -> int:
            return self.rest.readinto(buffer)

    with clip.open("rb") as file:
        source: Any = {
            "str": str(clip),
            "bytes": data,
            "bytearray": bytearray(data),
            "memoryview": memoryview(data),
            "BytesIO": io.BytesIO(data),
            "file": file,
            "pipe": cast(BinaryIO, Pipe()),
        }[kind]
        video = ove_codec.open(source)
        for _ in range(2):  # every iteration starts anew
            assert all(map(same, video, pictures))
        assert len(video) == FRAMES


def test_arrays_are_shared_and_outlive_the_video(clip: Path, pictures: list[ove_codec.Picture]) -> None:
    arrays = [(p.mv, p.residual) for p in ove_codec.open(clip)]
    gc.collect()
    for (mv, residual), p in zip(arrays, pictures, strict=True):
        assert np.array_equal(mv, p.mv)
        assert np.array_equal(residual, p.residual)
    p = pictures[5]
    assert np.shares_memory(p.mv, p.mv)
    assert np.shares_memory(p.pred, p.pred)
    tensor = torch.from_dlpack(p.residual)
    assert tensor.data_ptr() == p.residual.__array_interface__["data"][0]
    assert np.shares_memory(np.from_dlpack(p.mv), p.mv)


@pytest.mark.threads
def test_dropped_iterators_free_their_pictures(clip: Path) -> None:
    alive: list[weakref.ref[Any]] = []
    for _ in range(3):
        iterator = iter(ove_codec.open(clip, threads=2))
        alive += [weakref.ref(p.residual) for p in itertools.islice(iterator, 4)]
        del iterator
    gc.collect()
    assert not any(r() is not None for r in alive)


def test_reading_chosen_pictures(clip: Path, pictures: list[ove_codec.Picture]) -> None:
    video = ove_codec.open(clip)
    wanted = [17, 3, 9, 3]
    got = list(video.read(wanted))
    assert [p.index for p in got] == [3, 9, 17]
    assert all(same(p, pictures[p.index]) for p in got)
    motion = next(iter(video.read([9], residual=False)))
    assert np.array_equal(motion.mv, pictures[9].mv)
    with pytest.raises(RuntimeError, match="residual=True"):
        _ = motion.residual
    assert list(video.read([])) == []
    for bad in ([FRAMES], [-1]):
        with pytest.raises(IndexError, match="which has 24 pictures"):
            list(video.read(bad))


def test_index(clip: Path, pictures: list[ove_codec.Picture]) -> None:
    index = ove_codec.open(clip).index
    assert len(index) == FRAMES
    for name in ("packet", "pts", "poc", "type", "random_access"):
        assert getattr(index, name).tolist() == [getattr(p, name) for p in pictures]


def test_times_of_raw_streams(clip: Path, pictures: list[ove_codec.Picture], tmp_path: Path) -> None:
    raw = tmp_path / "clip.265"
    ffmpeg.run(["-v", "error", "-i", clip, "-c", "copy", "-f", "hevc", raw])
    again = list(ove_codec.open(raw))
    assert np.allclose([p.pts for p in again], np.arange(FRAMES) / 25)
    assert all(np.array_equal(a.mv, b.mv) for a, b in zip(again, pictures, strict=True))


@pytest.mark.threads
def test_several_videos_at_once(clip: Path, pictures: list[ove_codec.Picture]) -> None:
    good: list[bool] = []

    def read() -> None:
        good.append(all(map(same, ove_codec.open(clip, threads=2), pictures)))

    workers = [threading.Thread(target=read) for _ in range(6)]
    for w in workers:
        w.start()
    for w in workers:
        w.join()
    assert good == [True] * 6


def test_new_resolution_goes_on_and_select_says_so(clip: Path, tmp_path: Path) -> None:
    other = ffmpeg.encode(scenes.moving_scene((96, 64), 8), (96, 64), "yuv420p", "bframes=0", tmp_path / "b.265")
    first = tmp_path / "a.265"
    ffmpeg.run(["-v", "error", "-i", clip, "-c", "copy", "-f", "hevc", first])
    joined = first.read_bytes() + other.read_bytes()
    sizes = [(p.width, p.height) for p in ove_codec.open(joined)]
    assert sizes == [SIZE] * FRAMES + [(96, 64)] * 8
    with pytest.raises(ove_codec.UnsupportedStreamError, match="208x120 to 96x64"):
        ove_codec.select(joined)


def test_what_is_not_hevc_says_what_to_do(tmp_path: Path) -> None:
    sound, h264 = tmp_path / "sound.mp4", tmp_path / "h264.mp4"
    ffmpeg.run(["-v", "error", "-f", "lavfi", "-i", "sine=duration=0.2", "-y", sound])
    ffmpeg.run(["-v", "error", "-f", "lavfi", "-i", "testsrc=s=64x64:d=0.2", "-c:v", "mpeg4", "-y", h264])
    with pytest.raises(ove_codec.Error, match=r"h264\.mp4.*mpeg4.*convert it to HEVC"):
        ove_codec.select(h264)
    with pytest.raises(ove_codec.Error, match=r"sound\.mp4.*sound only"):
        ove_codec.open(sound)
    with pytest.raises(ove_codec.Error, match="empty"):
        ove_codec.open(b"")
    with pytest.raises(ove_codec.Error, match=r"nothing\.mp4"):
        ove_codec.open(tmp_path / "nothing.mp4")
    with pytest.raises(ove_codec.Error):
        ove_codec.open(b"this is no video, however long one looks at it " * 40)
    with pytest.raises(ValueError, match="threads"):
        ove_codec.open(h264, threads=-1)
    with pytest.raises(TypeError):
        ove_codec.open(cast(Any, 7))


@pytest.fixture(scope="module")
def cut(clip: Path, stream_folder: Path) -> tuple[Path, int]:
    """A raw stream that ends within the slice data of a picture, and the number of that picture's packet."""
    raw = stream_folder / "video_api_cut.265"
    ffmpeg.run(["-v", "error", "-i", clip, "-c", "copy", "-f", "hevc", "-y", raw])
    data = raw.read_bytes()
    packet = max((p for p in _core.Packets(data) if p["index"] > 8), key=lambda p: len(p["data"]))
    raw.write_bytes(data[: packet["position"] + len(packet["data"]) * 3 // 4])
    return raw, packet["index"]


@pytest.mark.threads
@pytest.mark.parametrize("threads", [1, 3])
def test_pictures_before_the_damage_are_given(
    cut: tuple[Path, int], pictures: list[ove_codec.Picture], threads: int
) -> None:
    path, packet = cut
    got: list[ove_codec.Picture] = []
    with pytest.raises(ove_codec.InvalidBitstreamError, match=r"video_api_cut\.265: slice data ends") as caught:
        got.extend(ove_codec.open(path, threads=threads))
    assert caught.value.position is not None
    assert 0 < caught.value.position < path.stat().st_size
    expected = [p for p in pictures if p.packet < packet]
    assert [p.poc for p in got] == [p.poc for p in expected]
    assert all(np.array_equal(a.residual, b.residual) for a, b in zip(got, expected, strict=True))


def test_a_failed_iterator_stays_at_its_end(cut: tuple[Path, int]) -> None:
    iterator = iter(ove_codec.open(cut[0]))
    with pytest.raises(ove_codec.Error):
        list(iterator)
    assert list(iterator) == []


def test_import_is_light() -> None:
    code = "import sys, ove_codec; assert 'torch' not in sys.modules, 'torch was imported'; ove_codec.models"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_memory_does_not_grow_with_the_video(tmp_path: Path) -> None:
    size = (640, 360)
    part = ffmpeg.encode(scenes.moving_scene(size, 12), size, "yuv420p", "keyint=12", tmp_path / "part.265")
    code = (
        "import resource, sys, ove_codec\n"
        "n = sum(1 for _ in ove_codec.open(sys.argv[1], threads=2))\n"
        "print(n, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    )
    peaks = []
    for copies in (2, 60):
        long = tmp_path / f"{copies}.265"
        long.write_bytes(part.read_bytes() * copies)
        out = subprocess.run([sys.executable, "-c", code, str(long)], capture_output=True, check=True).stdout
        pictures, peak = map(int, out.split())
        assert pictures == 12 * copies
        peaks.append(peak)
    assert peaks[1] < 1.2 * peaks[0]
