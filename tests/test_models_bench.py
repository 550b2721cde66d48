"""The encoder's benchmark: it counts what is computed, compares equals, and tells what failed."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from ove_codec.models import OVEncoder, OVEncoderConfig

ROOT = Path(__file__).resolve().parents[1]
CONFIG = OVEncoderConfig(
    hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=1, patch_size=56
)


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "bench"))
    import encoder

    return encoder


@pytest.mark.parametrize("use_head", [True, False])
def test_operations_are_those_that_pytorch_counts(bench: ModuleType, use_head: bool) -> None:
    config = replace(CONFIG, use_head=use_head)
    model = OVEncoder(config, "eager").eval().requires_grad_(False)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(torch.zeros(11, config.patch_dim), torch.zeros(11, 3))
    assert counter.get_total_flops() == bench.flops(config, 11)


def test_both_ways_give_the_same_features(bench: ModuleType) -> None:
    model = OVEncoder(CONFIG).eval()
    clips, chosen = bench.codec_tokens(CONFIG, 2, 9)
    rows, places = bench.rows_of(CONFIG, clips, chosen), bench.positions_of(CONFIG, chosen)
    with torch.no_grad():
        packed = model(rows, places, [0, 9, 18])
        dense = bench.dense(model, clips, chosen)
    torch.testing.assert_close(dense.last_hidden_state, packed.last_hidden_state, atol=1e-5, rtol=0)
    torch.testing.assert_close(dense.pooler_output, packed.pooler_output, atol=1e-5, rtol=0)


def test_a_run(
    bench: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    readme = tmp_path / "README.md"
    readme.write_text(f"before {bench.MARKS[0]}\nold\n{bench.MARKS[1]} after")
    monkeypatch.setattr(bench, "ask", lambda case: {**case, **bench.measure(case)})  # not in a process of its own
    monkeypatch.setattr(bench, "matrix_rate", lambda *_: 1e12)
    arguments = ["--device", "cpu", "--dtype", "float32", "--tokens", "16", "32", "--layers", "1", "--runs", "1"]
    monkeypatch.setattr("sys.argv", ["encoder.py", *arguments, "--results", str(tmp_path), "--readme", str(readme)])
    assert bench.main() == 0
    result = json.loads((tmp_path / "encoder-cpu.json").read_text())
    assert [(row["tokens"], row["way"]) for row in result["rows"]] == [
        (16, "packed"), (16, "dense"), (32, "packed"), (32, "dense"),
    ]  # fmt: skip
    assert all(row["seconds"] > 0 and row["peak_mb"] > 0 for row in result["rows"])
    text = readme.read_text()
    assert text.startswith("before <!-- encoder -->") and text.endswith("<!-- /encoder --> after")
    assert "| ov-encoder-base, 1 of 12 layers | 16 | 1 |" in text and "old" not in text
    assert capsys.readouterr().out.strip() in text


def test_failures_and_comparisons_are_told(bench: ModuleType) -> None:
    case = {"model": "m", "layers": 2, "all_layers": 2, "batch": 1}
    measured = {"tokens_per_second": 100.0, "flops_per_second": 5e11, "peak_mb": 12.0}
    rows = [
        {**case, "tokens": 2048, "way": "packed", "seconds": 1.0, **measured},
        {**case, "tokens": 2048, "way": "dense", "error": "OutOfMemoryError: no"},
        {**case, "tokens": 16384, "way": "packed", "seconds": 12.5, **measured},
    ]
    facts = {"device": "D", "kind": "cuda", "torch": "2", "dtype": "bfloat16", "matrix_flops_per_second": 1e12}
    text = bench.table({**facts, "rows": rows})
    assert "| m | 2048 | 1 | 100 (50%), 12 MB | failed |" in text
    assert "| m | 16384 | 1 | 100 (50%), 12 MB | - |" in text
    assert "1/12.5 of the time" in text
    assert "m, 2048 tokens, dense: OutOfMemoryError: no." in text


def test_a_case_that_fails_says_why(bench: ModuleType) -> None:
    assert (
        "unknown configuration"
        in bench.ask({"model": "none", "layers": 1, "device": "cpu", "dtype": "float32"})["error"]
    )
