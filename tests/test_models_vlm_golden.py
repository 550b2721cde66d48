"""Parity of whole LLaVA-OneVision-2 and Mage-VL models with recorded outputs, where they lie beside the repository."""

from __future__ import annotations

import json
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

pytest.importorskip("transformers", "5", reason="ove_codec[hf] with transformers 5 is not installed")

from transformers import AutoModelForImageTextToText

from ove_codec.models.hf import LlavaOnevision2ImageProcessor, LlavaOnevision2Processor, MageVLProcessor
from ove_codec.models.visuals import PatchFormat, canvas_visual, runs_text
from support import vlm

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


def byte_processor(directory: Path, **options: Any) -> Any:
    """The processor of a golden model, which has no tokenizer of its own: one token for every byte."""
    settings = json.loads((directory / "preprocessor_config.json").read_text())
    images = LlavaOnevision2ImageProcessor(**{**settings, **options})
    kind = MageVLProcessor if "mage" in directory.name else LlavaOnevision2Processor
    return kind(images, vlm.tokenizer())


def canvases_of(run: str) -> Any:
    """What a run of the preprocessor gave, read back from its files."""
    folder = GOLDEN / "codec" / run
    files = sorted(folder.glob("canvas_*"))
    with np.load(folder / "arrays.npz") as arrays:
        positions = arrays["src_patch_position"]
    fps = json.loads((folder / "run.json").read_text())["fps"]
    images = np.stack([np.asarray(Image.open(file)) for file in files])
    return SimpleNamespace(images=images, src_positions=positions, fps=fps)


@pytest.mark.parametrize("model", ["vlm_ov2", "vlm_mage"])
def test_inputs_of_a_codec_video(model: str) -> None:
    directory = GOLDEN / model
    case = json.loads((directory / "cases.json").read_text())["cases"]["codec"]
    inputs = byte_processor(directory)(text=case["prompt"], videos=canvases_of(case["source_run"]), return_tensors="pt")
    with np.load(directory / "cases.npz") as arrays:
        for name in ("input_ids", "image_grid_thw", "patch_positions"):
            assert np.array_equal(inputs[name].numpy(), arrays[f"codec.in.{name}"])
        assert np.abs(inputs["pixel_values"].numpy() - arrays["codec.in.pixel_values"]).max() < 1e-5
    assert vlm.tokenizer().decode(inputs["input_ids"][0]) == case["text"]


@pytest.mark.parametrize("model", ["vlm_ov2", "vlm_mage"])
def test_inputs_of_images(model: str) -> None:
    directory = GOLDEN / model
    case = json.loads((directory / "cases.json").read_text())["cases"]["images"]
    prompt = re.sub(r"(<\|image_pad\|>)+", r"\1", case["text"])
    with np.load(directory / "cases.npz") as arrays:
        images = [arrays[f"images.in.image{number}"] for number in range(2)]
        inputs = byte_processor(directory, **case["resize"])(text=prompt, images=images, return_tensors="pt")
        for name in ("input_ids", "image_grid_thw", "patch_positions"):
            assert np.array_equal(inputs[name].numpy(), arrays[f"images.in.{name}"])
        assert np.abs(inputs["pixel_values"].numpy() - arrays["images.in.pixel_values"]).max() < 1e-5


RUNS = sorted(file.parent for file in GOLDEN.glob("codec/*/text.txt"))


@pytest.mark.parametrize("folder", RUNS, ids=lambda folder: folder.name)
def test_the_text_of_every_run(folder: Path) -> None:
    run = json.loads((folder / "run.json").read_text())
    merge = run["config"].get("block_size", 2)
    with np.load(folder / "arrays.npz") as arrays:
        ordered, positions = arrays["patch_positions"], arrays["src_patch_position"]
    text = runs_text(ordered[:, 0], merge, run["fps"])
    prompt, expected = ((folder / f"{name}.txt").read_text() for name in ("prompt", "text"))
    assert prompt.replace(vlm.VIDEO, text) == expected
    # The positions that the model gets, from those of the canvases: by black canvases of the right size.
    rows, columns = run["grid_hw"]
    patch = run["config"]["patch"]
    blank = np.zeros((run["canvases"], rows * patch, columns * patch, 3), np.uint8)
    visual = canvas_visual(blank, positions, PatchFormat(patch, merge), run["fps"], joined=True)
    assert np.array_equal(visual.patch_positions, ordered) and visual.text == text
