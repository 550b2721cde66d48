"""Selections from encoded videos: what is read of them, against the NumPy twin fed with every picture."""

import io
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ove_codec
import saliency_twin as twin
from ove_codec import _core
from support import ffmpeg, scenes
from support.annexb import nal_units
from support.hevc.random_stream import RandomStream

pytestmark = pytest.mark.skipif(not ffmpeg.has_libx265(), reason="needs ffmpeg with libx265")

SIZE = (90, 74)  # the coded picture has 96x80 samples
GRID: dict[str, Any] = {"size": 56, "patch_size": 14}


def encoded(
    folder: Path, name: str, *, size: tuple[int, int] = SIZE, pixel_format: str = "yuv420p", frames: int = 13
) -> Path:
    path = folder / name
    if not path.exists():
        scene = scenes.moving_scene(size, frames, pixel_format, seed=5)
        ffmpeg.encode(scene, size, pixel_format, "bframes=3:keyint=8:open-gop=1:ref=3:ctu=32:crf=24", path)
    return path


def turned(path: Path, degrees: int) -> Path:
    """The same video with a rotation of so many degrees clockwise in its container."""
    out = path.with_name(f"turned_{degrees}_{path.name}")
    if not out.exists():
        try:
            ffmpeg.run(["-v", "error", "-display_rotation", str(-degrees), "-i", path, "-c", "copy", out])
        except RuntimeError:  # before FFmpeg 6
            tag = ["-metadata:s:v", f"rotate={-degrees % 360}"]
            ffmpeg.run(["-v", "error", "-i", path, "-c", "copy", *tag, "-y", out])
    return out


def arrays_of(picture: Any) -> dict[str, Any]:
    names = ("mv", "pred", "ref_poc", "poc", "residual", "bits", "ctb_size", "bit_depth")
    return {name: getattr(picture, name) for name in names} | {"intra": picture.type == "I"}


def counted_pictures(selection: ove_codec.Selection, pictures: list[Any]) -> list[list[Any]]:
    """Of the pictures of a video, what each sampled one counts."""
    ids = selection.frame_ids.tolist()
    if selection.params["accumulate"] == "none":
        return [[pictures[i]] for i in ids]
    return [pictures[first + 1 : i + 1] for first, i in zip([ids[0] - 1, *ids], ids, strict=False)]


@pytest.mark.parametrize("pixel_format", ["yuv420p", "yuv420p10le"])
@pytest.mark.parametrize("preset", ove_codec.PRESETS)
@pytest.mark.parametrize("vector", ["l0_else_l1", "displacement"])
def test_scores_are_those_of_the_pictures(stream_folder: Path, pixel_format: str, preset: str, vector: Any) -> None:
    path = encoded(stream_folder, f"selection_{pixel_format}.mp4", pixel_format=pixel_format)
    selection = ove_codec.select(path, preset=preset, num_frames=6, budget=50, vector=vector)
    assert selection.frame_ids.tolist() == np.linspace(0, 12, 6).astype(int).tolist()
    pictures = [arrays_of(picture) for picture in ove_codec.open(path)]
    counted = counted_pictures(selection, pictures)
    for t in range(len(selection.frame_ids)):
        expected = twin.canvas_heat(counted[t], (0, 0, *SIZE), 0, selection.params)
        tolerance = 14 * 14 if preset == "probe" else 0.01
        sums = twin.patch_sums(expected, selection.params["patch_size"])
        np.testing.assert_allclose(selection.scores[t], sums, rtol=0, atol=tolerance)
    np.testing.assert_array_equal(selection.heat(3), list(selection.heats())[3])
    assert selection.geometry.window == (0, 0, *SIZE)
    assert (selection.geometry.source_width, selection.geometry.source_height) == SIZE


@pytest.mark.parametrize("preset", ove_codec.PRESETS)
def test_accumulated_scores_are_those_of_all_pictures(stream_folder: Path, preset: str) -> None:
    path = encoded(stream_folder, "selection_yuv420p.mp4")
    params: dict[str, Any] = {"accumulate": "sum", "intra_blocks": "max", "vector": "displacement", "sampling": "bits"}
    selection = ove_codec.select(path, preset=preset, num_frames=4, budget=50, percentile_scope="frame", **params)
    index = ove_codec.open(path).index
    intra = index.type == "I"
    assert selection.frame_ids.tolist() == twin.along_sizes(index.packet_bytes.tolist(), intra.tolist(), 4)
    pictures = [arrays_of(picture) for picture in ove_codec.open(path)]
    for t, counted in enumerate(counted_pictures(selection, pictures)):
        expected = twin.canvas_heat(counted, (0, 0, *SIZE), 0, selection.params)
        sums = twin.patch_sums(expected, selection.params["patch_size"])
        np.testing.assert_allclose(selection.scores[t], sums, rtol=0, atol=14 * 14 if preset == "probe" else 0.01)
    np.testing.assert_array_equal(selection.heat(2), list(selection.heats())[2])


def test_packet_sizes_are_those_of_the_file(stream_folder: Path) -> None:
    av = pytest.importorskip("av", reason="packets are counted by PyAV")
    path = encoded(stream_folder, "selection_yuv420p.mp4")
    with av.open(str(path)) as container:
        sizes = [packet.size for packet in container.demux(video=0) if packet.size]
    index = ove_codec.open(path).index
    assert index.packet_bytes.dtype == np.int64
    assert index.packet_bytes.tolist() == [sizes[packet] for packet in index.packet]


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_rotation_turns_scores_and_heat(stream_folder: Path, degrees: int) -> None:
    upright = encoded(stream_folder, "selection_yuv420p.mp4")
    turned_path = turned(upright, degrees)
    params: dict[str, Any] = {**GRID, "num_frames": 4, "budget": 30, "resize": "stretch"}
    a, b = ove_codec.select(upright, **params), ove_codec.select(turned_path, **params)
    if b.geometry.rotation != degrees:
        pytest.skip("this ffmpeg does not write a rotation")
    assert (b.geometry.source_width, b.geometry.source_height) == (SIZE if degrees == 180 else SIZE[::-1])
    for t in range(4):
        np.testing.assert_allclose(b.scores[t], np.rot90(a.scores[t], -degrees // 90), rtol=0, atol=1e-3)
        np.testing.assert_allclose(b.heat(t), np.rot90(a.heat(t), -degrees // 90), rtol=0, atol=1e-5)


def test_every_kind_of_source_gives_the_same(stream_folder: Path) -> None:
    path = encoded(stream_folder, "selection_yuv420p.mp4")
    params: dict[str, Any] = {**GRID, "num_frames": 4, "budget": 30}
    expected = ove_codec.select(path, **params)
    data = path.read_bytes()
    with path.open("rb") as file:
        for source in (str(path), data, io.BytesIO(data), file, ove_codec.open(path)):
            selection = ove_codec.select(source, threads=1, **params)
            np.testing.assert_array_equal(selection.scores, expected.scores)
            np.testing.assert_array_equal(selection.positions, expected.positions)
            np.testing.assert_array_equal(selection.heat(2), expected.heat(2))


def test_time_windows(stream_folder: Path) -> None:
    path = encoded(stream_folder, "selection_yuv420p.mp4")
    pts = ove_codec.open(path).index.pts
    selection = ove_codec.select(path, start=pts[4], end=pts[9], **GRID, budget=30)
    assert selection.frame_ids.tolist() == [4, 5, 6, 7, 8]


def test_saved_selections_find_their_video(stream_folder: Path, tmp_path: Path) -> None:
    path = encoded(stream_folder, "selection_yuv420p.mp4")
    selection = ove_codec.select(path, "paper", **GRID, num_frames=3, tau=0.4)
    selection.save(tmp_path / "selection.npz")
    loaded = ove_codec.Selection.load(tmp_path / "selection.npz")
    np.testing.assert_array_equal(loaded.heat(1), selection.heat(1))
    other = ove_codec.Selection.load(tmp_path / "selection.npz", source=path.read_bytes())
    np.testing.assert_array_equal(other.heat(1), selection.heat(1))


def test_a_change_of_size_is_named(stream_folder: Path) -> None:
    first = encoded(stream_folder, "selection_first.h265", frames=4).read_bytes()
    second = encoded(stream_folder, "selection_second.h265", size=(120, 64), frames=4).read_bytes()
    with pytest.raises(ove_codec.UnsupportedStreamError, match="96x80 to 120x64"):
        ove_codec.select(first + second, **GRID)
    assert ove_codec.select(first + second, frame_ids=[0, 3], **GRID).geometry.source_height == 74
    assert ove_codec.select(first + second, frame_ids=[4, 6], **GRID).geometry.source_height == 64


def test_what_moves_is_kept(stream_folder: Path) -> None:
    """A square that moves over a still background: the kept patches of later pictures lie about its way."""
    width, height, frames = 224, 224, 12
    still = scenes.smooth_noise(np.random.default_rng(0), height, width)
    square = scenes.smooth_noise(np.random.default_rng(1), 42, 42)
    pictures = []
    for t in range(frames):
        luma = still.copy()
        luma[84:126, 28 + 10 * t : 70 + 10 * t] = square
        pictures.append((16 + 219 * luma).astype(np.uint8).tobytes() + bytes([128]) * (width * height // 2))
    path = ffmpeg.encode(
        b"".join(pictures), (width, height), "yuv420p", "bframes=2:crf=20", stream_folder / "square.mp4"
    )
    selection = ove_codec.select(path, "paper", num_frames=frames, budget=256 + 60)
    later = selection.positions[256:]
    assert (later[:, 0] > 0).all() and len(later) == 60
    rows, columns = later[:, 1] * 14, later[:, 2] * 14
    starts = 28 + 10 * later[:, 0]
    on_its_way = (rows > 84 - 28) & (rows < 126 + 14) & (columns > starts - 42) & (columns < starts + 42 + 28)
    assert on_its_way.mean() > 0.9


@pytest.mark.threads
@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("scope", ["frame", "clip"])
@pytest.mark.parametrize("preset", ove_codec.PRESETS)
def test_scores_of_the_decoders_threads_are_those_of_one_picture_after_the_other(
    stream_folder: Path, preset: str, scope: Any, threads: int
) -> None:
    path = encoded(stream_folder, "selection_yuv420p.mp4")
    video = ove_codec.open(path, threads=threads)
    selection = ove_codec.select(
        video, preset, num_frames=9, percentile_scope=scope, i_pictures="as_coded", accumulate="none"
    )
    geometry = selection.geometry
    scorer = _core.Scorer(selection.params, geometry.window, geometry.rotation)
    if selection.scales is not None:
        scorer.set_clip_scales(selection.scales)
    residual = selection.params["residual_weight"] > 0
    for scores, picture in zip(selection.scores, video.read(selection.frame_ids, residual=residual), strict=True):
        np.testing.assert_array_equal(scores, scorer.score(picture))


def test_bits_need_no_other_picture(stream_folder: Path) -> None:
    """The pictures that the chosen ones refer to are not read: what is broken in them harms no map of bits."""
    path = encoded(stream_folder, "bits_alone.h265")
    whole = ove_codec.open(path)
    b, p = 10, 12
    assert (whole.index.type[b], whole.index.type[p]) == ("B", "P")
    params: dict[str, Any] = {"start": whole.index.pts[b], "end": whole.index.pts[p - 1], "num_frames": 1, **GRID}
    data = path.read_bytes()
    (unit,) = (unit for unit in nal_units(data) if len(unit) + 4 == whole.index.packet_bytes[p])
    broken = data.replace(unit, unit[:40] + b"\xff" * (len(unit) - 40))
    scores = ove_codec.select(whole, "bitcost", **params).scores
    np.testing.assert_array_equal(ove_codec.select(broken, "bitcost", **params).scores, scores)
    with pytest.raises(ove_codec.InvalidBitstreamError):
        ove_codec.select(broken, "paper", **params)


def test_a_signal_ends_a_selection() -> None:
    """Measured in CPU time, which other processes do not change."""

    class Alarm(Exception):
        pass

    def ring(*_: object) -> None:
        raise Alarm

    video = ove_codec.open(RandomStream(3).data * 1500, threads=2)
    params: dict[str, Any] = {"num_frames": len(video), "budget": 1}
    start = time.process_time()
    ove_codec.select(video, **params)
    whole = time.process_time() - start
    before = signal.signal(signal.SIGPROF, ring)
    try:
        start = time.process_time()
        signal.setitimer(signal.ITIMER_PROF, whole / 10)
        with pytest.raises(Alarm):
            ove_codec.select(video, **params)
        assert time.process_time() - start < 0.7 * whole  # Python sees the signal at the end in any case
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)
