"""Canvases of windows: the same as of the sampled frames on their own, and nothing read twice."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ove_codec
from ove_codec import _core
from ove_codec.canvases import Canvases, canvas_windows, plan
from support import canvas_twin
from support.pixels import av_pictures, encode, needs_ffmpeg

pytestmark = needs_ffmpeg
SETTINGS: dict[str, Any] = {"max_pixels": 20_000, "group_size": 8, "sample_fps": 10.0}


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("windows")
    black = "drawbox=t=fill:c=black:enable='between(n,40,46)'"
    return encode(folder / "clip.mp4", "-g", "15", "-vf", black, source="testsrc2=s=192x112:r=25:d=3.2")


def shown_by(canvases: Canvases, frames: list[np.ndarray]) -> None:
    patch = canvases.plan.config.patch
    rows, columns = canvases.plan.grid
    places = canvases.src_positions.reshape(len(canvases), rows, columns, 3)
    for canvas, row, column in np.ndindex(places.shape[:3]):
        shown = canvases.images[canvas, row * patch : (row + 1) * patch, column * patch : (column + 1) * patch]
        t, h, w = places[canvas, row, column]
        wanted = (
            frames[t][h * patch : (h + 1) * patch, w * patch : (w + 1) * patch] if t >= 0 else np.zeros(shown.shape)
        )
        np.testing.assert_allclose(shown, wanted, rtol=0, atol=0.51)


@pytest.mark.parametrize("step", [None, 0.5, 1.5])
def test_windows_are_those_of_their_frames(clip: Path, step: float | None) -> None:
    windows = list(canvas_windows(clip, seconds=1.0, step=step, **SETTINGS))
    video = ove_codec.open(clip)
    apart = step or 1.0
    begins = windows[0].times[0]
    starts = begins + apart * np.arange(len(windows))
    frames: list[np.ndarray] | None = None
    for start, window in zip(starts, windows, strict=True):
        assert start <= window.times.min() and window.times.max() < start + 1
        np.testing.assert_array_equal(window.times, video.index.pts[window.frame_ids])
        bits = np.stack([picture.bits for picture in video.read(window.frame_ids, residual=False)])
        made = plan(bits, window.frame_ids, size=(112, 192), good=window.good, max_pixels=20_000, group_size=8)
        np.testing.assert_array_equal(window.src_positions, made.positions)
        np.testing.assert_array_equal(window.good, (window.frame_ids < 40) | (window.frame_ids > 46))
        assert window.meta["bad_frames"] == [int(i) for i in window.frame_ids[~window.good]]
        frames = frames or [canvas_twin.area_frame(*picture, *made.size) for picture in av_pictures(clip)]
        shown_by(window, frames)
    last = video.index.pts[-1]
    assert starts[-1] <= last < starts[-1] + max(1.0, apart) + 0.2


def test_nothing_is_read_twice(clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = {"PictureIterator": 0, "FrameIterator": 0}

    def counted(name: str) -> Any:
        original = getattr(_core, name)

        def make(*args: Any, **kwargs: Any) -> Any:
            made[name] += 1
            return original(*args, **kwargs)

        return make

    for name in made:
        monkeypatch.setattr(_core, name, counted(name))
    windows = canvas_windows(clip, seconds=1.0, step=0.25, **SETTINGS)
    first = next(windows)
    assert first.times.max() < first.times[0] + 1  # before the rest of the video is decoded
    assert sum(1 for _ in windows) > 8
    assert made == {"PictureIterator": 1, "FrameIterator": 1}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seconds": 0}, "positive, not 0 and 0"),
        ({"step": -1}, "positive, not 8.0 and -1"),
        ({"num_frames": 8}, "num_frames: windows sample at sample_fps"),
        ({"sample_fps": 0}, "sample_fps must be positive"),
    ],
)
def test_bad_windows_are_told(clip: Path, change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        next(canvas_windows(clip, **change))
