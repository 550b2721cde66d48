"""Parity of the vision towers of LLaVA-OneVision-2 and Mage-VL with recorded outputs, where these are at hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from ove_codec.models import OVTower, load_tower
from ove_codec.models.rope import rope_angles

GOLDEN = Path(__file__).parents[2] / "shared" / "ov2"
TOWERS = ("p14m2_hd32", "p16m3_hd64", "p14m3_rms_nowindow", "p16m2_head", "mage_p16m2", "mage_p16m2_posenc")
TOLERANCE = 5e-5

pytestmark = pytest.mark.skipif(not GOLDEN.is_dir(), reason="no ../shared/ov2")


@pytest.fixture(scope="module", params=TOWERS)
def golden(request: pytest.FixtureRequest) -> tuple[OVTower, dict[str, Any], dict[str, Tensor]]:
    """A tower with its cases and their arrays."""
    directory = GOLDEN / "towers" / request.param
    cases = json.loads((directory / "cases.json").read_text())["cases"]
    with np.load(directory / "cases.npz") as arrays:
        tensors = {name: torch.from_numpy(arrays[name]) for name in arrays}
    return load_tower(directory), cases, tensors


def inputs(cases: dict[str, Any], tensors: dict[str, Tensor], case: str) -> tuple[Tensor, Tensor, Tensor]:
    pixels = tensors[f"{cases[case]['pixel_values_of']}.in.pixel_values"].float()
    return pixels, tensors[f"{case}.in.grid_thw"], tensors[f"{case}.in.patch_positions"]


def assert_near(got: Tensor | None, expected: Tensor, what: str) -> None:
    assert got is not None and got.shape == expected.shape, what
    assert (got - expected).abs().max() <= TOLERANCE, what


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_every_case(golden: tuple[OVTower, dict[str, Any], dict[str, Tensor]], attention: str) -> None:
    tower, cases, tensors = golden
    tower.attention = attention
    for case in cases:
        with torch.no_grad():
            out = tower(*inputs(cases, tensors, case), output_hidden_states=True)
        assert_near(out.encoder, tensors[f"{case}.out.encoder"], case)
        assert_near(out.merged, tensors[f"{case}.out.merged"], case)
        if (pooled := tensors.get(f"{case}.out.pooled")) is not None:
            assert_near(out.pooled, pooled.reshape(1, -1), case)
        else:
            assert out.pooled is None
        if (states := tensors.get(f"{case}.out.hidden_states")) is not None:
            assert_near(torch.stack(out.hidden_states), states, case)


def test_angles(golden: tuple[OVTower, dict[str, Any], dict[str, Tensor]]) -> None:
    tower, _, tensors = golden
    if "rope.positions" not in tensors:  # only some of the towers have them
        return
    config = tower.config
    got = rope_angles(tensors["rope.positions"], config.head_dim, config.rope_theta, "legacy")
    half = tensors["rope.freqs_half"]
    torch.testing.assert_close(got, half.repeat(1, 2), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("model", ["vlm_ov2", "vlm_mage"])
def test_the_tower_of_a_whole_model(model: str) -> None:
    with np.load(GOLDEN / model / "cases.npz") as arrays:
        tensors = {name: torch.from_numpy(arrays[name]) for name in arrays}
    tower = load_tower(GOLDEN / model)
    for case in ("codec", "images"):
        given = [tensors[f"{case}.in.{name}"] for name in ("pixel_values", "image_grid_thw", "patch_positions")]
        with torch.no_grad():
            assert_near(tower(*given).merged, tensors[f"{case}.out.image_embeds"], case)
