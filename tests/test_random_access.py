"""Random access: any arrays and pixels are those that sequential reading gives, and few bytes are read for them."""

import io
import itertools
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ove_codec
from support import ffmpeg, pixels, scenes
from support.hevc.parameter_sets import ReferencePictureSet, Sps
from support.hevc.random_stream import RandomStream
from support.hevc.sequence import Sequence
from support.hevc.slice_header import (
    BLA_W_LP,
    CRA,
    IDR_N_LP,
    RADL_N,
    RASL_N,
    RASL_R,
    TRAIL_N,
    TSA_N,
    TSA_R,
    LongTermPicture,
)

needs_x265 = pytest.mark.skipif(not ffmpeg.has_libx265(), reason="ffmpeg with libx265 is not installed")

FACTS = ("index", "pts", "poc", "type", "packet", "random_access", "width", "height")
ARRAYS = ("mv", "pred", "ref_poc", "residual", "qp", "cu_size", "skip", "bits")
PARSED = ("qp", "cu_size", "skip", "field", "bits")  # what needs no other picture
ENCODERS = {
    "closed": "open-gop=0:bframes=3",
    "open": "open-gop=1:bframes=4:b-adapt=0:ref=4:b-pyramid=1",
    "low-delay": "bframes=0:open-gop=0",
    "repeated": "open-gop=1:bframes=2:repeat-headers=1:aud=1",
    "intra": "keyint=1:bframes=0",
}
FRAMES = 42
SIZE = (96, 64)


def digest(picture: ove_codec.Picture, arrays: tuple[str, ...] = ARRAYS) -> tuple[Any, ...]:
    crcs = (zlib.crc32(np.ascontiguousarray(getattr(picture, name)).data) for name in arrays)
    return (*(getattr(picture, name) for name in FACTS), *crcs)


def parsed(source: Any, index: ove_codec._core.VideoIndex, frame_ids: list[int]) -> list[tuple[Any, ...]]:
    """Digests of what parsing leaves of these pictures, where no motion is derived."""
    options: dict[str, Any] = {"residual": False, "motion": False, "index": index, "frame_ids": frame_ids}
    return [digest(p, PARSED) for p in ove_codec._core.PictureIterator(source, threads=2, **options)]


def encoded(folder: Path, kind: str) -> Path:
    path = folder / f"access_{kind}.mp4"
    if not path.exists():
        params = f"keyint=10:min-keyint=10:scenecut=0:{ENCODERS[kind]}"
        ffmpeg.encode(scenes.moving_scene(SIZE, FRAMES, seed=7), SIZE, "yuv420p", params, path)
    return path


def remuxed(path: Path, suffix: str, *options: str) -> Path:
    out = path.with_suffix(suffix)
    if not out.exists():
        ffmpeg.run(["-v", "error", "-i", path, "-c", "copy", *options, out])
    return out


def cut_by_edit_list(path: Path) -> Path:
    """Begins between random access points: the first packets are decoded and not shown."""
    out = path.with_suffix(".cut.mp4")
    if not out.exists():
        ffmpeg.run(["-v", "error", "-ss", "0.5", "-i", path, "-c", "copy", out])
    return out


CONTAINERS: dict[str, Callable[[Path], Path]] = {
    "mp4": lambda path: path,
    "fragments": lambda path: remuxed(path, ".frag.mp4", "-movflags", "frag_keyframe+empty_moov"),
    "edit list": cut_by_edit_list,
    "mkv": lambda path: remuxed(path, ".mkv"),
    "live mkv": lambda path: remuxed(path, ".live.mkv", "-live", "1"),
    "ts": lambda path: remuxed(path, ".ts"),
    "raw": lambda path: remuxed(path, ".265", "-f", "hevc"),
}


def assert_random_access(source: Any, *, every: int = 1) -> None:
    """From every picture on, and for random choices of pictures, what is read is what sequential reading gives."""
    video = ove_codec.open(source, threads=1)
    expected = [digest(p) for p in video]
    count = len(expected)
    assert len(video) == count
    for index in range(0, count, every):
        assert digest(next(video.seek(index=index))) == expected[index]
    rng = np.random.default_rng(count)
    for threads in (1, 3):
        video = ove_codec.open(source, threads=threads)
        index = int(rng.integers(count))
        assert [digest(p) for p in video.seek(index=index)] == expected[index:]
        for _ in range(4):
            chosen = np.sort(rng.permutation(count)[: rng.integers(1, 1 + count // 2)])
            assert [digest(p) for p in video.read(chosen.tolist())] == [expected[i] for i in chosen]
            motion = video.read(chosen.tolist(), residual=False)
            pictures = video.read(chosen.tolist())
            assert parsed(source, video.index, chosen.tolist()) == [digest(p, PARSED) for p in pictures]
            assert [p.mv.sum() for p in motion] == [p.mv.sum() for p in video.read(chosen.tolist())]


def assert_pixels(source: Any, *, every: int = 1) -> None:
    video = ove_codec.open(source)
    options: dict[str, Any] = {"resize": "native", "normalize": False}
    packets = video.index.packet  # all of the video, without what the index tells
    whole = ove_codec._core.gather_frames(source, packets, resize="native", size=1, mean=(0, 0, 0), std=(1, 1, 1))
    expected = (whole * 255 + 0.5).astype(np.uint8)
    for index in range(0, len(video), every):
        assert np.array_equal(ove_codec.frames(video, [index], **options)[0], expected[index])
    rng = np.random.default_rng(len(video))
    for threads in (1, 2, 3):
        chosen = np.sort(rng.permutation(len(video))[: rng.integers(2, len(video))])
        assert np.array_equal(ove_codec.frames(video, chosen, threads=threads, **options), expected[chosen])


@needs_x265
@pytest.mark.parametrize("container", CONTAINERS)
@pytest.mark.parametrize("kind", ENCODERS)
def test_encoded_clips(stream_folder: Path, kind: str, container: str) -> None:
    path = CONTAINERS[container](encoded(stream_folder, kind))
    whole = kind == "open" or container == "mp4"
    assert_random_access(path, every=1 if whole else 7)
    assert_pixels(path, every=1 if whole else 7)


H264 = {
    "open": "open-gop=1:bframes=3:b-adapt=0:ref=4:b-pyramid=2",
    "closed": "open-gop=0:bframes=3:ref=3",
    "refresh": "intra-refresh=1:bframes=0:ref=3",
    "fields": "interlaced=1:open-gop=1:bframes=2:ref=3",
}


@pixels.needs_ffmpeg
@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".ts", ".264"])
@pytest.mark.parametrize("kind", H264)
def test_h264_clips(tmp_path: Path, kind: str, suffix: str) -> None:
    """Marking commands behind a recovery point name pictures before it, which are not there."""
    params = f"{H264[kind]}:keyint=10:min-keyint=10:scenecut=0"
    more = ["-f", "h264"] if suffix == ".264" else []
    arguments = ["-pix_fmt", "yuv420p", "-preset", "veryfast", "-x264-params", params, *more]
    source = "testsrc2=s=96x64:r=25:d=1.8"
    path = pixels.encode(tmp_path / f"a{suffix}", *arguments, source=source, codec="libx264")
    assert_random_access(path, every=3)
    assert_pixels(path)


# Hand-made streams.


def leading() -> Sequence:
    """A CRA picture with RASL pictures, one of which refers to pictures before it, and a RADL picture; twice."""
    sequence = Sequence(Sps(num_reorder=2, poc_lsb_bits=4))
    sequence.noise(0)
    sequence.inter(1, 0)
    sequence.inter(2, 1)
    for base in (8, 16):
        before = base - 6 if base == 8 else base - 7
        sequence.noise(base, nal_type=CRA, rps=ReferencePictureSet([(before - base, False)]))
        sequence.inter(base - 2, before, base, nal_type=RASL_R)
        sequence.inter(base - 3, base - 2, base, nal_type=RASL_N)
        sequence.inter(base - 1, base, nal_type=RADL_N)
        sequence.inter(base + 1, base)
    return sequence


def ends_and_starts() -> Sequence:
    """IDR, end of sequence and CRA with a RASL picture that is skipped, BLA, and pictures never shown."""
    sequence = Sequence(Sps(num_reorder=2, poc_lsb_bits=4))
    sequence.noise(0)
    for poc in (7, 14, 20):
        sequence.inter(poc, poc - 7 if poc < 20 else 14)
    sequence.end_of_sequence()
    sequence.noise(27, nal_type=CRA)
    sequence.inter(25, 20, 27, nal_type=RASL_N)
    sequence.inter(28, 27)
    sequence.inter(30, 28)
    sequence.noise(9, nal_type=BLA_W_LP)
    sequence.inter(8, 9, nal_type=RADL_N)
    sequence.inter(11, 9)
    sequence.noise(0, no_output_of_prior_pics=True)
    sequence.set_pps(output_flag_present=True)
    sequence.inter(1, 0, pic_output=False)
    sequence.inter(2, 1)
    return sequence


def sub_layers() -> Sequence:
    """Order counts that wrap around, counted from pictures that nothing refers to."""
    sequence = Sequence(Sps(sub_layers=3, poc_lsb_bits=4, num_reorder=2))
    sequence.noise(0)
    last = 0
    for poc in range(6, 70, 6):
        if poc in (30, 54):
            sequence.noise(poc, nal_type=CRA)
        else:
            sequence.inter(poc, last)
            sequence.inter(poc - 3, last, poc, nal_type=TSA_R, temporal_id=1)
            sequence.inter(poc - 2, poc - 3, poc, nal_type=TSA_N, temporal_id=2)
            sequence.inter(poc - 1, poc, nal_type=TRAIL_N)
        last = poc
    return sequence


def parameter_sets() -> Sequence:
    """Parameter sets that come in band and are used much later, under the ids of others, with another size."""
    sequence = Sequence(Sps(poc_lsb_bits=5))
    for poc in range(0, 40, 4):
        if poc % 12 == 0:
            sequence.noise(poc, nal_type=CRA if poc else IDR_N_LP)
        else:
            sequence.set_pps(init_qp=20 + poc % 9, log2_parallel_merge_level=2 + poc % 3)
            sequence.inter(poc, poc - 4)
        sequence.inter(poc + 1, poc)
    sequence.set_sps(Sps(width=80, log2_min_cb=4, log2_ctb=5, poc_lsb_bits=5))
    sequence.set_pps(init_qp=30)
    for _ in range(2):
        sequence.noise(0)
        sequence.inter(15, 0)
        sequence.inter(29, 15)
    return sequence


def long_term() -> Sequence:
    """A picture far back, named by its low bits; others have the same low bits, but not where it is named so."""
    sequence = Sequence(Sps(poc_lsb_bits=4, long_term=[]))
    sequence.noise(0)
    sequence.inter(4, 0)
    for poc in range(8, 72, 4):
        unique = poc % 16 not in (0, 4, 8)
        entry = LongTermPicture(lsb=0, msb_cycle=None if unique else poc // 16)
        sequence.inter(poc, poc - 4, long_term=[entry], num_ref_idx=(2, 1))
    return sequence


def stray_intra() -> Sequence:
    """Intra pictures that are no random access points, from which prediction begins anew."""
    sequence = Sequence(Sps(poc_lsb_bits=4))
    sequence.noise(0)
    for poc in range(1, 30):
        if poc % 7 == 0:
            sequence.noise(poc, nal_type=1, rps=ReferencePictureSet([]))
        else:
            sequence.inter(poc, poc - 1)
    return sequence


HANDMADE = {f.__name__: f for f in (leading, ends_and_starts, sub_layers, parameter_sets, long_term, stray_intra)}


@pytest.mark.parametrize("name", HANDMADE)
def test_handmade_streams(name: str) -> None:
    assert_random_access(HANDMADE[name]().bytes())


@pytest.mark.skipif(not ffmpeg.available(), reason="ffmpeg is not installed")
@pytest.mark.parametrize("name", ["leading", "sub_layers", "long_term", "stray_intra"])
def test_pixels_of_handmade_streams(name: str) -> None:
    assert_pixels(HANDMADE[name]().bytes())


@pytest.mark.parametrize("seed", range(6))
def test_random_streams(seed: int) -> None:
    """Any references, long-term pictures, parameter sets before every picture; several streams one after another."""
    assert_random_access(b"".join(RandomStream(300 + 2 * seed + i, pictures=7).data for i in range(2)))


# What is read.


class Counting(io.BytesIO):
    """Counts the bytes that are read of it."""

    read_bytes = 0

    def read(self, size: int | None = -1) -> bytes:
        data = super().read(size)
        self.read_bytes += len(data)
        return data


@pytest.fixture(scope="module")
def long_clip(stream_folder: Path) -> Path:
    """Twelve megabytes, of which the last group of pictures is a fiftieth."""
    part = stream_folder / "access_part.265"
    size = (320, 192)
    params = "keyint=8:min-keyint=8:scenecut=0:open-gop=1:bframes=2:crf=4:repeat-headers=1"
    ffmpeg.encode(scenes.moving_scene(size, 40, seed=9), size, "yuv420p", params, part)
    joined = stream_folder / "access_long.265"
    joined.write_bytes(part.read_bytes() * 10)
    path = stream_folder / "access_long.mp4"
    ffmpeg.run(["-v", "error", "-r", "25", "-i", joined, "-c", "copy", "-y", path])
    return path


@needs_x265
@pytest.mark.parametrize("container", ["mp4", "fragments", "mkv", "ts", "raw"])
def test_a_late_window_reads_little(long_clip: Path, container: str) -> None:
    file = Counting(CONTAINERS[container](long_clip).read_bytes())
    total = len(file.getvalue())
    assert total > 5_000_000

    def bytes_of(work: Callable[[], Any]) -> int:
        file.read_bytes = 0
        work()
        return file.read_bytes

    video = ove_codec.open(file, threads=1)
    opening = bytes_of(lambda: ove_codec._core.stream_info(file))
    end = video.index.pts[-1] + 1
    window: dict[str, Any] = {"start": end - 1.4, "end": end, "num_frames": 3, "size": 56}
    selection = ove_codec.select(video, **window)
    assert selection.frame_ids[0] >= 350
    for work in (
        lambda: next(video.seek(index=390)),
        lambda: list(video.read([350, 390])),
        lambda: ove_codec.select(video, **window),
        lambda: ove_codec.tokenize(video, selection),
        lambda: ove_codec.frames(video, [-1]),
    ):
        assert bytes_of(work) < opening + total // 6


@needs_x265
def test_pictures_that_are_not_needed_are_not_decoded(long_clip: Path) -> None:
    """The slices of all others may be anything."""
    raw = CONTAINERS["raw"](long_clip)
    data = bytearray(raw.read_bytes())
    video = ove_codec.open(data, threads=1)
    expected = [digest(p) for p in video.read([60, 200, 399])]
    pixels = ove_codec.frames(video, [60, 200, 399])
    needed = {int(p) for i in (60, 200, 399) for p in range(video.index.packet[i] - 24, video.index.packet[i] + 1)}
    for packet in ove_codec._core.Packets(bytes(data)):
        if packet["index"] not in needed:
            begin = packet["position"] + len(packet["data"]) // 2
            end = packet["position"] + len(packet["data"]) - 8
            data[begin:end] = b"\x55" * (end - begin)
    assert [digest(p) for p in video.read([60, 200, 399])] == expected
    assert np.array_equal(ove_codec.frames(video, [60, 200, 399]), pixels)


@needs_x265
def test_bits_need_no_other_picture(long_clip: Path) -> None:
    data = bytearray(CONTAINERS["raw"](long_clip).read_bytes())
    video = ove_codec.open(data, threads=1)
    expected = [digest(p, PARSED) for p in video.read([60, 200, 399])]
    kept = {int(video.index.packet[i]) for i in (60, 200, 399)}
    for packet in ove_codec._core.Packets(bytes(data)):
        if packet["index"] not in kept:
            begin = packet["position"] + len(packet["data"]) // 2
            end = packet["position"] + len(packet["data"]) - 8
            data[begin:end] = b"\x55" * (end - begin)
    assert parsed(data, video.index, [60, 200, 399]) == expected
    with pytest.raises(ove_codec.InvalidBitstreamError):
        list(video.read([60, 200, 399], residual=False))


def test_motion_that_was_not_derived_is_not_given() -> None:
    data = long_term().bytes()
    picture = next(ove_codec._core.PictureIterator(data, residual=False, motion=False))
    for name in ("mv", "pred", "ref_poc"):
        with pytest.raises(RuntimeError, match="read the picture with motion=True"):
            getattr(picture, name)
    assert picture.bits.any()


# Video.seek and select.


@needs_x265
def test_positions(stream_folder: Path) -> None:
    video = ove_codec.open(encoded(stream_folder, "open"))
    pts = video.index.pts

    def at(seconds: float) -> int:
        return next(video.seek(pts=seconds)).index

    assert [at(t) for t in pts] == list(range(FRAMES))
    assert [at(t + 0.01) for t in pts] == list(range(FRAMES))
    assert (at(-1), at(-np.inf), at(1e9)) == (0, 0, FRAMES - 1)
    assert len(list(video.seek(pts=pts[30]))) == FRAMES - 30
    with pytest.raises(RuntimeError, match="residual=True"):
        _ = next(video.seek(index=20, residual=False)).residual
    for bad in (-1, FRAMES):
        with pytest.raises(IndexError, match=f"which has {FRAMES} pictures"):
            video.seek(index=bad)
    refused: list[dict[str, Any]] = [{}, {"index": 1, "pts": 0.1}, {"pts": float("nan")}]
    for arguments in refused:
        with pytest.raises(ValueError, match="either index, a display index, or pts"):
            video.seek(**arguments)


@needs_x265
def test_iterators_do_not_disturb_one_another(stream_folder: Path) -> None:
    video = ove_codec.open(encoded(stream_folder, "open"))
    expected = [digest(p) for p in video]
    first, second = video.seek(index=5), video.seek(index=25)
    for a, b in itertools.zip_longest(first, second):
        assert digest(a) == expected[a.index]
        assert b is None or digest(b) == expected[b.index]


@needs_x265
@pytest.mark.parametrize("kind", ["open", "closed"])
@pytest.mark.parametrize("window", [(0.2, 0.5), (0.6, 1.3), (1.5, None), (None, 0.1)])
def test_windows_of_a_selection(stream_folder: Path, kind: str, window: tuple[float | None, float | None]) -> None:
    source = encoded(stream_folder, kind)
    params: dict[str, Any] = {"num_frames": 5, "size": 56, "budget": 40}
    selection = ove_codec.select(source, start=window[0], end=window[1], **params)
    read = list(ove_codec.open(source))
    start, end = (default if w is None else w for w, default in zip(window, (0, 9), strict=True))
    assert all(start <= read[i].pts < end for i in selection.frame_ids)
    names = ("mv", "residual", "pred", "bits")
    arrays: dict[str, Any] = {name: [getattr(p, name) for p in read] for name in names}
    x, y, width, height = read[0].window
    whole = ove_codec.select_arrays(
        **arrays, types=[p.type for p in read], window=(x, y, width, height), pts=[p.pts for p in read],
        start=window[0], end=window[1], **params,
    )  # fmt: skip
    assert np.array_equal(selection.frame_ids, whole.frame_ids)
    assert np.array_equal(selection.scores, whole.scores)
    assert np.array_equal(selection.positions, whole.positions)
    tokens = ove_codec.tokenize(source, selection)
    frames = ove_codec.frames(source, selection.frame_ids, size=56)
    for row, (t, h, w) in zip(tokens.patches, tokens.positions.tolist(), strict=True):
        patch = frames[t, :, 14 * h : 14 * h + 14, 14 * w : 14 * w + 14]
        assert np.allclose(row, patch.flatten(), atol=1e-6)


@needs_x265
def test_a_source_that_changes_says_so(stream_folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "changing.mp4"
    path.write_bytes(encoded(stream_folder, "open").read_bytes())
    video = ove_codec.open(path)
    assert len(video) == FRAMES
    ffmpeg.encode(scenes.moving_scene(SIZE, 12), SIZE, "yuv420p", "keyint=3", path)

    with pytest.raises(ove_codec.Error):
        list(video.seek(index=3))
    with pytest.raises(ove_codec.Error, match="the source has changed"):
        list(video.seek(index=35))
