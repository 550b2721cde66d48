"""Raw clips as tokens, and packed batches of them."""

from __future__ import annotations

import io
import json
import logging
import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import ove_codec
from ove_codec.data import ClipDataset, ClipSample, DataError, Packed, SkippedClip, collate
from ove_codec.models import OVEncoder, OVEncoderConfig

pytest.importorskip("av", reason="clips are made with PyAV")
from support.prepared import COUNT, FEW, make_clips


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_clips(tmp_path_factory.mktemp("clips"))


def expected(path: Path, preset: str = "paper", **params: Any) -> ove_codec.Tokens:
    return ove_codec.tokenize(path, ove_codec.select(path, preset, **params))


def assert_tokens(sample: Any, tokens: ove_codec.Tokens) -> None:
    for name in ("patches", "positions", "cu_seqlens"):
        found, wanted = getattr(sample.tokens, name), getattr(tokens, name)
        assert torch.equal(found, wanted) and found.dtype == wanted.dtype


@pytest.mark.parametrize("kind", ["table", "folder", "paths", "rows", "bytes", "hugging face"])
def test_tokens_of_every_kind_of_source(table: Path, kind: str) -> None:
    paths = sorted(table.parent.glob("*.mp4"))
    rows: list[Any] = [{"video": str(path), "label": n, "id": f"clip {n}"} for n, path in enumerate(paths)]
    faces = [{"video": {"bytes": p.read_bytes() if n % 2 else None, "path": str(p)}} for n, p in enumerate(paths)]
    source: Any = {
        "table": table,
        "folder": table.parent,
        "paths": paths,
        "rows": rows,
        "bytes": [path.read_bytes() for path in paths],
        "hugging face": faces,
    }[kind]
    clips = ClipDataset(source, **FEW)
    assert len(clips) == COUNT
    for n, path in enumerate(paths[:3]):
        sample = clips[n]
        assert isinstance(sample, ClipSample)
        assert_tokens(sample, expected(path, **FEW))
        labels = {"table": n % 5, "rows": n}
        names = {"rows": f"clip {n}", "bytes": f"clip {n}", "hugging face": str(path), "paths": path.name}
        assert sample.label == labels.get(kind) and sample.name == names.get(kind, path.name)
        assert sample.row.get("note") == (f"note {n}" if kind == "table" else None)
    assert_tokens(clips[-1], expected(paths[-1], **FEW))
    for wrong in (COUNT, -COUNT - 1):
        with pytest.raises(IndexError, match=f"which has {COUNT}"):
            clips[wrong]


def test_parameters_reach_selection_and_pixels(table: Path) -> None:
    path = table.parent / "c02.mp4"
    clips = ClipDataset([path], "ove", size=42, patch_size=14, budget=7, dtype=torch.float16, mean=(0, 0, 0))
    selection = ove_codec.select(path, "ove", size=42, patch_size=14, budget=7)
    assert_tokens(clips[0], ove_codec.tokenize(path, selection, dtype=torch.float16, mean=(0, 0, 0)))
    assert clips.lengths == 7 and ClipDataset([path], tau=0.1).lengths is None
    for wrong, error in (({"tua": 1}, TypeError), ({"budget": 0}, ValueError), ({"on_error": "stop"}, ValueError)):
        options: dict[str, Any] = wrong
        with pytest.raises(error):
            ClipDataset([path], **options)


def other_codec(pictures: int = 4) -> bytes:
    """An MPEG-4 clip."""
    import av

    file = io.BytesIO()
    container: Any
    with av.open(file, "w", format="mp4") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width = stream.height = 64
        for n in range(pictures):
            frame = np.full((64, 64, 3), 20 * n, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, "rgb24")))
        container.mux(stream.encode())
    return file.getvalue()


def test_other_codecs_are_transcoded() -> None:
    data = other_codec()
    converted = ove_codec.transcode(data)
    sample = ClipDataset([data], transcode=True, **FEW)[0]
    assert_tokens(sample, ove_codec.tokenize(converted, ove_codec.select(converted, **FEW)))
    with pytest.raises(DataError, match=r"clip 0 cannot be read: UnsupportedStreamError.*residual_weight"):
        ClipDataset([data], **FEW)[0]


def broken(table: Path) -> list[dict[str, Any]]:
    """Six rows, three of them of clips that cannot be read."""
    good = [{"video": str(table.parent / f"c0{n}.mp4"), "label": n} for n in range(3)]
    cut = (table.parent / "c00.mp4").read_bytes()[:300]
    gone = table.parent / "gone.mp4"
    return [
        {"video": b"nothing", "label": 7, "id": "noise"},
        good[0],
        good[1],
        {"video": cut, "label": 8, "id": "cut"},
        {"video": str(gone), "label": 9},
        good[2],
    ]


def test_unreadable_clips_stop_by_name(table: Path) -> None:
    clips = ClipDataset(broken(table), **FEW)
    for number, name in ((0, "noise"), (3, "cut"), (4, r".*gone\.mp4")):
        with pytest.raises(DataError, match=f"^{name} cannot be read: DecodeError.*on_error='skip'"):
            clips[number]
    nothing = ClipDataset([table.parent / "c00.mp4"], tau=1e9, keep_first_frame=False)
    with pytest.raises(DataError, match=r"c00\.mp4 cannot be read: .*none of its patches"):
        nothing[0]


def test_unreadable_clips_are_left_out_by_name(table: Path, caplog: pytest.LogCaptureFixture) -> None:
    clips = ClipDataset(broken(table), on_error="skip", **FEW)
    with caplog.at_level(logging.WARNING, "ove_codec.data"):
        samples = [clips[n] for n in range(len(clips))]
    assert [isinstance(sample, SkippedClip) for sample in samples] == [True, False, False, True, True, False]
    batch = collate(samples)
    assert [name.rpartition("/")[2] for name, _ in batch.skipped] == ["noise", "cut", "gone.mp4"]
    assert [record.getMessage().partition(" is skipped: DecodeError")[0] for record in caplog.records] == [
        name for name, _ in batch.skipped
    ]
    assert len(batch) == 3 and batch.labels is not None and batch.labels.tolist() == [0, 1, 2]
    good = collate([sample for sample in samples if isinstance(sample, ClipSample)])
    assert torch.equal(batch.patches, good.patches) and good.skipped == ()
    nothing = collate([sample for sample in samples if isinstance(sample, SkippedClip)])
    assert len(nothing) == 0 and nothing.cu_seqlens.tolist() == [0] and len(nothing.skipped) == 3


def test_skipping_everything_is_an_error(table: Path) -> None:
    bad = [row for row in broken(table) if row["label"] > 6]
    clips = ClipDataset(bad, on_error="skip", **FEW)
    assert isinstance(clips[0], SkippedClip) and isinstance(clips[1], SkippedClip)
    assert isinstance(clips[1], SkippedClip)  # the same clip again tells nothing new
    with pytest.raises(DataError, match=r"none of 3 clips can be read; the last one is .*gone\.mp4: DecodeError"):
        clips[2]
    some = ClipDataset(broken(table)[1:2] + bad, on_error="skip", **FEW)
    assert isinstance(some[0], ClipSample)
    assert all(isinstance(some[n], SkippedClip) for n in (1, 2, 3))


def test_tables_with_lines_that_name_no_clip(table: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    lines = [json.dumps({"path": str(table.parent / "c00.mp4")}), "{", json.dumps({"path": 3})]
    (tmp_path / "list.jsonl").write_text("\n".join(lines))
    with pytest.raises(DataError, match=r"list\.jsonl, line 2 names no clip"):
        ClipDataset(tmp_path / "list.jsonl")
    clips = ClipDataset(tmp_path / "list.jsonl", on_error="skip")
    assert len(clips) == 1 and len(clips.failures) == 2 and "line 3 is skipped" in caplog.text
    # A clip that is listed twice, with two labels for example, is two samples.
    (tmp_path / "twice.jsonl").write_text("\n".join(lines[:1] * 2))
    assert len(ClipDataset(tmp_path / "twice.jsonl")) == 2


@pytest.mark.parametrize(
    ("labels", "found"),
    [
        (["3", "4"], torch.tensor([3, 4])),
        ([1, 2.5], torch.tensor([1, 2.5])),
        ([[1, 0], [0, 1]], torch.tensor([[1, 0], [0, 1]])),
        ([None, None], None),
        (["", ""], None),
    ],
)
def test_labels(table: Path, labels: list[Any], found: torch.Tensor | None) -> None:
    rows = [{"video": table.parent / "c00.mp4", "label": label} for label in labels]
    clips = ClipDataset(rows, **FEW)
    batch = collate(clips.__getitems__([0, 1]))
    assert (batch.labels is None) == (found is None)
    if found is not None and batch.labels is not None:
        assert torch.equal(batch.labels, found) and batch.labels.dtype == found.dtype


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([1, None], "clip.mp4 has no label, but other clips of the batch have"),
        (["cat", "dog"], r"the label of .* is 'cat', not a number: pass as label a function"),
        ([[1], [1, 2]], "does not fit"),
    ],
)
def test_labels_that_do_not_fit(table: Path, labels: list[Any], message: str) -> None:
    rows = [{"video": table.parent / "c00.mp4", "label": label, "id": "clip.mp4"} for label in labels]
    with pytest.raises(DataError, match=message):
        collate(ClipDataset(rows, on_error="skip", **FEW).__getitems__([0, 1]))


def test_a_label_function_that_gives_no_number(table: Path) -> None:
    rows = [{"video": table.parent / "c00.mp4", "kind": "cat", "id": "clip.mp4"}] * 2
    clips = ClipDataset(rows, label=lambda row: row["kind"], **FEW)
    with pytest.raises(DataError, match=r"the label of clip\.mp4 is 'cat', not a number: pass as label a function"):
        collate(clips.__getitems__([0]))


def test_label_functions_and_transforms(table: Path) -> None:
    kinds = ["a", "b"]
    rows = [{"video": table.parent / "c00.mp4", "kind": kind, "id": f"{kind}/x.mp4"} for kind in "ab"]
    clips = ClipDataset(rows, label=lambda row: [kinds.index(row["kind"]), len(row["name"])], **FEW)
    labels = collate(clips.__getitems__([1, 0])).labels
    assert labels is not None and labels.tolist() == [[1, 7], [0, 7]]
    with pytest.raises(DataError, match=r"the label of a/x\.mp4 cannot be found .*KeyError\('no'\)"):
        ClipDataset(rows, label=lambda row: row["no"], on_error="skip", **FEW)[0]
    clips = ClipDataset(rows, transform=lambda sample: replace(sample, label=9), **FEW)
    assert isinstance(clips[0], ClipSample) and clips[0].label == 9


@pytest.mark.parametrize(
    ("source", "error", "message"),
    [
        ([], ValueError, "no clip"),
        (iter([b""]), TypeError, "sequence of rows"),
        ([3], DataError, "clip 0 is a int: rows must be dicts"),
        ([{"film": "a.mp4"}], DataError, r"no column video or path.*only film: name one with column"),
        ([{"video": 3}], DataError, "not a int; .*decode=False"),
        ("nowhere/*.mp4", FileNotFoundError, "no such file"),
    ],
)
def test_bad_sources(source: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        ClipDataset(source, on_error="skip", **FEW)[0]


def test_packed_batch_runs_through_the_encoder(table: Path) -> None:
    clips = ClipDataset(table, **FEW)
    samples = clips.__getitems__([0, 1, 2])
    batch = collate(samples)
    assert batch.cu_seqlens.tolist() == [0, 16, 36, 60] and batch.max_seqlen == 24
    assert batch.names == ("c00.mp4", "c01.mp4", "c02.mp4") and batch.rows[2]["note"] == "note 2"
    config = OVEncoderConfig(
        hidden_size=64, intermediate_size=48, num_hidden_layers=1, num_attention_heads=2, patch_size=14
    )
    model = OVEncoder(config).eval()
    out = model(batch.patches, batch.positions, batch.cu_seqlens, max_seqlen=batch.max_seqlen)
    for sample, pooled in zip(samples, out.pooler_output, strict=True):
        assert isinstance(sample, ClipSample)
        alone = model(sample.tokens.patches, sample.tokens.positions).pooler_output[0]
        torch.testing.assert_close(pooled, alone, rtol=1e-4, atol=1e-5)


def test_batches_move_whole(table: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    batch = collate(ClipDataset(table, **FEW).__getitems__([0, 1]))
    batch = replace(batch, rows=({"box": torch.ones(2)}, {}))
    moved = batch.to("meta", non_blocking=True)
    tensors = [moved.patches, moved.positions, moved.cu_seqlens, moved.labels, moved.rows[0]["box"]]
    assert all(tensor is not None and tensor.device.type == "meta" for tensor in tensors)
    assert moved.names == batch.names and moved.max_seqlen == batch.max_seqlen
    # Without a GPU nothing can be pinned: what a DataLoader's thread does is done with a stand-in.
    pinned: list[torch.Tensor] = []

    def pin(tensor: torch.Tensor) -> torch.Tensor:
        pinned.append(tensor)
        return tensor.clone()

    monkeypatch.setattr(torch.Tensor, "pin_memory", pin)
    from torch.utils.data._utils.pin_memory import pin_memory

    twin = pin_memory(batch)
    assert isinstance(twin, Packed) and len(pinned) == 5 and torch.equal(twin.patches, batch.patches)
    assert twin.patches.data_ptr() != batch.patches.data_ptr()


def test_data_sets_can_be_pickled(table: Path) -> None:
    clips = ClipDataset(table, **FEW)
    assert_tokens(pickle.loads(pickle.dumps(clips))[2], expected(table.parent / "c02.mp4", **FEW))
