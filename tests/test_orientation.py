"""All eight orientations of a display matrix, in pixels, heat, patches and what is written."""

from __future__ import annotations

import subprocess
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import ove_codec
from ove_codec import _core
from support.orientation import ORIENTATIONS, put_up, shown
from support.pixels import FFMPEG, encode, needs_ffmpeg
from test_tokens import check_clip

pytestmark = needs_ffmpeg
each = pytest.mark.parametrize(("rotation", "mirrored"), ORIENTATIONS)
SCENE = "testsrc2=s=160x96:r=25:d=0.4"


@pytest.fixture(scope="module", params=["hevc", "h264"])
def upright(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp(request.param) / "upright.mp4"
    encoder = "libx265" if request.param == "hevc" else "libx264"
    return encode(path, "-pix_fmt", "yuv444p", "-c:v", encoder, "-bf", "2", source=SCENE)


def autorotated(path: Path) -> np.ndarray:
    """Pictures (T, 3, H, W) as the ffmpeg program shows them."""
    info = _core.stream_info(path)
    width, height = info["width"], info["height"]
    if info["rotation"] % 180:
        width, height = height, width
    command: list[Any] = [FFMPEG, "-v", "error", "-i", path, "-f", "rawvideo", "-pix_fmt", "rgb24", "-"]
    raw = subprocess.run(command, capture_output=True, check=True).stdout
    return np.frombuffer(raw, np.uint8).reshape(-1, height, width, 3).transpose(0, 3, 1, 2)


@each
def test_pixels(upright: Path, tmp_path: Path, rotation: int, mirrored: bool) -> None:
    path = put_up(upright, tmp_path / "turned.mp4", rotation, mirrored)
    video = ove_codec.open(path)
    assert (video.info["rotation"], video.info["mirrored"]) == (rotation, mirrored)
    first = next(iter(video))
    assert (first.rotation, first.mirrored) == (rotation, mirrored)
    seen = ove_codec.frames(path, resize="native", normalize=False).numpy()
    np.testing.assert_array_equal(
        seen, shown(ove_codec.frames(upright, resize="native", normalize=False), rotation, mirrored)
    )
    right = autorotated(path)
    assert seen.shape == right.shape
    assert np.abs(seen.astype(int) - right).max() <= 3
    check_clip(path, "crop")


@each
def test_heat_scores_and_patches(upright: Path, tmp_path: Path, rotation: int, mirrored: bool) -> None:
    path = put_up(upright, tmp_path / "turned.mp4", rotation, mirrored)
    options: dict[str, Any] = {"num_frames": 4, "budget": 40, "resize": "native", "patch_size": 16}
    flat, turned = ove_codec.select(upright, **options), ove_codec.select(path, **options)
    assert (turned.geometry.rotation, turned.geometry.mirrored) == (rotation, mirrored)
    np.testing.assert_allclose(turned.scores, shown(flat.scores, rotation, mirrored), rtol=1e-5, atol=1e-2)
    for there, here in zip(turned.heats(), flat.heats(), strict=True):
        np.testing.assert_allclose(there, shown(here, rotation, mirrored), rtol=0, atol=1e-3)

    everywhere: dict[str, Any] = {**options, "budget": 10**6, "keep_first_frame": False}
    flat, turned = ove_codec.select(upright, **everywhere), ove_codec.select(path, **everywhere)
    assert len(turned.positions) == 4 * 60
    canvases = [canvas(ove_codec.tokenize(p, s).patches, s) for p, s in ((upright, flat), (path, turned))]
    np.testing.assert_allclose(canvases[1], shown(canvases[0], rotation, mirrored), rtol=0, atol=1e-5)


def canvas(patches: torch.Tensor, selection: ove_codec.Selection) -> torch.Tensor:
    """The whole canvas (T, 3, H, W), every patch of which is selected."""
    g = selection.geometry
    parts = patches.reshape(-1, g.rows, g.columns, 3, g.patch_size, g.patch_size).permute(0, 3, 1, 4, 2, 5)
    return parts.reshape(len(parts), 3, g.canvas_height, g.canvas_width)


@each
def test_transcoding_keeps_it(upright: Path, tmp_path: Path, rotation: int, mirrored: bool) -> None:
    path = put_up(upright, tmp_path / "turned.mp4", rotation, mirrored)
    for name in ("out.mp4", "out.mov"):
        ove_codec.transcode(path, tmp_path / name, recipe="saliency")
        info = _core.stream_info(tmp_path / name)
        assert (info["rotation"], info["mirrored"]) == (rotation, mirrored)
    matroska = tmp_path / "out.mkv"
    with suppress(ove_codec.UnsupportedStreamError):  # a pure turn may be kept or refused, by libavformat's version
        ove_codec.transcode(path, matroska, recipe="saliency")
    assert matroska.exists() or (rotation, mirrored) != (0, False)
    if matroska.exists():
        info = _core.stream_info(matroska)
        assert (info["rotation"], info["mirrored"]) == (rotation, mirrored)


@pytest.mark.parametrize("degrees", [-89.0, 91.0, 3.0])
@pytest.mark.parametrize("mirrored", [False, True])
def test_the_nearest_orientation_counts(upright: Path, tmp_path: Path, degrees: float, mirrored: bool) -> None:
    info = _core.stream_info(put_up(upright, tmp_path / "turned.mp4", degrees, mirrored))
    assert (info["rotation"], info["mirrored"]) == (round(degrees / 90) * 90 % 360, mirrored)


def test_saved_selections_keep_it(upright: Path, tmp_path: Path) -> None:
    selection = ove_codec.select(put_up(upright, tmp_path / "turned.mp4", 90, True), num_frames=2, budget=8)
    selection.save(tmp_path / "selection.npz")
    loaded = ove_codec.Selection.load(tmp_path / "selection.npz")
    assert loaded.geometry == selection.geometry and loaded.geometry.mirrored
    for there, here in zip(loaded.heats(), selection.heats(), strict=True):
        np.testing.assert_array_equal(there, here)


@pytest.mark.parametrize("name", ["hflip", "vflip", "transpose", "androidx_rotate_and_reflect"])
def test_files_of_users(shared: Path, name: str) -> None:
    path = shared / "faults" / f"04_{name}.mp4"
    seen = ove_codec.frames(path, resize="native", normalize=False).numpy()
    right = autorotated(path)
    assert seen.shape == right.shape
    assert np.abs(seen.astype(int) - right).mean() < 5  # chroma is interpolated in another way
