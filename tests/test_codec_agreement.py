"""The benchmark of codecs in a tiny setting: what it compares, and that a run goes on where it ended."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ove_codec
from support import ffmpeg

pytestmark = pytest.mark.skipif(not ffmpeg.has_libx265(), reason="ffmpeg with libx265 is not installed")
ENCODINGS = ("x264, medium", "x265, reference's recipe")  # of all, to save time


def test_tiny_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).resolve().parents[1] / "bench"))
    import codec_agreement as bench

    encodings = {name: options for name, options in bench.ENCODINGS.items() if name in ENCODINGS}
    monkeypatch.setattr(bench, "ENCODINGS", encodings)
    setting = bench.motion_probe.SMALL
    training = dataclasses.replace(setting.training, layers=1, epochs=1)
    work = bench.Work("ove", 1, 1, 2, dataclasses.replace(setting, training=training, side=64))
    assert work.ways() == [(name, way) for name in ENCODINGS for way in ("own", "reference", "saliency")]
    files = [bench.tokens_of(clip, work, tmp_path) for clip in work.clips()]
    path = tmp_path / f"{work.clips()[0].name}.1.mkv"
    with np.load(files[0]) as found:
        sources: list[tuple[int, Any]] = [(3, path), (4, ove_codec.transcode(path, recipe="reference"))]
        for number, source in sources:
            shared = dataclasses.asdict(setting.grid) | {"resize": "crop", "padding": "exclude"}
            expected = ove_codec.select(source, "ove", **shared)
            assert np.array_equal(bench.masks_of(found, number), expected.mask)
            tokens = ove_codec.tokenize(path, expected)
            assert np.array_equal(found[f"{number}.rows"], tokens.patches.numpy().astype(np.float16))
            assert 0 <= found[f"{number}.touching"] <= 1
            assert found[f"{number}.places"][:, 0].max() <= setting.grid.num_frames - 1
    assert bench.overlaps(files, work, 3, 3) == [1.0, 1.0]
    assert all(0 < share < 1 for share in bench.overlaps(files, work, 0, 5))
    assert len(bench.accuracy(files, work, 2)) == 2

    made: list[Any] = []
    monkeypatch.setattr(bench, "encode", lambda *arguments: made.append(arguments))
    assert [bench.tokens_of(clip, work, tmp_path) for clip in work.clips()] == files and not made


def test_table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).resolve().parents[1] / "bench"))
    import codec_agreement as bench

    rows = [
        {"encoding": "x264", "way": "own", "overlap": 1.0, "accuracy": [50.0, 60.0], "on_action": 0.5},
        {"encoding": "x264", "way": "reference", "overlap": 0.714, "accuracy": [40.0], "on_action": 0.25},
        {"encoding": "vp9", "way": "reference", "overlap": None, "accuracy": [40.0], "on_action": 0.25},
    ]
    work = dataclasses.asdict(bench.Work("ove", 3, 2, 1))
    outcome = {"machine": {"cpu": "A CPU", "cores": 2}, "work": work, "rows": rows}
    lines = bench.table(outcome).splitlines()
    assert lines[-3:] == [
        "| x264 | the file | - | 55.0 ± 7.1 | 50.0 % |",
        "| x264 | HEVC, `reference` | 71 % | 40.0 | 25.0 % |",
        "| vp9 | HEVC, `reference` | - | 40.0 | 25.0 % |",
    ]
