"""What is kept, sampled, saved and refused."""

import re
import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import ove_codec
import saliency_twin as twin
from ove_codec import _core, _pictures, video
from ove_codec._reading import PictureArrays, Reads
from ove_codec._sampling import sample_frames
from ove_codec.presets import COMMON, PRESETS, resolve
from ove_codec.selection import Selection, select, select_arrays, select_pictures
from saliency_twin import Array, Arrays
from support.hevc.random_stream import RandomStream
from test_saliency import clip_arrays, picture

GRID: dict[str, Any] = {"size": 56, "patch_size": 14}


def keep(
    scores: Array, valid: Array, params: Arrays, intra: Array | None = None, full_score: float | None = None
) -> Array:
    whole = np.zeros(len(scores), bool) if intra is None or params["i_pictures"] != "keep" else intra
    return _core.keep_patches(scores, valid, whole, full_score or params["patch_size"] ** 2, params)


@settings(deadline=None, max_examples=150)
@given(
    seed=st.integers(0, 2**32 - 1),
    budget=st.integers(1, 100),
    tau=st.none() | st.floats(0, 1),
    first=st.sampled_from([0, 0.05, 0.3, 0.5, 1]),
    padding=st.sampled_from(["exclude", "zero"]),
    i_pictures=st.sampled_from(["as_coded", "keep"]),
)
def test_ranking_with_many_ties(
    seed: int, budget: int, tau: float | None, first: float, padding: str, i_pictures: str
) -> None:
    rng = np.random.default_rng(seed)
    frames, rows, columns = rng.integers(1, 5, 3)
    scores = rng.choice([0, 0, 1, 1.5, 100, 196], (frames, rows, columns)).astype(np.float32)
    valid = rng.random((rows, columns)) < 0.7
    intra = rng.random(frames) < 0.4
    params = resolve(
        "paper", {"keep_first_frame": first > 0, "padding": padding, "i_pictures": i_pictures, "budget": budget}
    )
    params["first_frame_share"] = first
    if tau is not None:
        params.update(tau=tau, budget=None)
    np.testing.assert_array_equal(keep(scores, valid, params, intra), twin.kept(scores, valid, params, intra))


@pytest.mark.parametrize("preset", ["paper", "bitcost", "ove"])
@pytest.mark.parametrize("heat", [0.0, 1.0])
def test_a_first_picture_leaves_room_for_others(preset: str, heat: float) -> None:
    """Of a budget of one picture's patches the first gets half: those of most heat, or, without heat, everywhere."""
    scores = np.full((3, 16, 16), 1, np.float32)
    scores[0] = 0
    scores[0, 9:, :] = heat
    mask = keep(scores, np.ones((16, 16), bool), resolve(preset, {"budget": 256}))
    assert mask[0].sum() == 128 and mask.sum() == 256
    if heat:
        assert mask[0, 9:].sum() == 112
    quarters = mask[0, :8].reshape(2, 4, 4, 4).sum((1, 3))
    assert quarters.min() >= (6 if not heat else 0), quarters
    whole = keep(scores, np.ones((16, 16), bool), resolve(preset, {"budget": 256, "first_frame_share": 1}))
    assert whole[0].all() and whole.sum() == 256
    assert keep(scores, np.ones((16, 16), bool), resolve(preset, {"budget": 600}))[0].all()


def test_what_is_no_saved_selection(tmp_path: Path) -> None:
    saved = tmp_path / "a.npz"
    select_arrays(**clip_arrays(np.random.default_rng(15), frames=4), **GRID, budget=20).save(saved)
    np.savez(tmp_path / "other.npz", scores=np.zeros(3))
    np.save(tmp_path / "array.npy", np.zeros(3))
    (tmp_path / "clip.mp4").write_bytes(b"\0\0\0\x20ftypisom" + bytes(range(256)))
    (tmp_path / "empty.npz").touch()
    (tmp_path / "cut.npz").write_bytes(saved.read_bytes()[:-100])
    for name in ("other.npz", "array.npy", "clip.mp4", "empty.npz", "cut.npz"):
        with pytest.raises(ValueError, match=rf"{name} is not a saved selection \(.*Selection\.save") as error:
            Selection.load(tmp_path / name)
        assert "pickle" not in str(error.value)


def static_twin(scores: Array, params: Arrays) -> set[int]:
    """Uniform pictures of a static clip, by linear index (every patch valid)."""
    frames, patches = scores.shape[0], scores[0].size
    mean = scores.ravel().astype(float) / (params["patch_size"] ** 2 * 255) * 255
    p95, p50 = np.percentile(mean, 95), np.percentile(mean, 50)
    if not (p95 < 126 or (p95 < 252 and (p95 - p50) / max(p95, 1e-6) < 0.38)):
        return set()
    pictures = np.linspace(0, frames - 1, min(4, frames)).astype(int).tolist()
    total = min(params["budget"], len(pictures) * patches)
    chosen = set()
    for j, t in enumerate(pictures):
        share = total // len(pictures) + (j < total % len(pictures))
        chosen |= {t * patches + min(patches - 1, round(i * patches / share)) for i in range(share)}
    return chosen


@pytest.mark.parametrize("level", [0.1, 0.45, 0.55, 0.97])
@pytest.mark.parametrize("spread", [0.01, 0.5])
@pytest.mark.parametrize("frames", [1, 3, 4, 11])
@pytest.mark.parametrize("budget", [1, 7, 30, 64, 65, 100])
def test_static_fallback(level: float, spread: float, frames: int, budget: int) -> None:
    rng = np.random.default_rng(12)
    full = 14 * 14 * 255
    scores = np.floor(full * np.clip(level + spread * rng.standard_normal((frames, 4, 4)), 0, 1)).astype(np.float32)
    params = resolve("probe", {"budget": budget})
    uniform = static_twin(scores, params)
    rest = sorted((i for i in range(scores.size) if i not in uniform), key=lambda i: (-scores.ravel()[i], i))
    expected = sorted([*uniform, *rest[: max(0, budget - len(uniform))]])
    mask = keep(scores, np.ones((4, 4), bool), params, full_score=full)
    assert np.flatnonzero(mask).tolist() == expected
    off = keep(
        scores, np.ones((4, 4), bool), resolve("probe", {"budget": budget, "static_fallback": False}), full_score=full
    )
    np.testing.assert_array_equal(off, twin.kept(scores, np.ones((4, 4), bool), {**params, "keep_first_frame": False}))


@pytest.mark.parametrize("count", [1, 2, 63, 64, 65, 250, 1000])
@pytest.mark.parametrize("num_frames", [1, 2, 64])
def test_sampling(count: int, num_frames: int) -> None:
    ids = sample_frames(count, resolve("paper", {"num_frames": num_frames}))
    assert ids.dtype == np.int64
    assert ids.tolist() == sorted(set(np.linspace(0, count - 1, num_frames).astype(int).tolist()))


def test_sampling_in_seconds() -> None:
    pts = 1.4 + np.cumsum([0, 0.1, 0.1, 0.5, 0.1, 0.1, 0.1])  # not from 0, not evenly spaced
    params = resolve("paper", {"num_frames": 3, "start": 1.5, "end": 2.25})
    assert sample_frames(pts, params).tolist() == [1, 2, 4]
    assert sample_frames(pts, resolve("paper", {"end": 1.5})).tolist() == [0]
    with pytest.raises(ValueError, match="no picture is displayed"):
        sample_frames(pts, resolve("paper", {"start": 9}))
    with pytest.raises(ValueError, match="pass pts"):
        sample_frames(7, params)


@settings(deadline=None, max_examples=200)
@given(
    sizes=st.lists(st.integers(0, 5000) | st.just(100), min_size=1, max_size=60),
    num_frames=st.integers(1, 70),
    seed=st.integers(0, 99),
)
def test_sampling_along_the_bits(sizes: list[int], num_frames: int, seed: int) -> None:
    intra = np.random.default_rng(seed).random(len(sizes)) < 0.2
    params = resolve("paper", {"num_frames": num_frames, "sampling": "bits"})
    ids = sample_frames(len(sizes), params, np.array(sizes), intra)
    assert ids.dtype == np.int64
    assert len(ids) == min(num_frames, len(sizes)) and (np.diff(ids) > 0).all()
    assert ids[0] == 0 and (len(ids) == 1 or ids[-1] == len(sizes) - 1)
    expected = twin.along_sizes(sizes, intra.tolist(), num_frames)
    differ = ids != expected
    assert len(expected) == len(ids)
    # A mark that falls between two pictures may go to either, as rounding has it.
    assert (np.abs(ids - expected)[differ] == 1).all() and differ.mean() <= 0.5


def test_sampling_along_the_bits_follows_what_happens() -> None:
    """A quiet clip with an event and large I pictures: most pictures are of the event, none twice."""
    sizes = np.full(200, 50)
    sizes[80:100] = 2000
    sizes[::25] = 40000
    intra = np.arange(200) % 25 == 0
    params = resolve("paper", {"num_frames": 20, "sampling": "bits"})
    ids = sample_frames(200, params, sizes, intra)
    assert ((ids >= 80) & (ids < 100)).sum() == round(18 * 20 * 2000 / (20 * 2000 + 178 * 50))  # the ends aside
    assert sample_frames(200, {**params, "num_frames": 200}, sizes, intra).tolist() == list(range(200))
    even = sample_frames(200, params, np.full(200, 7), np.zeros(200, bool))
    assert np.abs(even - np.linspace(0, 199, 20)).max() <= 6
    with pytest.raises(ValueError, match="pass bits"):
        sample_frames(200, params)
    with pytest.raises(ValueError, match="'time', 'bits'"):
        sample_frames(200, {**params, "sampling": "chance"})


@pytest.mark.parametrize(("name", "shape", "form"), [
    ("mv", (4, 8, 8), r"\(N, H/4, W/4, 2 lists, 2\) or \(N, H/4, W/4, 2\)"),
    ("mv", (4, 8, 8, 2, 2, 1), r"\(N, H/4, W/4, 2 lists, 2\)"),
    ("residual", (4, 32), r"\(N, H, W\)"),
    ("bits", (4, 2), r"\(N, CTU rows, CTU columns\)"),
])  # fmt: skip
def test_arrays_of_another_shape(name: str, shape: tuple[int, ...], form: str) -> None:
    arrays: Arrays = {"mv": np.zeros((4, 8, 8, 2), np.int16), "residual": np.zeros((4, 32, 32), np.int16)}
    arrays[name] = np.zeros(shape, np.int16)
    with pytest.raises(ValueError, match=f"{name} must have the shape {form}.*, not {re.escape(str(shape))}"):
        select_arrays(**arrays)
    with pytest.raises(
        ValueError, match=r"mv must have the shape \(10, 8, 2, 2\) for this picture, not \(8, 8, 2, 2\)"
    ):
        select_arrays(np.zeros((4, 8, 8, 2), np.int16), np.zeros((4, 40, 32), np.int16))


def test_arrays_are_sampled_along_their_bits() -> None:
    arrays = clip_arrays(np.random.default_rng(32), frames=9)
    arrays["types"] = "P" * 9
    arrays["bits"][:4] //= 100
    selection = select_arrays(**arrays, **GRID, num_frames=4, sampling="bits", budget=18)
    assert selection.frame_ids.tolist() == twin.along_sizes(arrays["bits"].sum((1, 2)).tolist(), [False] * 9, 4)
    assert select_arrays(**arrays, **GRID, frame_ids=[1, 5], sampling="bits", budget=18).frame_ids.tolist() == [1, 5]
    windowed = select_arrays(
        **arrays, **GRID, num_frames=3, sampling="bits", budget=18, pts=np.arange(9) / 10, start=0.15, end=0.75
    )
    assert windowed.frame_ids[[0, -1]].tolist() == [2, 7]
    with pytest.raises(ValueError, match="pass bits"):
        select_arrays(arrays["mv"], arrays["residual"], sampling="bits")


def test_frame_ids() -> None:
    arrays = clip_arrays(np.random.default_rng(13), frames=6)
    selection = select_arrays(**arrays, **GRID, frame_ids=np.array([4, 1, 4]), budget=18)
    assert selection.frame_ids.tolist() == [1, 4]
    everything = select_arrays(**arrays, **GRID, num_frames=6, budget=18)
    np.testing.assert_array_equal(selection.scores, everything.scores[[1, 4]])
    with pytest.raises(ValueError, match="last of 6 pictures"):
        select_arrays(**arrays, frame_ids=[6])


@pytest.mark.parametrize("preset", PRESETS)
def test_short_clips_never_repeat_a_patch(preset: str) -> None:
    arrays = clip_arrays(np.random.default_rng(14), frames=2)
    selection = select_arrays(**arrays, preset=preset, num_frames=64, budget=100000)
    assert selection.frame_ids.tolist() == [0, 1]
    assert len(np.unique(selection.positions, axis=0)) == len(selection)
    rows, columns = selection.valid.shape
    expected = 2 * (rows * columns if preset == "llava" else selection.valid.sum())
    assert len(selection) == expected


def test_first_picture_counts_in_the_budget() -> None:
    arrays = clip_arrays(np.random.default_rng(15), frames=4)
    selection = select_arrays(**arrays, **GRID, budget=20)
    assert len(selection) == 20 and 10 <= selection.mask[0].sum() < 16
    whole = select_arrays(**arrays, **GRID, budget=20, first_frame_share=1)
    assert len(whole) == 20 and whole.mask[0].all() and whole.mask[1:].sum() == 4
    assert select_arrays(**arrays, **GRID, budget=5, first_frame_share=1).mask[0].sum() == 5


def test_tau_is_a_threshold_of_the_mean_heat() -> None:
    arrays = clip_arrays(np.random.default_rng(16), frames=4)
    selection = select_arrays(**arrays, **GRID, tau=0.3, keep_first_frame=False)
    mean = np.stack([h.reshape(4, 14, 4, 14).mean((1, 3)) for h in selection.heats()])
    assert (np.abs(mean - 0.3) > 1e-5).all()  # no near-ties in this clip
    np.testing.assert_array_equal(selection.mask, mean > 0.3)
    assert 0 < len(selection) < mean.size and selection.params["budget"] is None
    assert select_arrays(**arrays, **GRID, tau=0.3).mask[0].all()


def test_i_pictures() -> None:
    arrays = clip_arrays(np.random.default_rng(17), frames=4)
    arrays["types"] = "PIPB"
    kept = select_arrays(**arrays, **GRID, budget=20, i_pictures="keep", keep_first_frame=False)
    assert kept.mask[1].all() and len(kept) == 20
    zero = select_arrays(**arrays, **GRID, budget=20, i_pictures="zero", keep_first_frame=False)
    assert not zero.scores[1].any() and not zero.heat(1).any() and zero.scores[[0, 2, 3]].any()


def test_save_and_load(tmp_path: Path) -> None:
    arrays = clip_arrays(np.random.default_rng(18))
    selection = select_arrays(**arrays, window=(2, 4, 90, 60), rotation=90, percentile_scope="clip", **GRID, tau=0.25)
    selection.save(tmp_path / "selection.npz")
    with np.load(tmp_path / "selection.npz", allow_pickle=False) as z:
        assert {"frame_ids", "positions", "scores", "mask"} <= set(z.files)
    loaded = Selection.load(tmp_path / "selection.npz")
    for name in ("frame_ids", "positions", "scores", "mask", "valid"):
        np.testing.assert_array_equal(getattr(loaded, name), getattr(selection, name))
        assert getattr(loaded, name).dtype == getattr(selection, name).dtype
    assert (loaded.geometry, loaded.params, loaded.preset) == (selection.geometry, selection.params, "paper")
    assert loaded.scales == pytest.approx(selection.scales)
    with pytest.raises(ValueError, match="no source"):
        loaded.heat(0)
    np.savez(tmp_path / "other.npz", a=np.zeros(3))
    with pytest.raises(ValueError, match="not a saved selection"):
        Selection.load(tmp_path / "other.npz")


def test_params_select_again() -> None:
    arrays = clip_arrays(np.random.default_rng(19))
    first = select_arrays(**arrays, preset="probe", **GRID, tau=0.2, compensate="median")
    again = select_arrays(**arrays, preset="paper", **first.params)
    np.testing.assert_array_equal(first.mask, again.mask)
    np.testing.assert_array_equal(first.scores, again.scores)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"preset": "nothing"}, ValueError, "paper, llava, probe, bitcost"),
        ({"budgett": 3}, TypeError, "budget"),
        ({"resize": "zoom"}, ValueError, "'letterbox'"),
        ({"vector": "l2"}, ValueError, "'l0_else_l1'"),
        ({"padding": 3}, ValueError, "padding"),
        ({"tau": 0.1, "budget": 3}, ValueError, "give either"),
        ({"budget": None}, ValueError, "give tau or budget"),
        ({"budget": 0}, ValueError, "positive"),
        ({"budget": 2.5}, ValueError, "positive whole"),
        ({"frame_ids": [0], "start": 1.0}, ValueError, "give either"),
        ({"frame_ids": []}, ValueError, "frame_ids"),
        ({"frame_ids": [-1]}, ValueError, "frame_ids"),
        ({"keep_first_frame": "yes"}, ValueError, "True or False"),
        ({"first_frame_share": 0}, ValueError, "first_frame_share must be above 0"),
        ({"first_frame_share": 1.5}, ValueError, "at most 1, not 1.5"),
        ({"percentile": 101}, ValueError, "0 to 100"),
        ({"percentile": float("nan")}, ValueError, "0 to 100"),
        ({"mv_weight": -1}, ValueError, "negative"),
        ({"mv_weight": 0, "residual_weight": 0}, ValueError, "at least one must be positive"),
        ({"local_variance": 4}, ValueError, "odd"),
        ({"size": 8}, ValueError, "patch"),
        ({"rotation": 45}, ValueError, "90"),
        ({"window": (0, 0, 0, 5)}, ValueError, "window"),
        ({"window": (0, 0, 500, 5)}, ValueError, "display window"),
        ({"bit_depth": 7}, ValueError, "bit_depth"),
        ({"vector": "displacement", "ref_poc": None}, ValueError, "ref_poc is missing"),
        ({"intra_blocks": "max", "pred": None}, ValueError, "pred is missing"),
        ({"intra_blocks": "none"}, ValueError, "'median'"),
        ({"accumulate": "mean"}, ValueError, "'sum'"),
        ({"sampling": "evenly"}, ValueError, "'bits'"),
        ({"preset": "bitcost", "bits": None}, ValueError, "bits are missing"),
        ({"preset": "bitcost", "ctb_size": 8}, ValueError, "too few"),
        ({"mv": None}, ValueError, "mv is missing"),
        ({"residual": None, "mv_weight": 1}, ValueError, "residual is missing"),
        ({"mv": np.zeros((3, 18, 26, 2, 2))}, ValueError, "whole numbers"),
        ({"mv": np.full((3, 18, 26, 2, 2), 40000)}, ValueError, "int16"),
        ({"mv": np.zeros((3, 18, 25, 2, 2), np.int16)}, ValueError, "shape"),
        ({"types": "IP"}, ValueError, "one entry per picture"),
        ({**dict.fromkeys(("pred", "ref_poc", "poc", "bits", "types")), "mv": [], "residual": []}, ValueError,
         "no pictures"),
    ],
)  # fmt: skip
def test_bad_arguments(arguments: Arrays, error: type[Exception], message: str) -> None:
    arrays = clip_arrays(np.random.default_rng(20))
    with pytest.raises(error, match=message):
        select_arrays(**{**arrays, **arguments})


@pytest.fixture(scope="module")
def stream() -> bytes:
    """A video of nine small pictures with slices, tiles and both lists."""
    return RandomStream(3).data


def arrays_of(pictures: list[Any]) -> Arrays:
    names = ("mv", "pred", "ref_poc", "poc", "residual", "bits")
    arrays = {name: [getattr(picture, name) for picture in pictures] for name in names}
    first = pictures[0]
    return {**arrays, "types": [p.type for p in pictures], "bit_depth": first.bit_depth, "ctb_size": first.ctb_size}


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("scope", ["frame", "clip"])
@pytest.mark.parametrize("vector", ["l0_else_l1", "displacement"])
def test_video_and_arrays_agree(stream: bytes, preset: str, scope: str, vector: str) -> None:
    pictures = list(ove_codec.open(stream))
    params: Arrays = {"preset": preset, "percentile_scope": scope, "vector": vector, "num_frames": 4, "budget": 300}
    if scope == "clip":
        params |= {"accumulate": "sum", "intra_blocks": "max"}
    a = select(stream, **params)
    b = select_arrays(**arrays_of(pictures), window=pictures[0].window, **params)
    np.testing.assert_array_equal(a.scores, b.scores)
    np.testing.assert_array_equal(a.positions, b.positions)
    assert a.geometry == b.geometry
    np.testing.assert_array_equal(a.heat(1), b.heat(1))
    with pytest.raises(IndexError):
        a.heat(4)


def test_video_is_opened_from_what_open_takes(stream: bytes, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    opened: list[tuple[Any, int]] = []
    real_open = ove_codec.open

    def watched_open(source: Any, threads: int, limits: Any, **options: Any) -> Any:
        opened.append((source, threads))
        return real_open(source, threads, limits, **options)

    monkeypatch.setattr(video, "open", watched_open)
    path = tmp_path / "clip.265"
    path.write_bytes(stream)
    selection = select(path, threads=2, end=0.1, **GRID, budget=18)
    assert selection.frame_ids.tolist() == [0, 1, 2]
    assert opened == [(path, 2)]
    selection.save(tmp_path / "s.npz")
    np.testing.assert_array_equal(Selection.load(tmp_path / "s.npz").heat(1), selection.heat(1))
    assert opened[1:] == [(str(path), 0)]


def test_pictures_of_headers_and_other_objects_are_refused(stream: bytes) -> None:
    scorer = _core.Scorer(resolve("paper", {}), (0, 0, 16, 16), 0)
    (motion_only,) = ove_codec.open(stream).read([0], residual=False)
    with pytest.raises(ValueError, match="residual is missing"):
        scorer.score(motion_only)
    with pytest.raises(TypeError, match="Video"):
        scorer.score(3)


class PicturesOfArrays:
    """Pictures of these arrays, ``missing`` ones less than their times tell."""

    path = None
    on_damage = "raise"

    def __init__(self, *arrays: Arrays, missing: int = 0) -> None:
        self.pictures = [picture(a, i) for a in arrays for i in range(len(a["mv"]))]
        self.missing = missing

    def pts(self) -> Array:
        return np.arange(len(self.pictures) + self.missing) / 25

    def sizes(self) -> None:
        return None

    def intra(self, frame_ids: Sequence[int]) -> Array:
        return np.zeros(len(frame_ids), bool)

    def read(self, frame_ids: Sequence[int], params: Arrays) -> Iterator[PictureArrays]:
        for i in frame_ids:
            if i < len(self.pictures):
                one = dict(self.pictures[i])
                height, width = one["residual"].shape
                yield PictureArrays(width, height, (0, 0, width, height), 0, False, **one)

    def anchors(self, shown: Array, asked: Array, params: Arrays) -> Array:
        raise NotImplementedError

    def score(self, reads: Reads, params: Arrays, scorer: _core.Scorer | None) -> None:
        return None


def test_changing_picture_size_is_reported() -> None:
    pictures = PicturesOfArrays(
        *(clip_arrays(np.random.default_rng(23), frames=2, height=height) for height in (64, 72))
    )
    with pytest.raises(_core.UnsupportedStreamError, match=r"104x64 to 104x72.*display index 2"):
        select_pictures(pictures, "paper", GRID)
    assert select_pictures(pictures, "paper", {**GRID, "frame_ids": [2, 3]}).geometry.source_height == 72


def test_missing_pictures_are_reported() -> None:
    pictures = PicturesOfArrays(clip_arrays(np.random.default_rng(24), frames=4), missing=2)
    with pytest.raises(_core.DecodeError, match="display index 4"):
        select_pictures(pictures, "paper", GRID)


def test_only_pictures_that_count_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    arrays = clip_arrays(np.random.default_rng(33), frames=9)
    arrays["types"] = "IPPIPPIPP"
    read: list[list[int]] = []
    real = _pictures.ArrayPictures.read

    def watched(self: Any, frame_ids: Sequence[int], params: Arrays) -> Iterator[Any]:
        read.append(list(frame_ids))
        return real(self, frame_ids, params)

    monkeypatch.setattr(_pictures.ArrayPictures, "read", watched)
    params: Arrays = {**GRID, "frame_ids": [2, 6, 8], "budget": 20}
    cases: list[tuple[Arrays, list[int]]] = [
        ({}, [2, 6, 8]),
        ({"i_pictures": "zero"}, [2, 8]),
        ({"accumulate": "sum"}, [2, 3, 4, 5, 6, 7, 8]),
        ({"accumulate": "sum", "i_pictures": "zero"}, [2, 4, 5, 6, 7, 8]),
    ]
    for more, expected in cases:
        selection = select_arrays(**arrays, **params, **more)
        assert read.pop() == expected and not read
        selection.heat(2)
        assert read.pop() == ([7, 8] if "accumulate" in more else [8]) and not read


def test_accumulated_ctus_of_several_sizes_are_refused() -> None:
    scorer = _core.Scorer(resolve("bitcost", {"accumulate": "sum"}), (0, 0, 64, 64), 0)
    counted = PictureArrays(64, 64, (0, 0, 64, 64), 0, False, False, 8, bits=np.ones((2, 2), np.int32), ctb_size=32)
    scorer.accumulate(counted)
    with pytest.raises(ValueError, match="ctb_size changes from 32 to 64"):
        scorer.accumulate(replace(counted, bits=np.ones((1, 1), np.int32), ctb_size=64))


@pytest.mark.threads
def test_scorers_take_turns_between_threads() -> None:
    arrays = clip_arrays(np.random.default_rng(25), frames=1, height=256, width=256)
    scorer = _core.Scorer(resolve("paper", {}), (0, 0, 256, 256), 0)
    picture = PictureArrays(
        256, 256, (0, 0, 256, 256), 0, False, False, 8,
        mv=arrays["mv"][0], residual=arrays["residual"][0], pred=arrays["pred"][0],
    )  # fmt: skip
    results = []
    threads = [threading.Thread(target=lambda: results.append(scorer.score(picture))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 8
    for result in results:
        np.testing.assert_array_equal(result, results[0])


def test_every_parameter_of_the_presets_is_known() -> None:
    for name, preset in PRESETS.items():
        assert set(preset) <= set(COMMON), name
        assert set(resolve(name, {})) == set(COMMON)
