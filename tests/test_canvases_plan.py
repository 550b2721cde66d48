"""Plans of codec canvases against their twin in NumPy, and against the goldens of the released preprocessor."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from ove_codec.canvases import CanvasConfig, plan
from ove_codec.canvases.sampling import sampled_frames
from support import canvas_twin

FOLDER = Path(__file__).resolve().parents[2] / "shared" / "ov2" / "codec"
RUNS = [p.parent for p in sorted(FOLDER.glob("*/run.json")) if json.loads(p.read_text())["error"] is None]


@st.composite
def cases(draw: st.DrawFn) -> tuple[NDArray[Any], NDArray[np.int64], NDArray[np.bool_], dict[str, Any]]:
    frames, rows, columns = draw(st.integers(1, 40)), draw(st.integers(1, 9)), draw(st.integers(1, 9))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    most = draw(st.sampled_from([0, 1, 3, 5000]))  # few values make ties
    bits: NDArray[Any] = rng.integers(-2, most + 1, (frames, rows, columns)).astype(np.int32)
    if draw(st.booleans()):
        bits = (bits * 0.37).astype(np.float32)
    frame_ids = rng.permutation(3 * frames)[:frames]
    if draw(st.booleans()):
        frame_ids.sort()
    good = rng.random(frames) < draw(st.sampled_from([0.0, 0.5, 1.0]))
    least = draw(st.integers(2, 9))
    options = {
        "size": (draw(st.integers(5, 90)), draw(st.integers(5, 90))),
        "patch": draw(st.sampled_from([3, 4, 7])),
        "block": draw(st.sampled_from([1, 2, 3])),
        "max_pixels": draw(st.sampled_from([3136, 6000])),
        "group_size": draw(st.integers(1, 16)),
        "images_per_group": draw(st.integers(1, 5)),
        "min_group_frames": least,
        "max_group_frames": draw(st.integers(max(4, least), 20)),
    }
    return bits, frame_ids, good, options


@settings(deadline=None, max_examples=150)
@given(cases())
def test_plan_equals_the_twin(case: tuple[NDArray[Any], NDArray[np.int64], NDArray[np.bool_], dict[str, Any]]) -> None:
    bits, frame_ids, good, options = case
    made = plan(bits, frame_ids, good=good, **options)
    patch, block, images = options["patch"], options["block"], options["images_per_group"]
    height, width = made.size
    scores = canvas_twin.block_scores(bits, height, width, patch, block)
    np.testing.assert_array_equal(made.block_scores, scores)
    budget = (images - 1) * scores.shape[1]
    threshold, groups = canvas_twin.readiness_groups(
        scores, budget, options["group_size"], images, options["min_group_frames"], options["max_group_frames"]
    )
    assert made.threshold == pytest.approx(threshold, rel=1e-12)
    assert [tuple(group[:3]) for group in made.groups] == (groups or [(0, len(bits), "short_clip")])
    grid = height // patch, width // patch
    twins = [canvas_twin.canvases(scores, frame_ids, good, a, b, grid, block, images) for a, b, *_ in made.groups]
    np.testing.assert_array_equal(made.positions, np.concatenate(twins))


@pytest.mark.skipif(not RUNS, reason="the goldens are not here")
@pytest.mark.parametrize("run", RUNS, ids=lambda run: run.name)
def test_golden_plan(run: Path) -> None:
    facts = json.loads((run / "run.json").read_text())
    with np.load(run / "arrays.npz") as z:
        golden = {name: z[name] for name in z.files}
    config = facts["config"]
    options = {
        name: config[name]
        for name in ("patch", "max_pixels", "group_size", "images_per_group", "min_group_frames", "max_group_frames")
    }
    options |= {"block": config.get("block_size", 2), "grouping": config.get("grouping_mode", "readiness")}
    sampling = CanvasConfig(**options, num_frames=config["num_sampled_frames"])
    keyframes = golden["keyframes"].tolist()
    sampled = sampled_frames(facts["total_frames"], keyframes, facts["fps"], sampling)
    np.testing.assert_array_equal(sampled, golden["frame_ids"])

    options |= {"size": facts["orig_hw"], "good": golden["good_mask"]}
    made = plan(golden["bits"], golden["frame_ids"], **options)
    assert made.size == tuple(facts["processed_hw"])
    np.testing.assert_allclose(made.block_scores, golden["block_scores"], rtol=0, atol=1e-3)
    assert made.threshold == pytest.approx(facts["stable"]["threshold"], rel=1e-5)
    assert [list(group[:3]) for group in made.groups] == facts["stable"]["groups"]
    np.testing.assert_array_equal(made.positions, golden["stable.src_patch_position"])
    if "stable_aligned.src_patch_position" in golden:
        aligned = plan(golden["bits"][:, :, :-1], golden["frame_ids"], **options)
        np.testing.assert_array_equal(aligned.positions, golden["stable_aligned.src_patch_position"])


def test_fixed_groups_leave_out_few_frames() -> None:
    bits = np.random.default_rng(1).integers(0, 100, (23, 3, 4))
    made = plan(bits, np.arange(23), size=(56, 112), grouping="fixed", group_size=10, max_pixels=6272)
    assert [group[:3] for group in made.groups] == [(0, 10, "fixed_group_size"), (10, 20, "fixed_group_size")]
    assert made.threshold == 0
    longer = plan(bits, np.arange(23), size=(56, 112), grouping="fixed", group_size=19)
    assert [group[:2] for group in longer.groups] == [(0, 19), (19, 23)]


def test_intra_pictures_can_be_capped() -> None:
    bits = np.ones((12, 4, 4), np.int32)
    bits[:, 0, 0] = 10_000
    bits[3] = 5000  # all of it is heat 1
    intra = np.arange(12) == 3
    options: dict[str, Any] = {"size": (56, 56), "group_size": 4}
    plain = plan(bits, np.arange(12), intra=intra, **options)
    capped = plan(bits, np.arange(12), intra=intra, cap_intra=50, **options)
    assert capped.block_scores[3].sum() < 0.5 * plain.block_scores[3].sum()
    np.testing.assert_array_equal(np.delete(capped.block_scores, 3, 0), np.delete(plain.block_scores, 3, 0))
    with pytest.raises(ValueError, match="pass intra"):
        plan(bits, np.arange(12), cap_intra=50, **options)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"bits": np.zeros((8, 4))}, r"\(frames, rows, columns\).*\(8, 4\)"),
        ({"bits": np.zeros((8, 0, 4))}, r"at least 1, not \(8, 0, 4\)"),
        ({"bits": np.full((8, 2, 2), np.nan)}, "finite"),
        ({"frame_ids": np.arange(7)}, "8 frames"),
        ({"frame_ids": np.arange(-1, 7)}, "-1 to 6"),
        ({"good": np.ones(9, bool)}, "8 frames.*9"),
        ({"size": (0, 5)}, "0x5"),
        ({"size": (1, 500)}, "200 times.*1x500"),
        ({"patch": 0}, "patch must be a positive whole number, not 0"),
        ({"block": 1.5}, "block must be a positive whole number, not 1.5"),
        ({"min_group_frames": 9, "max_group_frames": 8}, "8 and 9"),
        ({"max_group_frames": 3, "min_group_frames": 2}, "max_group_frames must be 4 or more.*it is 3"),
        ({"grouping": "fixed", "group_size": 3}, "group_size must be 4 or more.*it is 3"),
        ({"delta_ratio": float("nan")}, "must be numbers.*nan"),
        ({"sampling": "fps", "sample_fps": float("inf")}, "finite, not inf"),
        ({"patch": 200}, "has 160000, more than a canvas with max_pixels 150000"),
        ({"grouping": "none"}, "grouping must be 'readiness' or 'fixed', not 'none'"),
        ({"percentile": 101}, "0 to 100, not 101"),
        ({"threshold_mode": "clamped_sqrt_bpppf"}, "pass threshold"),
    ],
)
def test_bad_input_is_told(change: dict[str, Any], message: str) -> None:
    arguments: dict[str, Any] = {"bits": np.ones((8, 2, 2)), "frame_ids": np.arange(8), "size": (56, 56)} | change
    with pytest.raises(ValueError, match=message):
        plan(arguments.pop("bits"), arguments.pop("frame_ids"), **arguments)


def test_unknown_settings_are_told() -> None:
    with pytest.raises(TypeError, match=r"unknown setting pach; did you mean patch\?"):
        plan(np.ones((8, 2, 2)), np.arange(8), size=(56, 56), pach=14)


@pytest.mark.parametrize(
    ("height", "width", "want"), [(1080, 1920, (280, 504)), (20, 30, (56, 84)), (182, 322, (168, 336))]
)
def test_canvas_sizes(height: int, width: int, want: tuple[int, int]) -> None:
    assert CanvasConfig().canvas_size(height, width) == want


def test_samples_keep_off_key_frames() -> None:
    config = CanvasConfig(num_frames=5)
    assert sampled_frames(101, [0, 50], 25, config).tolist() == [1, 25, 51, 75, 100]
    assert sampled_frames(101, [0, 50], 25, CanvasConfig(num_frames=5, avoid_keyframes=False)).tolist()[0] == 0
    assert sampled_frames(3, [0, 1, 2], 25, config).tolist() == [0, 1, 2]
    rate = CanvasConfig(sampling="fps", sample_fps=5, avoid_keyframes=False)
    assert sampled_frames(50, [0], 25, rate).tolist() == list(range(0, 50, 5))
    assert sampled_frames(50, [0], 1e-12, rate).tolist() == list(range(50))  # a rate that a file may claim
