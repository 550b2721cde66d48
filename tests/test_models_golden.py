"""Parity with recorded outputs of the reference model, where they lie beside the repository."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from ove_codec.models import OVEncoder, OVEncoderOutput, encode_pixels
from ove_codec.models.rope import apply_rope, rope_angles, rope_tables

GOLDEN = Path(__file__).parents[2] / "shared" / "golden_model"
MODELS = ("tiny_hd32", "small_hd64", "opt_rms_nohead")

pytestmark = pytest.mark.skipif(not GOLDEN.is_dir(), reason="no ../shared/golden_model")


@pytest.fixture(scope="module", params=MODELS)
def golden(request: pytest.FixtureRequest) -> tuple[OVEncoder, dict[str, Any], dict[str, Tensor]]:
    """A model with its cases and their tensors."""
    directory = GOLDEN / request.param
    cases = json.loads((directory / "cases.json").read_text())["cases"]
    return OVEncoder.from_pretrained(directory), cases, load_file(directory / "cases.safetensors")


def assert_near(got: Tensor, expected: Tensor, what: str, tolerance: float = 5e-5) -> None:
    assert got.shape == expected.shape, what
    assert (got - expected).abs().max() <= tolerance, what


def encode(model: OVEncoder, inputs: dict[str, Tensor], details: bool = False) -> OVEncoderOutput:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "as many visible_indices as patches")
        warnings.filterwarnings("ignore", "positions has the slot")
        return encode_pixels(
            model,
            inputs["pixel_values"],
            inputs.get("visible_indices"),
            inputs.get("patch_positions"),
            output_hidden_states=details,
            output_attentions=details,
        )


def test_every_case(golden: tuple[OVEncoder, dict[str, Any], dict[str, Tensor]]) -> None:
    model, cases, tensors = golden
    compared = 0
    for case, entry in cases.items():
        inputs = {name: tensors[key] for name, (key, *_) in entry["inputs"].items()}
        with torch.no_grad():
            out = encode(model, inputs, details=True)
        assert out.hidden_states is not None and out.attentions is not None
        for name, place in entry["outputs"].items():
            field, _, layer = name.partition(".")
            got = getattr(out, field)
            if place is None:
                assert got is None, f"{case}: {name}"
                continue
            if layer:
                got = got[int(layer)]
            if field == "attentions":
                got = torch.stack(got)
            assert_near(got, tensors[place[0]], f"{case}: {name}")
            compared += 1
    expected = [key for key in tensors if ".out." in key]
    assert compared == len(expected) > 0


def test_rope(golden: tuple[OVEncoder, dict[str, Any], dict[str, Tensor]]) -> None:
    model, _, tensors = golden
    config = model.config
    positions = tensors["video4_patch_positions_per_sample.in.patch_positions"]
    frequencies = tensors["rope.freqs_from_positions"]
    for sample, expected in zip(positions, frequencies, strict=True):
        got = rope_angles(sample, config.head_dim, config.rope_theta, "legacy")
        assert_near(got, expected.repeat(1, 2), "angles", 2e-5)
    for sample, places in enumerate(positions):
        tables = rope_tables(places, config.head_dim, config.rope_theta, "legacy")
        for name in ("q", "k"):
            x = tensors[f"rope.{name}"][sample].transpose(0, 1)
            turned = apply_rope(x, *tables).transpose(0, 1)
            assert_near(turned, tensors[f"rope.{name}_rot"][sample], name)


def test_gradients(golden: tuple[OVEncoder, dict[str, Any], dict[str, Tensor]]) -> None:
    model, cases, tensors = golden
    inputs = {name: tensors[key] for name, (key, *_) in cases["video4_patch_positions"]["inputs"].items()}
    model.zero_grad()
    out = encode(model, inputs)
    loss = (out.last_hidden_state * tensors["grad.A"]).mean()
    if out.pooler_output is not None:
        loss = loss + (out.pooler_output * tensors["grad.B"]).mean()
    loss.backward()
    assert_near(loss.detach()[None], tensors["grad.loss"], "loss")
    parameters = dict(model.named_parameters())
    names = [key.removeprefix("grad.") for key in tensors if key.startswith("grad.") and key[5:] in parameters]
    assert len(names) == (6 if model.config.use_head else 4)
    for name in names:
        expected = tensors[f"grad.{name}"]
        gradient = parameters[name].grad
        assert gradient is not None, name
        assert_near(gradient, expected, name, 1e-4 * float(expected.abs().max()))
