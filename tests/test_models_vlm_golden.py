"""Parity of whole LLaVA-OneVision-2 and Mage-VL models with recorded outputs, where they lie beside the repository."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

pytest.importorskip("transformers", reason="ove_codec[hf] is not installed")

from transformers import AutoModelForImageTextToText

import ove_codec.models.hf  # noqa: F401 (registers)

GOLDEN = Path(__file__).parents[2] / "shared" / "ov2"
TOLERANCE = 1e-4

pytestmark = pytest.mark.skipif(not GOLDEN.is_dir(), reason="no ../shared/ov2")


@pytest.fixture(scope="module", params=["vlm_ov2", "vlm_mage"])
def golden(request: pytest.FixtureRequest) -> tuple[Any, dict[str, Tensor]]:
    """A model and the arrays of its cases."""
    directory = GOLDEN / request.param
    with np.load(directory / "cases.npz") as arrays:
        tensors = {name: torch.from_numpy(arrays[name]) for name in arrays}
    return AutoModelForImageTextToText.from_pretrained(directory, dtype=torch.float32).eval(), tensors


def inputs(tensors: dict[str, Tensor], case: str) -> dict[str, Tensor]:
    """The inputs of a case; "codec_rows" has those of "codec" with a grid row a canvas."""
    source = case.removesuffix("_rows")
    names = ("input_ids", "pixel_values", "image_grid_thw", "patch_positions")
    given = {name: tensors[f"{source}.in.{name}"] for name in names if f"{source}.in.{name}" in tensors}
    if case != source:
        given["image_grid_thw"] = tensors[f"{source}.in.grid_per_canvas"]
    return given


def test_logits_of_every_case(golden: tuple[Any, dict[str, Tensor]]) -> None:
    model, tensors = golden
    cases = [name.removesuffix(".out.logits") for name in tensors if name.endswith(".out.logits")]
    assert len(cases) >= 3
    for case in cases:
        with torch.no_grad():
            got = model(**inputs(tensors, case)).logits
        expected = tensors[f"{case}.out.logits"]
        assert got.shape == expected.shape
        assert (got - expected).abs().max() <= TOLERANCE, case


def test_greedy_tokens_with_and_without_a_cache(golden: tuple[Any, dict[str, Tensor]]) -> None:
    model, tensors = golden
    given = inputs(tensors, "codec")
    expected = tensors["codec.out.greedy"]
    for use_cache in (True, False):
        out = model.generate(**given, max_new_tokens=12, do_sample=False, use_cache=use_cache)
        assert torch.equal(out[:, given["input_ids"].shape[1] :], expected)
