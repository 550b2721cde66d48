"""Canvases of windows of live streams: those that the file gives, of the same pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ove_codec
from ove_codec import _core
from ove_codec.canvases import Canvases, codec_canvases
from support.orientation import put_up
from support.pixels import encode, needs_ffmpeg
from test_live import packets_of, windows_of

pytestmark = needs_ffmpeg
SETTINGS: dict[str, Any] = {"max_pixels": 20_000, "group_size": 8, "min_group_frames": 4}
SCENE = "testsrc2=s=192x112:r=25:d=3.2"
BLACK = "drawbox=t=fill:c=black:enable='between(n,40,46)'"
STREAMS = {
    "hevc.mp4": ("-g", "15", "-vf", BLACK),
    "h264.ts": ("-c:v", "libx264", "-g", "12", "-bf", "2"),
    "anamorphic.mkv": ("-g", "20", "-vf", "setsar=4/3"),
    "ten_bit.mp4": ("-g", "15", "-pix_fmt", "yuv420p10le"),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("live")


def clip(folder: Path, name: str) -> Path:
    path = folder / name
    return path if path.exists() else encode(path, *STREAMS[name], source=SCENE)


def assert_equal(live: Canvases, offline: Canvases) -> None:
    np.testing.assert_array_equal(live.frame_ids, offline.frame_ids)
    np.testing.assert_array_equal(live.times, offline.times)
    np.testing.assert_array_equal(live.plan.block_scores, offline.plan.block_scores)
    np.testing.assert_array_equal(live.good, offline.good)
    np.testing.assert_array_equal(live.src_positions, offline.src_positions)
    np.testing.assert_array_equal(live.images, offline.images)
    assert live.fps == pytest.approx(offline.fps)
    for name in ("groups", "processed_hw", "orig_hw", "bad_frames", "readiness_sum_threshold"):
        assert live.meta[name] == offline.meta[name]


def offline(path: Path, window: ove_codec.Window, fps: float, **settings: Any) -> Canvases:
    """The canvases of what the file shows in the time of a window."""
    span: dict[str, Any] = {"start": window.start - 1e-4, "end": window.end - 1e-4}
    return codec_canvases(path, sampling="fps", sample_fps=fps, **span, **{**SETTINGS, **settings})


@pytest.mark.parametrize("name", STREAMS)
@pytest.mark.parametrize("avoid", [False, True])
def test_canvases_of_a_window_are_those_of_the_file(folder: Path, name: str, avoid: bool) -> None:
    path = clip(folder, name)
    how: dict[str, Any] = {"window": 1.2, "stride": 0.4, "fps": 12.5, "preset": "bitcost"}
    windows = list(ove_codec.stream(path, avoid_keyframes=avoid, **how))
    assert len(windows) == 6
    for window in windows:
        canvases = codec_canvases(window, **SETTINGS)
        assert len(canvases) >= 4 and canvases.images.any()
        assert_equal(canvases, offline(path, window, 12.5, avoid_keyframes=avoid))
    keys = {p.index for window in windows for p in window if p.random_access}
    assert bool(keys) != avoid
    if name == "hevc.mp4":
        assert not all(codec_canvases(window, **SETTINGS).good.all() for window in windows)


@pytest.mark.parametrize(("rotation", "mirrored"), [(90, False), (180, True)])
def test_pushed_packets_of_turned_pictures(folder: Path, rotation: int, mirrored: bool) -> None:
    turned = put_up(clip(folder, "hevc.mp4"), folder / f"turned_{rotation}.mp4", rotation, mirrored)
    how: dict[str, Any] = {"rotation": rotation, "mirrored": mirrored, "window": 1.2, "fps": 12.5, "preset": "bitcost"}
    windows = windows_of(*packets_of(turned), **how)
    assert len(windows) == 3
    for window in windows:
        canvases = codec_canvases(window, **SETTINGS)
        assert canvases.fps == pytest.approx(25)  # measured
        assert_equal(canvases, offline(turned, window, 12.5, avoid_keyframes=False))


@pytest.mark.parametrize("score", ["residual", "motion+residual"])
def test_canvases_by_heat(folder: Path, score: str) -> None:
    path = clip(folder, "h264.ts")
    for window in ove_codec.stream(path, window=1.2, fps=12.5):
        canvases = codec_canvases(window, score=score, **SETTINGS)
        assert_equal(canvases, offline(path, window, 12.5, score=score, avoid_keyframes=False))


def test_nothing_is_decoded_again(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    windows = list(ove_codec.stream(clip(folder, "hevc.mp4"), window=1.0, stride=0.25, fps=12.5, preset="bitcost"))
    for name in ("PictureIterator", "FrameIterator", "VideoIndex", "place_blocks", "LiveStream"):
        monkeypatch.delattr(_core, name)
    assert all(len(codec_canvases(window, **SETTINGS)) >= 4 for window in windows)
    shared = [{id(window.frame(int(i))) for i in window.sampled} for window in windows[:2]]
    assert len(shared[0] & shared[1]) >= 9  # pictures of both windows


def test_a_picture_behind_a_key_frame_takes_its_place(folder: Path) -> None:
    path = encode(folder / "intra.ts", "-g", "1", source=SCENE)
    ids = [p.index for window in ove_codec.stream(path, window=1.2, fps=12.5, avoid_keyframes=True) for p in window]
    assert ids == list(range(1, 80, 2))  # a key frame behind a key frame is sampled
    every = [p.index for window in ove_codec.stream(path, window=1.2, fps=25, avoid_keyframes=True) for p in window]
    assert every == ids


@pytest.mark.parametrize(
    ("stream", "change", "message"),
    [
        ({}, {"num_frames": 8, "start": 0.5}, "num_frames, start: a window has its sampled pictures"),
        ({}, {"avoid_keyframes": False}, "avoid_keyframes: a window has"),
        ({}, {"mode": "legacy"}, "mode='legacy' needs a file; of a window take mode='default'"),
        ({}, {"bitcost_grid": "sub"}, "bitcost_grid='sub' needs a file"),
        ({}, {"transcode": True}, "transcode: a window is decoded already"),
        ({}, {"score": "residual"}, "needs the residual: make the stream with residual_weight above 0"),
        ({}, {"threshold_mode": "clamped_sqrt_bpppf"}, "pass threshold"),
        ({"pixels": False}, {}, "make it with pixels=True"),
    ],
)
def test_what_a_window_has_not_is_told(
    folder: Path, stream: dict[str, Any], change: dict[str, Any], message: str
) -> None:
    window = next(ove_codec.stream(clip(folder, "hevc.mp4"), window=1.0, fps=12.5, preset="bitcost", **stream))
    with pytest.raises(ValueError, match=message):
        codec_canvases(window, **{**SETTINGS, **change})
