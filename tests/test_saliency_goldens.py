"""Scores and selections that the reference implementation's own functions gave for true motion and residuals."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ove_codec

FOLDER = Path(__file__).resolve().parents[2] / "shared" / "selection"
CASES = sorted(FOLDER.glob("*.npz")) if FOLDER.is_dir() else []


@pytest.mark.skipif(not CASES, reason="the golden selections are not here")
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.stem)
def test_golden_selection(case: Path) -> None:
    clip, preset, compensate, *rest = case.stem.split(".")
    with np.load(case) as z:
        golden = {name: z[name] for name in z.files}
    params: dict[str, Any] = {"preset": preset, "compensate": compensate}
    if preset == "llava":
        _, padding, first = rest
        positions, tolerance = golden["thw"], 2e-4
        params |= {"padding": padding, "keep_first_frame": first == "full0"}
    else:
        positions = np.stack(np.unravel_index(golden["visible_indices"], golden["scores"].shape), 1)
        tolerance = 14 * 14  # one level a sample
        params |= {"local_variance": "incon" in rest, "static_fallback": False}
    selection = ove_codec.select(FOLDER / f"{clip}.mp4", budget=len(positions), **params)
    np.testing.assert_array_equal(selection.frame_ids, golden["frame_ids"])
    np.testing.assert_allclose(selection.scores, golden["scores"], rtol=0, atol=tolerance)
    if "valid" in golden:
        np.testing.assert_array_equal(selection.valid, golden["valid"])

    # The same patches, but for those whose score is the lowest that is kept.
    assert len(selection) == len(positions)
    ours, theirs = (set(map(tuple, p.tolist())) for p in (selection.positions, positions))
    ranked = slice(1 if params.get("keep_first_frame") else 0, None)
    lowest = selection.scores[ranked][selection.mask[ranked]].min()
    for patch in ours ^ theirs:
        assert abs(golden["scores"][patch] - lowest) <= 2 * tolerance, patch
    assert len(ours & theirs) > 0.75 * len(ours)
