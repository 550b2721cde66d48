"""What select-dataset has written, read clip by clip: the same tokens as of the raw clips."""

from __future__ import annotations

import json
import multiprocessing
import os
import pickle
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ove_codec.data import ClipDataset, ClipSample, DataError, PreparedDataset, SkippedClip

pa = pytest.importorskip("pyarrow", reason="data sets need pyarrow")
pq = pytest.importorskip("pyarrow.parquet")
pytest.importorskip("av", reason="clips are made with PyAV")

from support.prepared import COUNT, FEW, make_clips, prepare  # noqa: E402 (it needs pyarrow)

FORMATS = ("parquet", "webdataset")


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_clips(tmp_path_factory.mktemp("clips"))


@pytest.fixture(scope="module")
def outputs(table: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str | None], Path]:
    """By format and type of stored patches."""
    root = tmp_path_factory.mktemp("outputs")
    found: dict[tuple[str, str | None], Path] = {}
    for format in FORMATS:
        for tokens in ("float32", "float16", None):
            found[format, tokens] = root / f"{format}-{tokens}"
            prepare(table, found[format, tokens], format=format, tokens=tokens)
    return found


def samples(dataset: Any) -> list[ClipSample]:
    found = [dataset[n] for n in range(len(dataset))]
    assert all(isinstance(sample, ClipSample) for sample in found), found
    return found


def assert_same(found: list[ClipSample], wanted: list[ClipSample]) -> None:
    """Names, labels, rows and tokens agree, whatever the order."""
    assert [sample.name for sample in found] == [sample.name for sample in wanted]
    for a, b in zip(found, wanted, strict=True):
        assert a.label == b.label and a.row == b.row
        assert torch.equal(a.tokens.positions, b.tokens.positions) and a.tokens.positions.dtype == torch.int64
        assert torch.equal(a.tokens.patches, b.tokens.patches) and a.tokens.patches.dtype == b.tokens.patches.dtype
        assert torch.equal(a.tokens.cu_seqlens, b.tokens.cu_seqlens)


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("tokens", ["float32", "float16", None])
def test_prepared_is_raw(table: Path, outputs: Any, format: str, tokens: str | None) -> None:
    prepared_at = outputs[format, tokens]
    prepared = PreparedDataset(prepared_at)
    dtype = torch.float16 if tokens == "float16" else torch.float32
    assert_same(samples(prepared), samples(ClipDataset(table, dtype=dtype, **FEW)))
    assert prepared.counts.tolist() == [3, 3, 3, 2]
    assert isinstance(prepared.lengths, np.ndarray) and prepared.lengths.tolist() == [
        4 * (4 + n % 3) for n in range(COUNT)
    ]
    assert prepared.settings["params"]["budget"] == 24 and prepared.settings["tokens"] == tokens
    others = samples(PreparedDataset(prepared_at, dtype=torch.float64))
    for sample, other in zip(samples(prepared), others, strict=True):
        assert torch.equal(other.tokens.patches, sample.tokens.patches.double())


@pytest.mark.parametrize("format", FORMATS)
def test_stored_patches_need_no_clip(table: Path, tmp_path: Path, format: str) -> None:
    clips = shutil.copytree(table.parent, tmp_path / "clips")
    prepare(clips / "clips.csv", tmp_path / "out", format=format, tokens="float32")
    before = samples(PreparedDataset(tmp_path / "out"))
    shutil.move(clips, tmp_path / "moved")
    assert_same(samples(PreparedDataset(tmp_path / "out")), before)
    with pytest.raises(DataError, match=r"c00\.mp4 cannot be read: DecodeError"):
        PreparedDataset(tmp_path / "out", stored=False)[0]
    for source in (tmp_path / "moved", tmp_path / "moved" / "clips.csv"):
        assert_same(samples(PreparedDataset(tmp_path / "out", stored=False, source=source)), before)
    # What a table says now goes before what was stored.
    (tmp_path / "moved" / "clips.csv").write_text("path,label\nc00.mp4,70\nc01.mp4,71\n")
    again = PreparedDataset(tmp_path / "out", stored=False, source=tmp_path / "moved" / "clips.csv", on_error="skip")
    first, third = again[0], again[2]
    assert isinstance(first, ClipSample) and first.label == 70 and first.row["note"] == "note 0"
    assert isinstance(third, SkippedClip) and (third.name, "source has no clip" in third.reason) == ("c02.mp4", True)


def test_a_clip_that_has_changed_is_not_taken_for_the_old_one(table: Path, tmp_path: Path) -> None:
    clips = shutil.copytree(table.parent, tmp_path / "clips")
    prepare(clips / "clips.csv", tmp_path / "out")
    shutil.copy(clips / "c02.mp4", clips / "c00.mp4")
    with pytest.raises(DataError, match=r"c00\.mp4 cannot be read: .*has 6 pictures, but had 4"):
        PreparedDataset(tmp_path / "out")[0]


def test_other_codecs_are_transcoded_again(tmp_path: Path) -> None:
    from test_data_clips import other_codec

    (tmp_path / "other.mp4").write_bytes(other_codec())
    raw = samples(ClipDataset(tmp_path / "other.mp4", transcode=True, **FEW))
    jobs: list[dict[str, Any]] = [{}, {"format": "webdataset"}, {"format": "webdataset", "video": True}]
    for n, job in enumerate(jobs):
        prepare(tmp_path / "other.mp4", tmp_path / f"out{n}", **job)
        assert_same(samples(PreparedDataset(tmp_path / f"out{n}")), raw)
    (tmp_path / "other.mp4").unlink()
    assert_same(samples(PreparedDataset(tmp_path / "out2")), raw)  # the clip is in the shard


def test_clips_in_shards(table: Path, tmp_path: Path) -> None:
    prepare(table, tmp_path / "first", format="webdataset", video=True)
    shards = tmp_path / "first"
    prepare(str(shards / "*.tar"), tmp_path / "second")
    raw = samples(ClipDataset(str(shards / "*.tar"), **FEW))
    assert len(raw) == COUNT
    assert_same(samples(PreparedDataset(tmp_path / "second", source=str(shards / "*.tar"))), raw)
    with pytest.raises(DataError, match="is in a shard: pass as source"):
        PreparedDataset(tmp_path / "second", on_error="skip")[0]


@pytest.mark.parametrize("format", FORMATS)
def test_urls(outputs: Any, table: Path, format: str) -> None:
    fsspec = pytest.importorskip("fsspec", reason="for URLs")
    memory = fsspec.filesystem("memory")
    memory.put(str(outputs[format, "float32"]), f"/{format}", recursive=True)
    memory.put(str(table.parent), f"/clips-{format}", recursive=True)
    wanted = samples(PreparedDataset(outputs[format, "float32"]))
    try:
        assert_same(samples(PreparedDataset(f"memory://{format}")), wanted)
        moved = PreparedDataset(f"memory://{format}", stored=False, source=f"memory://clips-{format}/clips.csv")
        assert_same(samples(moved), wanted)
        assert_same(samples(ClipDataset(f"memory://clips-{format}/clips.csv", **FEW)), wanted)
    finally:
        memory.rm(f"/{format}", recursive=True)
        memory.rm(f"/clips-{format}", recursive=True)


def test_row_groups_are_not_loaded_whole(tmp_path: Path, outputs: Any) -> None:
    """Every clip of a large row group in turn, and one out of its middle, in a fraction of the memory that it takes."""
    out = shutil.copytree(outputs["parquet", "float32"], tmp_path / "out")
    entry = json.loads((out / "_manifest" / "part-000000.jsonl").read_text().splitlines()[0])
    for file in [*out.glob("part-*.parquet"), *(out / "_manifest").glob("part-*.jsonl")]:
        if "part-000000" not in file.name:
            file.unlink()
    table = pq.read_table(out / "part-000000.parquet").slice(0, 1)
    rows = 60
    patches = np.random.default_rng(0).normal(size=(480, 588)).astype(np.float32)
    values = pa.FixedSizeListArray.from_arrays(pa.array(patches.ravel()), 588)
    column = pa.LargeListArray.from_arrays(pa.array([0, 480], pa.int64()), values)
    positions = pa.FixedSizeListArray.from_arrays(pa.array(np.zeros(480 * 3, np.int32)), 3)
    places = pa.LargeListArray.from_arrays(pa.array([0, 480], pa.int64()), positions)
    for name, new in (("tokens", column), ("positions", places)):
        table = table.set_column(table.schema.get_field_index(name), name, new)
    whole = pa.concat_tables([table] * rows)
    pq.write_table(whole, out / "part-000000.parquet", row_group_size=rows)
    size = whole.nbytes
    del whole, table
    (out / "_manifest" / "part-000000.jsonl").write_text((json.dumps({**entry, "tokens": 480}) + "\n") * rows)
    prepared = PreparedDataset(out)
    assert pq.ParquetFile(out / "part-000000.parquet").num_row_groups == 1 and len(prepared) == rows
    before, pool = pa.default_memory_pool(), pa.system_memory_pool()
    pa.set_memory_pool(pool)
    try:
        for number in (*range(10), 40):
            sample = prepared[number]
            assert isinstance(sample, ClipSample)
            np.testing.assert_array_equal(sample.tokens.patches.numpy(), patches)
    finally:
        pa.set_memory_pool(before)
    assert 0 < pool.max_memory() < size / 3


def test_only_finished_shards_are_read(outputs: Any, tmp_path: Path) -> None:
    out = shutil.copytree(outputs["parquet", None], tmp_path / "out")
    (out / "_manifest" / "part-000001.jsonl").unlink()
    assert [sample.name for sample in samples(PreparedDataset(out, stored=False))][:4] == [
        "c00.mp4", "c01.mp4", "c02.mp4", "c06.mp4",
    ]  # fmt: skip


def test_outputs_that_cannot_be_read(outputs: Any, table: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"is not an output of select-dataset: it has no _manifest/job\.json"):
        PreparedDataset(table.parent)
    out = shutil.copytree(outputs["parquet", "float32"], tmp_path / "out")
    (out / "part-000000.parquet").write_bytes((out / "part-000001.parquet").read_bytes()[:-30])
    with pytest.raises(DataError, match=r"part-000000\.parquet cannot be read: ArrowInvalid"):
        PreparedDataset(out, on_error="skip")[0]
    shutil.copy(out / "part-000003.parquet", out / "part-000001.parquet")
    with pytest.raises(DataError, match=r"part-000001\.parquet holds 2 clips, but its manifest says 3"):
        PreparedDataset(out, on_error="skip")[3]
    (out / "part-000002.parquet").unlink()
    with pytest.raises(DataError, match=r"part-000002\.parquet cannot be read: FileNotFoundError"):
        PreparedDataset(out, on_error="skip")[6]
    (out / "_manifest" / "part-000000.jsonl").write_text("{")
    with pytest.raises(DataError, match=r"the list of shards in .*out is damaged"):
        PreparedDataset(out)
    for manifest in (out / "_manifest").glob("part-*"):
        manifest.unlink()
    with pytest.raises(ValueError, match="holds no clip"):
        PreparedDataset(out)
    prepare(table, tmp_path / "reference", format="reference")
    with pytest.raises(ValueError, match="format 'reference', which has no shards"):
        PreparedDataset(tmp_path / "reference")


def _sums(dataset: PreparedDataset) -> list[list[float]]:
    """Of the patches of each clip, several times over, out of order."""
    order = [1, 0, 9, 4, 10, 2]
    return [[float(dataset[n].tokens.patches.sum()) for n in order] for _ in range(4)]  # type: ignore[union-attr]


def _send_sums(dataset: PreparedDataset, pipe: Any) -> None:
    pipe.send(_sums(dataset))


@pytest.mark.parametrize("format", FORMATS)
def test_no_open_file_is_shared_with_a_forked_process(outputs: Any, format: str) -> None:
    """Parent and child read at the same time, where files of the parent are open already and have positions."""
    pytest.importorskip("fsspec", reason="for URLs")
    dataset = PreparedDataset(f"local://{outputs[format, 'float32']}")
    wanted = _sums(dataset)
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe()
    child = context.Process(target=_send_sums, args=(dataset, theirs))
    child.start()
    assert _sums(dataset) == wanted
    assert ours.poll(30) and ours.recv() == wanted
    child.join()
    assert _sums(pickle.loads(pickle.dumps(dataset))) == wanted


def test_few_files_stay_open(table: Path, tmp_path: Path) -> None:
    prepare(table, tmp_path / "out", shard_clips=1, tokens="float32")
    many = tmp_path / "many"
    shutil.copytree(tmp_path / "out" / "_manifest", many / "_manifest")
    for number in range(40):
        for name in ("part-000000.parquet", "_manifest/part-000000.jsonl"):
            shutil.copy(tmp_path / "out" / name, many / name.replace("000000", f"{number:06}"))
    dataset = PreparedDataset(many)
    before = len(os.listdir("/proc/self/fd"))
    assert len(samples(dataset)) == 40
    assert len(os.listdir("/proc/self/fd")) - before <= 16
