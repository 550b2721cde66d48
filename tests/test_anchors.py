"""Samples that move to pictures that are cheap to decode: against a slow twin, on encoded streams."""

import io
import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import ove_codec
from ove_codec import _core
from support import ffmpeg, scenes

pytestmark = pytest.mark.skipif(not ffmpeg.has_libx265(), reason="needs ffmpeg with libx265")

SIZE = (96, 64)
FRAMES = 90
ENCODERS = {
    "hevc-open": ("libx265", "keyint=24:min-keyint=24:scenecut=0:bframes=4:b-adapt=0:ref=4:open-gop=1"),
    "hevc-layers": ("libx265", "keyint=32:min-keyint=32:scenecut=0:bframes=7:b-adapt=0:open-gop=0:temporal-layers=3"),
    "hevc-long": ("libx265", "keyint=-1:bframes=3:scenecut=0"),
    "h264-closed": ("libx264", "keyint=20:min-keyint=20:scenecut=0:bframes=3:b-adapt=0:b-pyramid=normal"),
    "h264-open": ("libx264", "keyint=16:min-keyint=16:scenecut=0:bframes=3:b-adapt=0:open-gop=1"),
}


def encoded(folder: Path, kind: str) -> Path:
    path = folder / f"anchors_{kind}.mp4"
    if not path.exists():
        codec, params = ENCODERS[kind]
        raw = scenes.moving_scene(SIZE, FRAMES, seed=11)
        source = ["-f", "rawvideo", "-pix_fmt", "yuv420p", "-s", f"{SIZE[0]}x{SIZE[1]}", "-r", "25", "-i", "-"]
        quiet = "log-level=error:" if codec == "libx265" else ""
        option = "-x265-params" if codec == "libx265" else "-x264-params"
        ffmpeg.run(["-v", "error", *source, "-c:v", codec, option, quiet + params, "-y", path], raw)
    return path


def within(pts: NDArray[Any], asked: list[int], k: int, tolerance: float | None) -> tuple[float, float]:
    """Seconds by which sample `k` may move to either side."""
    if tolerance is not None:
        return tolerance, tolerance
    before = (pts[asked[k]] - pts[asked[k - 1]]) / 2 if k else 0.0
    behind = (pts[asked[k + 1]] - pts[asked[k]]) / 2 if k + 1 < len(asked) else 0.0
    return before, behind


def slow_anchors(
    index: _core.VideoIndex, shown: list[int], asked: list[int], tolerance: float | None, intra: bool
) -> list[int]:
    """``VideoIndex.anchors`` by trying every picture, what it adds being counted anew each time."""
    pts, types = index.pts[shown], index.type[shown]
    windows, least = [], 0
    for k, place in enumerate(asked):
        before, behind = within(pts, asked, k, tolerance)
        window = [i for i in range(least, len(shown)) if -before <= pts[i] - pts[place] <= behind]
        windows.append(window)
        least = window[0] + 1
    taken: list[int] = []
    for k in reversed(range(len(asked))):
        window = [i for i in windows[k] if not taken or i < taken[0]]
        window = [i for i in window if intra or types[i] != "I"] or window

        decoded = index.num_decoded([shown[j] for j in taken])

        def cost(i: int, k: int = k, decoded: int = decoded) -> tuple[int, bool, float, int]:
            added = index.num_decoded([shown[j] for j in [i, *taken]]) - decoded
            inside = added > 0 and not index.random_access[shown[i]]
            return added, inside, abs(pts[i] - pts[asked[k]]), i

        taken.insert(0, min(window, key=cost))
    dearer = index.num_decoded([shown[i] for i in taken]) > index.num_decoded([shown[i] for i in asked])
    refused = not intra and bool((types[asked] == "I").any())
    return asked if dearer and not refused else taken


@pytest.mark.parametrize("kind", ENCODERS)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_samples_take_what_the_twin_takes(stream_folder: Path, kind: str, data: st.DataObject) -> None:
    index = ove_codec.open(encoded(stream_folder, kind)).index
    shown = sorted(data.draw(st.sets(st.integers(0, FRAMES - 1), min_size=1), "shown"))
    if data.draw(st.booleans(), "all"):
        shown = list(range(FRAMES))
    asked = sorted(data.draw(st.sets(st.integers(0, len(shown) - 1), min_size=1, max_size=12), "asked"))
    tolerance = data.draw(st.none() | st.sampled_from([0.0, 0.04, 0.3, 2.0, 9.0]), "tolerance")
    intra = data.draw(st.booleans(), "intra")
    taken = index.anchors(shown, asked, tolerance=tolerance, intra=intra)
    assert taken == slow_anchors(index, shown, asked, tolerance, intra)
    assert len(taken) == len(asked) and all(a < b for a, b in itertools.pairwise(taken))
    for k, (place, found) in enumerate(zip(asked, taken, strict=True)):
        moved = index.pts[shown[found]] - index.pts[shown[place]]
        before, behind = within(index.pts[shown], asked, k, tolerance)
        assert -before <= moved <= behind
    before_all, after_all = (index.num_decoded([shown[i] for i in ids]) for ids in (asked, taken))
    assert after_all <= before_all or (not intra and "I" in index.type[[shown[i] for i in asked]])


@pytest.mark.parametrize("kind", ENCODERS)
def test_what_is_decoded_covers_what_is_needed(stream_folder: Path, kind: str) -> None:
    index = ove_codec.open(encoded(stream_folder, kind)).index
    assert index.num_decoded(range(FRAMES)) == FRAMES
    rng = np.random.default_rng(4)
    for count in (1, 2, 5, 20):
        ids = rng.choice(FRAMES, count, replace=False).tolist()
        assert count <= index.num_needed(ids) <= index.num_decoded(ids) <= FRAMES
    if kind.startswith("h264"):  # references cannot be left out: the third group's begin, then all of them
        closed = ove_codec.open(encoded(stream_folder, "h264-closed")).index
        assert closed.num_decoded([40]) == 1 and closed.num_decoded([59]) >= 10


@pytest.mark.parametrize("kind", ENCODERS)
def test_selections_move(stream_folder: Path, kind: str) -> None:
    path = encoded(stream_folder, kind)
    video = ove_codec.open(path)
    grid: dict[str, Any] = {"size": 56, "num_frames": 6, "budget": 40}
    time = ove_codec.select(video, **grid)
    moved = ove_codec.select(video, **grid, sampling="anchors")
    assert time.asked_ids is None and moved.asked_ids is not None
    assert moved.asked_ids.tolist() == time.frame_ids.tolist()
    assert video.index.num_decoded(moved.frame_ids) < video.index.num_decoded(time.frame_ids)
    # They are what is selected of these pictures, and pixels come from them.
    same = ove_codec.select(video, **{**grid, "num_frames": None}, frame_ids=moved.frame_ids)
    assert np.array_equal(same.scores, moved.scores) and np.array_equal(same.positions, moved.positions)
    tokens, others = ove_codec.tokenize(video, moved), ove_codec.tokenize(path, same)
    assert np.array_equal(tokens.patches, others.patches)
    still = ove_codec.select(video, **grid, sampling="anchors", tolerance=0)
    assert still.frame_ids.tolist() == time.frame_ids.tolist()


def test_pictures_without_heat_are_avoided(stream_folder: Path) -> None:
    video = ove_codec.open(encoded(stream_folder, "h264-closed"))
    scored = ove_codec.select(video, num_frames=5, sampling="anchors", size=56)
    assert (video.index.type[scored.frame_ids] == "I").sum() >= 3
    avoided = ove_codec.select(video, num_frames=5, sampling="anchors", size=56, i_pictures="zero")

    assert "I" not in video.index.type[avoided.frame_ids]


def test_saved_and_loaded(stream_folder: Path) -> None:
    moved = ove_codec.select(encoded(stream_folder, "hevc-open"), num_frames=4, sampling="anchors", size=56)
    file = io.BytesIO()
    moved.save(file)
    file.seek(0)
    loaded = ove_codec.Selection.load(file)
    assert loaded.asked_ids is not None and moved.asked_ids is not None
    assert loaded.asked_ids.tolist() == moved.asked_ids.tolist() and loaded.params == moved.params
    assert moved.cpu().asked_ids is moved.asked_ids


def test_windows_of_time_hold(stream_folder: Path) -> None:
    video = ove_codec.open(encoded(stream_folder, "h264-closed"))
    moved = ove_codec.select(video, num_frames=3, sampling="anchors", start=0.5, end=1.7, tolerance=5, size=56)
    pts = video.index.pts[moved.frame_ids]
    assert (pts >= 0.5).all() and (pts < 1.7).all() and len(pts) == 3


def test_what_is_refused(stream_folder: Path, tmp_path: Path) -> None:
    arrays: dict[str, Any] = {"mv": np.zeros((4, 8, 8, 2), np.int16), "residual": np.zeros((4, 32, 32), np.int16)}
    with pytest.raises(ValueError, match="sampling='anchors' needs"):
        ove_codec.select_arrays(**arrays, size=28, num_frames=2, sampling="anchors")
    path = encoded(stream_folder, "hevc-open")
    for wrong in (-0.1, float("nan")):
        with pytest.raises(ValueError, match="tolerance must be 0"):
            ove_codec.select(path, sampling="anchors", tolerance=wrong)
    mpeg4 = tmp_path / "old.mp4"
    ffmpeg.run(["-v", "error", "-i", path, "-c:v", "mpeg4", mpeg4])
    with pytest.raises(ove_codec.UnsupportedStreamError, match=r"references of pictures.*sampling='time'"):
        ove_codec.select(mpeg4, sampling="anchors", residual_weight=0)
    index = ove_codec.open(path).index
    for shown, asked in (([3, 3], [0]), ([0, FRAMES], [0]), ([0, 1], [2]), ([0, 1], [1, 0]), ([-1, 1], [0])):
        with pytest.raises(ValueError, match="must hold ascending"):
            index.anchors(shown, asked)
