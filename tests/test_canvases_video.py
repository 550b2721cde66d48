"""Canvases of videos: pixels against a NumPy twin, frames that show nothing, rotation, modes, and what is refused."""

from __future__ import annotations

import io
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ove_codec
from ove_codec import _core
from ove_codec._pictures import VideoPictures
from ove_codec.canvases import Canvases, codec_canvases, plan
from ove_codec.canvases.config import CanvasConfig
from ove_codec.canvases.scoring import cell_costs
from support import canvas_twin, ffmpeg
from support.orientation import ORIENTATIONS, put_up, shown
from support.pixels import av_pictures, encode, needs_ffmpeg

pytestmark = needs_ffmpeg
SMALL: dict[str, Any] = {"num_frames": 24, "group_size": 12, "max_pixels": 20_000}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("canvases")


@pytest.fixture(scope="module", params=["libx265", "libx264"])
def clip(request: pytest.FixtureRequest, folder: Path) -> Path:
    return encode(folder / f"{request.param}.mp4", "-g", "10", "-pix_fmt", "yuv420p", codec=request.param)


def frames_of(path: Path, size: tuple[int, int]) -> list[np.ndarray]:
    return [canvas_twin.area_frame(planes, options, *size) for planes, options in av_pictures(path)]


def assert_shows(canvases: Canvases, frames: list[np.ndarray]) -> None:
    """Every patch of every canvas is what its position says of the frames; empty ones are black."""
    patch = canvases.plan.config.patch
    count, height, width, _ = canvases.images.shape
    rows, columns = height // patch, width // patch
    places = canvases.src_positions.reshape(count, rows, columns, 3)
    for canvas, row, column in np.ndindex(count, rows, columns):
        shown = canvases.images[canvas, row * patch : (row + 1) * patch, column * patch : (column + 1) * patch]
        t, h, w = places[canvas, row, column]
        if t < 0:
            assert not shown.any()
            continue
        wanted = frames[t][h * patch : (h + 1) * patch, w * patch : (w + 1) * patch]
        np.testing.assert_allclose(shown, wanted, rtol=0, atol=0.51)


def test_frames_are_sampled_from_a_span_of_time(clip: Path) -> None:
    whole = codec_canvases(clip, **SMALL)
    part = codec_canvases(clip, **{**SMALL, "num_frames": 12}, start=0.4, end=1.0)
    assert part.times.min() >= 0.4 and part.times.max() < 1.0 and len(part.frame_ids) == 12
    np.testing.assert_allclose(part.times, ove_codec.open(clip).index.pts[part.frame_ids])
    assert_shows(part, frames_of(clip, whole.plan.size))
    with pytest.raises(ValueError, match=r"no frame is displayed from start=9\.0 to end=None"):
        codec_canvases(clip, start=9.0)


def test_canvases_show_what_their_positions_say(clip: Path) -> None:
    canvases = codec_canvases(clip, **SMALL)
    assert canvases.images.dtype == np.uint8 and canvases.src_positions.dtype == np.int32
    assert len(canvases) == canvases.plan.num_canvases == 4 * len(canvases.plan.groups) > 4
    assert canvases.fps == 25 and canvases.good.all()
    video = ove_codec.open(clip)
    np.testing.assert_array_equal(canvases.times, video.index.pts[canvases.frame_ids])
    assert_shows(canvases, frames_of(clip, canvases.plan.size))


def test_the_plan_is_that_of_the_bits(clip: Path) -> None:
    canvases = codec_canvases(clip, **SMALL)
    pictures = VideoPictures(clip)
    bits, _ = cell_costs(pictures, canvases.frame_ids, CanvasConfig())
    made = plan(bits, canvases.frame_ids, size=(112, 192), **SMALL)
    np.testing.assert_array_equal(canvases.src_positions, made.positions)
    keys = np.flatnonzero(pictures.video.index.random_access)
    assert keys.tolist() == [0, 10, 20] and not np.isin(keys, canvases.frame_ids).any()


def test_sources_and_threads_give_the_same(clip: Path) -> None:
    wanted = codec_canvases(clip, threads=1, **SMALL)
    data = clip.read_bytes()
    for source in (str(clip), data, io.BytesIO(data), ove_codec.open(clip, threads=2)):
        made = codec_canvases(source, threads=2, **SMALL)
        np.testing.assert_array_equal(made.images, wanted.images)
        np.testing.assert_array_equal(made.src_positions, wanted.src_positions)
        assert made.meta == wanted.meta


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("up.mp4", ["-vf", "scale=60:44"]),  # smaller than a canvas
        ("bt709.mp4", ["-vf", "scale=out_color_matrix=bt709", "-colorspace", "bt709"]),
        ("deep.mp4", ["-pix_fmt", "yuv420p10le"]),
        ("wide.mp4", ["-pix_fmt", "yuv444p", "-color_range", "pc"]),
        ("odd.mkv", ["-vf", "scale=182:102", "-pix_fmt", "yuv444p"]),
    ],
)
def test_pixels_of_other_formats(folder: Path, name: str, arguments: list[str]) -> None:
    path = encode(folder / name, *arguments)
    canvases = codec_canvases(path, num_frames=10, group_size=10, max_pixels=15_000, min_group_frames=4)
    assert_shows(canvases, frames_of(path, canvases.plan.size))


@pytest.mark.parametrize(("rotation", "mirrored"), ORIENTATIONS[1:])
def test_orientation_is_applied(folder: Path, rotation: int, mirrored: bool) -> None:
    plain = encode(folder / "plain.mp4", "-g", "10")
    path = put_up(plain, folder / f"turned{rotation}{mirrored}.mp4", rotation, mirrored)
    upright = codec_canvases(plain, **SMALL)
    canvases = codec_canvases(path, **SMALL)
    assert canvases.plan.size == (upright.plan.size[::-1] if rotation % 180 else upright.plan.size)
    assert_shows(canvases, frames_of(path, canvases.plan.size))
    # The blocks that stand for the same places score the same.
    down, across = (side // 28 for side in upright.plan.size)
    wanted = shown(upright.plan.block_scores.reshape(-1, down, across), rotation, mirrored)
    np.testing.assert_allclose(canvases.plan.block_scores, wanted.reshape(len(wanted), -1), rtol=1e-6)


def test_frames_that_show_nothing_are_left_out(folder: Path) -> None:
    black = "drawbox=t=fill:c=black:enable='between(n,0,4)+between(n,12,13)'"
    path = encode(folder / "black.mp4", "-vf", black, "-bf", "0")
    canvases = codec_canvases(path, avoid_keyframes=False, **SMALL)
    dark = [frame.max() < 20 for frame in frames_of(path, canvases.plan.size)]
    assert sum(dark) == 7
    np.testing.assert_array_equal(canvases.good, ~np.array(dark)[canvases.frame_ids])
    assert canvases.meta["bad_frames"] == [int(i) for i in canvases.frame_ids[~canvases.good]]
    assert not set(canvases.src_positions[:, 0]) & set(np.flatnonzero(dark))
    first = canvases.plan.groups[0]
    assert canvases.frame_ids[first.anchor] == 5  # the first good one
    assert_shows(canvases, frames_of(path, canvases.plan.size))
    bits, _ = cell_costs(VideoPictures(path), canvases.frame_ids, CanvasConfig())
    made = plan(bits, canvases.frame_ids, size=(112, 192), good=canvases.good, **SMALL)
    np.testing.assert_array_equal(canvases.src_positions, made.positions)


def test_a_clip_without_anything_to_see_gives_its_anchors(folder: Path) -> None:
    path = encode(folder / "dark.mp4", source="color=black:s=192x112:r=25:d=0.8")
    canvases = codec_canvases(path, **SMALL)
    assert not canvases.good.any()
    assert np.count_nonzero(canvases.src_positions[:, 0] >= 0) == len(canvases.src_positions) / 4


@pytest.mark.parametrize("frames", [1, 2, 5, 7])
def test_short_clips_are_one_group(folder: Path, frames: int) -> None:
    path = encode(folder / f"short{frames}.mp4", "-frames:v", str(frames))
    canvases = codec_canvases(path)
    assert [group[:3] for group in canvases.plan.groups] == [(0, frames, "short_clip")]
    shown = canvases.src_positions[:, 0].reshape(4, -1)
    np.testing.assert_array_equal((shown >= 0).all(1), np.arange(4) < frames)
    assert_shows(canvases, frames_of(path, canvases.plan.size))


def test_legacy_has_the_package_s_maps(folder: Path, clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    canvases = codec_canvases(clip, mode="legacy", **SMALL)
    pictures = VideoPictures(clip)
    bits, _ = cell_costs(pictures, canvases.frame_ids, CanvasConfig(mode="legacy"))
    exact, _ = cell_costs(pictures, canvases.frame_ids, CanvasConfig())
    extra = bits.shape[2] - exact.shape[2]
    assert extra == ("x264" in clip.name) and not bits[:, :, exact.shape[2] :].any()
    np.testing.assert_array_equal(canvases.times, canvases.frame_ids / 25)
    monkeypatch.setenv("OVE_CODEC_CANVAS_MODE", "legacy")
    np.testing.assert_array_equal(codec_canvases(clip, **SMALL).src_positions, canvases.src_positions)
    assert codec_canvases(clip, mode="default", **SMALL).meta["mode"] == "default"


@pytest.mark.parametrize("score", ["motion+residual", "residual", "bitcost", "ove"])
def test_other_scores(clip: Path, score: str) -> None:
    canvases = codec_canvases(clip, score=score, **SMALL)
    assert canvases.meta["score"] == score
    assert_shows(canvases, frames_of(clip, canvases.plan.size))
    assert not np.array_equal(canvases.plan.block_scores, codec_canvases(clip, **SMALL).plan.block_scores)


def test_times_of_a_variable_rate(folder: Path) -> None:
    av = pytest.importorskip("av")
    path = encode(folder / "variable.mkv", "-vf", "setpts='(N+floor(N/8)*6)/25/TB'", "-fps_mode", "passthrough")
    canvases = codec_canvases(path, avoid_keyframes=False, **SMALL)
    with av.open(str(path)) as container:
        times = np.array([frame.time for frame in container.decode(video=0)])
    np.testing.assert_allclose(canvases.times, times[canvases.frame_ids], atol=1e-6)
    assert np.abs(canvases.times - canvases.frame_ids / canvases.fps).max() > 0.2


def test_other_codecs_need_transcoding(folder: Path) -> None:
    path = encode(folder / "old.mp4", codec="mpeg4")
    with pytest.raises(ove_codec.UnsupportedStreamError, match=r"mpeg4.*no bits.*ove_codec\.transcode"):
        codec_canvases(path)
    canvases = codec_canvases(path, transcode=True, **SMALL)
    assert canvases.images.any()
    by_motion = codec_canvases(path, score="motion", **SMALL)  # which libavcodec exports
    assert_shows(by_motion, frames_of(path, by_motion.plan.size))


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"score": "heat"}, ValueError, "score must be 'bits', 'motion'.*not 'heat'"),
        ({"mode": "old"}, ValueError, "mode must be 'default' or 'legacy', not 'old'"),
        ({"target_canvas": 30}, ValueError, "target_canvas must be a multiple of images_per_group.*30 and 4"),
        ({"canvases": 3}, TypeError, "unknown setting canvases"),
    ],
)
def test_bad_settings_are_told(clip: Path, change: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        codec_canvases(clip, **change)


def test_no_video_is_told(tmp_path: Path) -> None:
    path = tmp_path / "text.mp4"
    path.write_bytes(b"no video at all")
    with pytest.raises(ove_codec.DecodeError, match=r"text\.mp4"):
        codec_canvases(path)


def test_sound_alone_is_told(folder: Path) -> None:
    path = folder / "sound.mp4"
    ffmpeg.run(["-f", "lavfi", "-i", "sine=d=1", "-c:a", "aac", path])
    with pytest.raises(ove_codec.DecodeError, match=r"sound\.mp4: has sound only"):
        codec_canvases(path)


def test_unknown_codecs_are_told(folder: Path) -> None:
    path = encode(folder / "lossless.mkv", codec="ffv1")
    with pytest.raises(ove_codec.UnsupportedStreamError, match=r"lossless\.mkv: its codec is ffv1.*transcode"):
        codec_canvases(path)


def test_broken_files_are_told(folder: Path, clip: Path) -> None:
    data = clip.read_bytes()
    with pytest.raises(ove_codec.DecodeError, match=r"the index .* is missing"):
        codec_canvases(data[: len(data) // 2])
    start, size = data.index(b"mdat") + len(data) // 8, len(data) // 2
    with pytest.raises(ove_codec.Error, match="near byte"):
        codec_canvases(data[:start] + b"\xff" * size + data[start + size :], **SMALL)


def test_a_claim_of_more_frames_than_memory_holds_is_told(folder: Path) -> None:
    path = encode(folder / "claim.mkv", "-pix_fmt", "yuv420p", codec="libx264")
    head, tail = path.read_bytes().split(b"\x44\x89\x88", 1)  # Duration, in Matroska's milliseconds
    path.write_bytes(head + b"\x44\x89\x88" + struct.pack(">d", 1e14) + tail[8:])
    assert len(codec_canvases(path, **SMALL).frame_ids) == SMALL["num_frames"]
    with pytest.raises(ove_codec.DecodeError, match=r"claims [0-9]{10,} frames and has .*mode='default'"):
        codec_canvases(path, mode="legacy", **SMALL)


def test_placements_are_checked(clip: Path) -> None:
    video = ove_codec.open(clip)
    images = np.zeros((1, 56, 84, 3), np.uint8)
    request: dict[str, Any] = {"packets": video.index.packet[:1], "images": images, "side": 28, "index": video.index}
    for row in ([0, 3, 0, 0, 0], [0, 0, 1, 0, 0], [0, 0, 0, 2, 0], [-1, 0, 0, 0, 0]):
        with pytest.raises(ValueError, match="outside the frame or the canvases"):
            _core.place_blocks(clip, starts=np.array([0, 1]), placements=np.array([row]), **request)
    with pytest.raises(ValueError, match="starts must rise"):
        _core.place_blocks(clip, starts=np.array([0, 2]), placements=np.zeros((1, 5), np.int32), **request)
    with pytest.raises(ValueError, match="whole number of blocks"):
        _core.place_blocks(
            clip, starts=np.array([0, 1]), placements=np.zeros((1, 5), np.int32), **{**request, "side": 27}
        )


def both_costs(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Exact and legacy costs of every picture, (pictures, cells) in raster scan, and without the added column."""
    pictures = VideoPictures(path)
    every = np.arange(len(pictures.video))
    exact = cell_costs(pictures, every, CanvasConfig())[0]
    legacy = cell_costs(pictures, every, CanvasConfig(mode="legacy"))[0][:, :, : exact.shape[2]]
    return exact.reshape(len(every), -1), legacy.reshape(len(every), -1)


def bytes_gone_on(exact: np.ndarray) -> np.ndarray:
    """Bits in whole bytes, by where the arithmetic decoder is behind the 9 bits that it begins with."""
    ends = np.maximum(np.cumsum(exact, 1) - 9, 0) // 8
    return 8 * np.diff(ends, axis=1, prepend=0)


def test_whole_bytes_of_hevc(folder: Path) -> None:
    """Without SAO, and with one substream a picture, only the end of a slice is counted in another way."""
    path = encode(folder / "bytes.mp4", "-x265-params", "log-level=none:sao=0:wpp=0:ctu=16", "-pix_fmt", "yuv420p")
    exact, legacy = both_costs(path)
    np.testing.assert_array_equal(legacy[:, :-1], bytes_gone_on(exact)[:, :-1])
    assert legacy[:, :-1].any() and not (legacy % 8).any()


def test_whole_bytes_leave_sao_out(folder: Path) -> None:
    path = encode(folder / "sao.mp4", "-x265-params", "log-level=none:sao=1:wpp=0:ctu=16", "-pix_fmt", "yuv420p")
    exact, legacy = both_costs(path)
    gone_on = bytes_gone_on(exact)
    assert (legacy <= gone_on + 8).all() and legacy.sum() < gone_on.sum()


def test_whole_bytes_of_h264(folder: Path) -> None:
    """end_of_slice_flag takes a bit now and then, which is not counted: a byte less where it is the last of one."""
    cabac = encode(folder / "cabac.mp4", "-pix_fmt", "yuv420p", "-threads", "1", codec="libx264")
    exact, legacy = both_costs(cabac)
    less = bytes_gone_on(exact)[:, :-1] - legacy[:, :-1]
    assert set(np.unique(less)) == {0, 8} and less.astype(bool).mean() < 0.02
    at_border = (np.cumsum(exact, 1) - 9)[:, :-1] % 8 == 0
    assert at_border[less == 8].all()
    cavlc = encode(folder / "cavlc.mp4", "-profile:v", "baseline", "-pix_fmt", "yuv420p", codec="libx264")
    exact, legacy = both_costs(cavlc)
    np.testing.assert_array_equal(exact, legacy)


def block_costs(path: Path, mode: str) -> tuple[np.ndarray, np.ndarray, list[_core.Picture]]:
    """Costs of all pictures by 4x4 block, and by CTU or macroblock."""
    pictures = VideoPictures(path)
    every = np.arange(len(pictures.video))
    fine = cell_costs(pictures, every, CanvasConfig(mode=mode, bitcost_grid="sub"))[0]
    coarse = cell_costs(pictures, every, CanvasConfig(mode=mode))[0]
    return fine, coarse, list(pictures.video)


@pytest.mark.parametrize("mode", ["default", "legacy"])
def test_bits_of_4x4_blocks_of_hevc(folder: Path, mode: str) -> None:
    """They add up to those of their CTUs, those beside the picture's edge too, and are even over skipped units."""
    arguments = "-vf", "scale=200:136", "-pix_fmt", "yuv420p", "-x265-params", "log-level=none:bframes=2"
    path = encode(folder / f"fine-{mode}.mp4", *arguments)
    fine, coarse, pictures = block_costs(path, mode)
    assert fine.dtype == np.float32 and fine.shape == (len(pictures), 34, 50) and (fine >= 0).all()
    side = pictures[0].ctb_size // 4
    sums = np.add.reduceat(fine.astype(np.float64), range(0, 34, side), 1)
    np.testing.assert_allclose(np.add.reduceat(sums, range(0, 50, side), 2), coarse, rtol=1e-5, atol=1e-3)
    skipped = 0
    for costs, picture in zip(fine, pictures, strict=True):
        for y, x in np.argwhere(picture.skip):
            size = picture.cu_size[y, x] // 4
            corner = costs[y // size * size, x // size * size]
            assert costs[y, x] == pytest.approx(corner, rel=1e-5)
            skipped += 1
    assert skipped and np.unique(fine[0]).size > 100  # where an I picture takes its bits differs within CTUs


@pytest.mark.parametrize("mode", ["default", "legacy"])
@pytest.mark.parametrize("interlaced", ["", "interlaced=1"])
def test_bits_of_4x4_blocks_of_h264(folder: Path, mode: str, interlaced: str) -> None:
    """Those of a macroblock are spread evenly, and legacy mode adds no column."""
    path = encode(
        folder / f"fine264{mode}{interlaced}.mp4", "-pix_fmt", "yuv420p", "-x264-params", interlaced, codec="libx264"
    )
    fine, coarse, _ = block_costs(path, mode)
    coarse = coarse[:, :, : fine.shape[2] // 4]
    np.testing.assert_array_equal(fine, np.repeat(np.repeat(coarse / 16, 4, 1), 4, 2).astype(np.float32))


def test_canvases_by_4x4_blocks(clip: Path) -> None:
    canvases = codec_canvases(clip, bitcost_grid="sub", **SMALL)
    bits, _ = cell_costs(VideoPictures(clip), canvases.frame_ids, CanvasConfig(bitcost_grid="sub"))
    made = plan(bits, canvases.frame_ids, size=(112, 192), **SMALL)
    np.testing.assert_array_equal(canvases.src_positions, made.positions)
    assert_shows(canvases, frames_of(clip, canvases.plan.size))
    with pytest.raises(ValueError, match="bitcost_grid must be 'adaptive' or 'sub', not 'mb'"):
        codec_canvases(clip, bitcost_grid="mb")
