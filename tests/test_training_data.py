"""Shards, their order, kinds of input, and mixed batches."""

from __future__ import annotations

import dataclasses
import io
import json
import tarfile
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import ove_codec
from ove_codec.cli import main
from ove_codec.data import (
    CodecInput,
    CollageInput,
    DataError,
    FrameInput,
    HeadData,
    ImageInput,
    Input,
    Mixture,
    OcrInput,
    Order,
    PackedBatch,
    Sample,
    ShardSet,
    synthetic,
    write_shards,
)
from ove_codec.models.pixels import patchify

RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def clip() -> bytes:
    pytest.importorskip("av", reason="clips are made with PyAV")
    return synthetic.clip(0, 1, np.random.default_rng(3), frames=14)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, clip: bytes) -> Path:
    """40 pictures in several shards, six clips in one."""
    out = tmp_path_factory.mktemp("shards")
    list(write_shards(synthetic.picture_samples(40, 1, False), out, "pictures", 70_000))
    clips = ((f"{n}", {"mp4": clip, "json": json.dumps({"labels": [n]}).encode()}) for n in range(6))
    list(write_shards(clips, out, "clips", 1 << 20))
    return out


def heads(folder: Path, **inputs: Any) -> dict[str, HeadData]:
    kinds: dict[str, Input] = inputs or {"image": ImageInput(size=32)}
    return {"pictures": HeadData((f"{folder}/pictures-*.tar",), 128, 4, 3.0, kinds)}


def same(a: PackedBatch, b: PackedBatch) -> bool:
    tensors = all(torch.equal(getattr(a, name), getattr(b, name)) for name in ("patches", "positions", "cu_seqlens"))
    return tensors and a.names == b.names and all(torch.equal(a.labels[head], b.labels[head]) for head in a.labels)


# Shards


def test_shards_hold_what_was_written(folder: Path) -> None:
    shards = ShardSet([f"{folder}/pictures-*.tar"])
    assert len(shards.files) > 2 and len(shards) == 40
    places = [(s, n) for s, count in enumerate(shards.counts) for n in range(count)]
    for place, (key, members) in zip(places, synthetic.picture_samples(40, 1, False), strict=True):
        sample = shards.read(*place)
        assert sample.members == members and sample.name.endswith(f"/{key}")


def test_webdataset_reads_them(folder: Path) -> None:
    webdataset = pytest.importorskip("webdataset", reason="a reader of the same layout")
    files = [str(file) for file in sorted(folder.glob("pictures-*.tar"))]
    found = list(webdataset.WebDataset(files, shardshuffle=False))
    shards = ShardSet(files)
    ours = [shards.read(s, n) for s, count in enumerate(shards.counts) for n in range(count)]
    assert [{k: v for k, v in s.items() if not k.startswith("__")} for s in found] == [s.members for s in ours]


def test_ranges_and_counting(folder: Path, tmp_path: Path) -> None:
    for n in (8, 9, 10):
        (tmp_path / f"x-{n:02}.tar").write_bytes((folder / "pictures-000000.tar").read_bytes())
    shards = ShardSet([f"{tmp_path}/x-{{08..10}}.tar"])  # no sizes.json: they are counted
    assert [Path(file).name for file in shards.files] == ["x-08.tar", "x-09.tar", "x-10.tar"]
    assert len(set(shards.counts.tolist())) == 1 and shards.counts[0] > 3


def test_missing_shards(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no shard fits .*y-\*"):
        ShardSet([f"{tmp_path}/y-*.tar"])
    with pytest.raises(FileNotFoundError, match=r"the shard .*y-1\.tar is missing"):
        ShardSet([f"{tmp_path}/y-{{1..2}}.tar"])
    (tmp_path / "a.tar").write_bytes((folder / "clips-000000.tar").read_bytes())
    (tmp_path / "sizes.json").write_text('{"a.tar": 6, "b.tar": 3}')
    with pytest.raises(FileNotFoundError, match=r"b\.tar is missing, though sizes\.json"):
        ShardSet([f"{tmp_path}/*.tar"])
    (tmp_path / "sizes.json").write_text('{"a.tar": 7}')
    with pytest.raises(DataError, match=r"holds 6 samples, but sizes\.json says 7"):
        ShardSet([f"{tmp_path}/a.tar"]).read(0, 0)
    shards = ShardSet([f"{tmp_path}/a.tar"])
    for _ in range(2):  # what is wrong stays wrong
        with pytest.raises(DataError, match=r"holds 6 samples, but sizes\.json says 7"):
            shards.read(0, 0)
    (tmp_path / "sizes.json").write_text('{"a.tar": "x"}')
    with pytest.raises(DataError, match="damaged"):
        ShardSet([f"{tmp_path}/a.tar"])


def test_damaged_shards(folder: Path, tmp_path: Path) -> None:
    data = (folder / "clips-000000.tar").read_bytes()
    (tmp_path / "cut.tar").write_bytes(data[:700])
    with pytest.raises(DataError, match=r"cut\.tar is cut off inside 0\.mp4"):
        ShardSet([f"{tmp_path}/cut.tar"])
    with tarfile.open(tmp_path / "packed.tar", "w:gz") as tar:
        tar.add(folder / "sizes.json", "a.json")
    with pytest.raises(DataError, match="not an uncompressed tar"):
        ShardSet([f"{tmp_path}/packed.tar"])
    (tmp_path / "gone.tar").write_bytes(data)
    shards = ShardSet([f"{tmp_path}/gone.tar"])
    (tmp_path / "gone.tar").unlink()
    with pytest.raises(DataError, match=r"gone\.tar can no longer be read"):
        shards.read(0, 0)


def test_writing_is_whole_or_nothing(tmp_path: Path) -> None:
    def broken() -> Any:
        yield "a", {"txt": b"x" * 600}
        yield "b", {"txt": b"x" * 600}
        raise OSError("disk")

    with pytest.raises(OSError, match="disk"):
        list(write_shards(broken(), tmp_path, "s", 100))
    assert sorted(file.name for file in tmp_path.iterdir()) == ["s-000000.tar"]
    with pytest.raises(FileExistsError, match="--prefix"):
        list(write_shards([], tmp_path, "s", 100))
    with pytest.raises(ValueError, match="key"):
        list(write_shards([("a.b", {})], tmp_path, "t", 100))


# Order


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.integers(0, 7), min_size=1, max_size=9).filter(sum), st.integers(1, 4), st.integers(0, 5), st.booleans()
)
def test_every_epoch_is_a_permutation(counts: list[int], window: int, seed: int, shuffle: bool) -> None:
    order = Order(np.array(counts), seed, window, shuffle)
    everything = sorted((s, n) for s, count in enumerate(counts) for n in range(count))
    epochs = [[order.locate(e * len(everything) + i) for i in range(len(everything))] for e in range(3)]
    assert all(sorted(epoch) == everything for epoch in epochs)
    if not shuffle:
        assert epochs[0] == everything
    for epoch in epochs:  # a window's shards are used up before others are begun
        first = {shard: epoch.index(next(x for x in epoch if x[0] == shard)) for shard, _ in epoch}
        for i, (shard, _) in enumerate(epoch):
            unfinished = {s for s, _ in epoch[i:]} & {s for s, place in first.items() if place <= i}
            assert shard in unfinished and len(unfinished) <= window


def test_order_depends_on_seed_and_epoch() -> None:
    orders = [Order(np.full(20, 10), seed, 4) for seed in (0, 0, 1)]
    sequences = [[order.locate(i) for i in range(400)] for order in orders]
    assert sequences[0] == sequences[1] != sequences[2]
    assert sequences[0][:200] != sequences[0][200:]


# Kinds of input


def sample_of(data: bytes, suffix: str = "mp4", **members: bytes) -> Sample:
    return Sample("s", {suffix: data, **members})


def png(width: int, height: int) -> bytes:
    file = io.BytesIO()
    Image.fromarray(RNG.integers(0, 255, (height, width, 3), dtype=np.uint8)).save(file, "png")
    return file.getvalue()


def test_codec_input_is_select_and_tokenize(clip: bytes) -> None:
    """Patches are those of the pictures that the scores are of: every one is found in the decoded frame of its slot."""
    kind = CodecInput(budget=30, num_frames=6, size=64)
    tokens = kind.tokens(sample_of(clip), 16, RNG)
    selection = ove_codec.select(clip, num_frames=6, size=64, patch_size=16, budget=30)
    assert torch.equal(tokens.positions, torch.from_numpy(selection.positions).long())
    frames = ove_codec.frames(clip, selection.frame_ids, size=64)
    grid = patchify(frames.transpose(0, 1)[None], 16)[0].unflatten(0, (6, 4, 4))
    expected = grid[tuple(tokens.positions.T)]
    torch.testing.assert_close(tokens.patches, expected, rtol=0, atol=2e-2)
    others = [grid[(t + 1) % 6, h, w] for t, h, w in tokens.positions.tolist()]
    assert (torch.stack(others) - tokens.patches).abs().amax() > 0.5  # so the comparison can fail


def test_stored_selections(clip: bytes, tmp_path: Path) -> None:
    selection = ove_codec.select(clip, "bitcost", num_frames=4, size=64, patch_size=16, budget=20)
    selection.save(tmp_path / "s.npz")
    stored = sample_of(clip, npz=(tmp_path / "s.npz").read_bytes())
    options: dict[str, Any] = {"budget": 20, "num_frames": 4, "size": 64}
    tokens = CodecInput(**options).tokens(stored, 16, RNG)
    assert torch.equal(tokens.positions, torch.from_numpy(selection.positions).long())
    computed = CodecInput(**options, selection="compute").tokens(stored, 16, RNG)
    assert not torch.equal(tokens.positions, computed.positions)
    with pytest.raises(DataError, match="20 patches of 16 samples, but the recipe allows at most 19 of 16"):
        CodecInput(budget=19).tokens(stored, 16, RNG)
    with pytest.raises(DataError, match="of 14"):
        CodecInput(budget=20).tokens(stored, 14, RNG)
    with pytest.raises(ValueError, match="no stored selection"):
        CodecInput(selection="stored").tokens(sample_of(clip), 16, RNG)


def test_frame_and_collage_inputs(clip: bytes) -> None:
    tokens = FrameInput(num_frames=8, shown=3, size=32).tokens(sample_of(clip), 16, np.random.default_rng(5))
    slots = tokens.positions[::4, 0]
    ids = np.linspace(0, 13, 8).astype(int)
    assert (
        len(slots) == 3 and [s in run for s, run in zip(slots, np.array_split(range(8), 3), strict=True)] == [True] * 3
    )
    frames = ove_codec.frames(clip, ids[slots.numpy()], size=32)
    assert torch.equal(tokens.patches, patchify(frames.transpose(0, 1)[None], 16)[0])
    collage = CollageInput(num_frames=8, shown=3, size=32).tokens(sample_of(clip), 16, np.random.default_rng(5))
    assert torch.equal(collage.patches, tokens.patches)  # frames of one patch column's width stand below each other
    assert collage.positions.tolist() == [[0, row, column] for row in range(6) for column in range(2)]
    short = FrameInput(num_frames=64, shown=20, size=32).tokens(sample_of(clip), 16, RNG)
    assert len(short) == 14 * 4  # the clip has no more


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 300), st.integers(1, 300), st.integers(1, 60))
def test_ocr_keeps_the_whole_picture(width: int, height: int, budget: int) -> None:
    tokens = OcrInput(budget=budget).tokens(sample_of(png(width, height), "png"), 8, RNG)
    rows, columns = (int(tokens.positions[:, axis].max()) + 1 for axis in (1, 2))
    assert len(tokens) == rows * columns <= budget
    if 0.5 < width / height < 2 and budget > 30:
        assert columns / rows == pytest.approx(width / height, rel=0.35) and len(tokens) > 0.6 * budget


def test_image_input() -> None:
    data = sample_of(png(80, 50), "png")
    plain = [ImageInput(size=32, augment=False).tokens(data, 16, np.random.default_rng(n)) for n in range(2)]
    assert len(plain[0]) == 4 and torch.equal(plain[0].patches, plain[1].patches)
    varied = [ImageInput(size=32).tokens(data, 16, np.random.default_rng(n)) for n in (0, 0, 1)]
    assert torch.equal(varied[0].patches, varied[1].patches) and not torch.equal(varied[0].patches, varied[2].patches)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: CodecInput(params={"budget": 4}), "params must not hold budget"),
        (lambda: CodecInput(params={"tua": 4}), "unknown parameter tua"),
        (lambda: CodecInput(selection="maybe"), "auto, compute or stored"),
        (lambda: ImageInput(size=0), "size must be positive"),
        (lambda: ImageInput(size=8).tokens(sample_of(png(20, 20), "png"), 16, RNG), "smaller than a patch of 16"),
        (lambda: ImageInput().tokens(sample_of(b"", "mp4"), 14, RNG), r"no \.jpg.*only mp4"),
    ],
)
def test_bad_inputs(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_samples_of_several_resolutions(clip: bytes) -> None:
    """Shares of tokens spread from `least` to 1; of a selection the patches with most heat stay, in their order."""
    rng = np.random.default_rng(1)
    picture, video = sample_of(png(64, 64), "png"), sample_of(clip)
    kinds: dict[str, tuple[Input, Sample, int]] = {
        "image": (ImageInput(size=64, least=0.2, augment=False), picture, 16),
        "ocr": (OcrInput(budget=16, least=0.2), picture, 16),
        "codec": (CodecInput(budget=30, num_frames=6, size=64, least=0.2), video, 30),
        "frame": (FrameInput(num_frames=6, shown=2, size=64, least=0.2), video, 32),
    }
    for name, (kind, sample, most) in kinds.items():
        counts = [len(kind.tokens(sample, 16, rng)) for _ in range(12)]
        assert len(set(counts)) > 1 and 0.1 * most < min(counts) and max(counts) <= most == kind.most_tokens(16), name
    selection = ove_codec.select(clip, num_frames=6, size=64, patch_size=16, budget=30)
    scores = {tuple(p): float(selection.scores[tuple(p)]) for p in selection.positions}
    tokens = kinds["codec"][0].tokens(video, 16, np.random.default_rng(3))
    kept = [tuple(p) for p in tokens.positions.tolist()]
    assert kept == sorted(kept) and len(kept) < 30
    assert min(scores[p] for p in kept) >= max(score for p, score in scores.items() if p not in kept)
    whole = kinds["codec"][0].tokens(sample_of(clip), 16, np.random.default_rng(3))
    assert torch.equal(whole.patches, tokens.patches)
    with pytest.raises(ValueError, match="least must be a share from 0 to 1, not 2"):
        ImageInput(least=2)


# Mixed batches


def test_batches_do_not_depend_on_workers(folder: Path) -> None:
    mixtures = [Mixture(heads(folder), 16, rank=1, world=2, seed=5) for _ in range(2)]
    alone, several = list(mixtures[0].batches(9)), list(mixtures[1].batches(9, workers=2))
    assert len(alone) == 9 and all(same(a, b) for a, b in zip(alone, several, strict=True))
    resumed = Mixture(heads(folder), 16, rank=1, world=2, seed=5)
    resumed.load_state_dict(json.loads(json.dumps(mixtures[0].state_dict(4))))
    assert all(same(a, b) for a, b in zip(alone[4:], resumed.batches(9, workers=1), strict=True))


def test_seeds_and_names_that_look_alike_give_other_orders(folder: Path) -> None:
    long = "a name of a head that is long, number "
    settings = heads(folder)
    head = next(iter(settings.values()))

    def positions(name: str, seed: int) -> list[tuple[int, int]]:
        mixture = Mixture({name: head}, 16, seed=seed)
        return [mixture.orders[name].locate(position) for position in range(len(mixture.shards[name]))]

    orders = [positions(long + "1", 5), positions(long + "2", 5), positions(long + "1", 5 + 65536)]
    assert orders[0] == positions(long + "1", 5)
    assert orders[0] != orders[1] and orders[0] != orders[2]


def test_every_sample_once_an_epoch_over_all_ranks(folder: Path) -> None:
    mixtures = [Mixture(heads(folder), 16, rank=rank, world=4) for rank in range(4)]
    names = [name for micro in range(10) for mixture in mixtures for name in mixture[micro].names]
    assert len(names) == 3 * 40 and set(Counter(names[:120]).values()) == {3}  # 10 * 4 * 3 are three epochs
    assert len(set(names[:36])) == 36
    # Two ranks go on where four have stopped.
    resumed = [Mixture(heads(folder), 16, rank=rank, world=2) for rank in range(2)]
    for mixture in resumed:
        mixture.load_state_dict(mixtures[0].state_dict(3))
    following = [name for micro in range(3, 5) for mixture in resumed for name in mixture[micro].names]
    assert set(following[:4]).isdisjoint(names[:36]) and len(set(following[:4])) == 4


def test_shares_of_heads_and_kinds(folder: Path) -> None:
    size: dict[str, Any] = {"num_frames": 8, "size": 32}
    kinds: dict[str, Input] = {
        "codec": CodecInput(weight=0.5, **size, budget=8),
        "frame": FrameInput(weight=0.375, **size, shown=2),
        "collage": CollageInput(weight=0.125, **size, shown=2),
    }
    both = {
        "clips": HeadData((f"{folder}/clips-*.tar",), 6, 2, 16.0, kinds),
        **heads(folder, image=ImageInput(size=32)),
    }
    both["pictures"] = dataclasses.replace(both["pictures"], share=0.5)
    mixture = Mixture(both, 16)
    for micro in range(4):
        planned = Counter((item.head, item.kind) for item in mixture.plan(micro))
        assert [planned["clips", kind] for kind in kinds] == [8, 6, 2]
        assert planned["pictures", "image"] == micro % 2
    batch = mixture[1]
    assert batch.error is None and not batch.skipped
    assert batch.labels["clips"].shape == (16, 2) and batch.labels["pictures"].shape == (1, 4)
    assert batch.token_mix() == {"codec": 8 * 8, "frame": 6 * 8, "collage": 2 * 8, "image": 4}
    assert batch.cu_seqlens[-1] == len(batch.patches) == len(batch.positions)


def broken_shard(folder: Path, labels: Any = (1,), data: bytes = b"no picture") -> Path:
    good = next(iter(synthetic.picture_samples(1, 0, False)))[1]["png"]
    members = [
        ("good", {"png": good, "json": b'{"labels": [3]}'}),
        ("bad", {"png": data or good, "json": json.dumps({"labels": labels}).encode()}),
    ]
    list(write_shards(members, folder, "broken", 1 << 20))
    return folder / "broken-000000.tar"


def test_unreadable_samples_are_skipped_by_name(tmp_path: Path) -> None:
    file = broken_shard(tmp_path)
    mixture = Mixture({"h": HeadData((str(file),), 10, 2, 4.0, {"image": ImageInput(size=32)})}, 16)
    batch = mixture[0]
    assert batch.error is None and [name for name, _ in batch.skipped] == ["broken-000000.tar/bad"] * 2
    assert "UnidentifiedImageError" in batch.skipped[0][1]
    lengths = batch.cu_seqlens.diff().tolist()
    for name, length, labels in zip(batch.names, lengths, batch.labels["h"].tolist(), strict=True):
        assert (length, labels) == ((1, [-1, -1]) if name.endswith("bad") else (4, [3, -1]))


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([1, 10], r"sample broken-000000\.tar/bad has the label 10, outside the bank of 10 centres of head h"),
        ([-1], "label -1"),
        ([1, 2, 3], r"has 3 labels: set max_labels of head h \(now 2"),
        ([1.5], "damaged"),
        ("x", "damaged"),
    ],
)
def test_labels_that_do_not_fit_stop_with_the_sample(tmp_path: Path, labels: Any, message: str) -> None:
    file = broken_shard(tmp_path, labels, data=b"")
    mixture = Mixture({"h": HeadData((str(file),), 10, 2, 2.0, {"image": ImageInput(size=32)})}, 16)
    error = mixture[0].error
    assert error is not None
    with pytest.raises(DataError, match=message):
        raise DataError(error)


# ove-codec pack


def test_pack_of_folder_csv_and_jsonl(tmp_path: Path, clip: bytes, capsys: pytest.CaptureFixture[str]) -> None:
    source = tmp_path / "source"
    for name in ("cat", "dog"):
        (source / name).mkdir(parents=True)
        (source / name / f"{name}.png").write_bytes(png(20, 20))
    (source / "cat" / "broken.jpg").write_bytes(b"nothing")
    (source / "dog" / "clip.mp4").write_bytes(clip)
    command = ["pack", str(source), str(tmp_path / "a"), "--json", "--select", "paper", "--budget", "9"]
    assert main([*command, "--size", "64", "--patch-size", "16", "--num-frames", "4"]) == 0
    out = capsys.readouterr()
    assert json.loads(out.out)["samples"] == 3 and json.loads(out.out)["skipped"] == 1
    assert "broken.jpg is skipped: UnidentifiedImageError" in out.err
    shards = ShardSet([f"{tmp_path}/a/*.tar"])
    samples = [shards.read(0, n) for n in range(3)]
    assert [json.loads(s.members["json"])["labels"] for s in samples] == [[0], [1], [1]]
    assert len(CodecInput(budget=9, selection="stored").tokens(samples[1], 16, RNG)) == 9

    (source / "list.csv").write_text("file,labels\ncat/cat.png,4 5\ndog/dog.png,6\n")
    lines = [{"file": "dog/dog.png", "labels": [7, 8]}, {"file": "cat/cat.png", "labels": [9]}]
    (source / "list.jsonl").write_text("\n".join(map(json.dumps, lines)))
    for suffix, labels in (("csv", [[4, 5], [6]]), ("jsonl", [[7, 8], [9]])):
        assert main(["pack", str(source / f"list.{suffix}"), str(tmp_path / suffix)]) == 0
        shards = ShardSet([f"{tmp_path}/{suffix}/*.tar"])
        assert [json.loads(shards.read(0, n).members["json"])["labels"] for n in range(2)] == labels


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"file": "a.png", "labels": [1.5]}', "line 1 must have a file"),
        ('{"file": "a.png"}', "line 1 must have a file"),
        ('{"file": "b.png", "labels": [1]}', "line 1 names .*b.png, which does not exist"),
        ('{"file": "a.png", "labels": [-1]}', "none of them negative"),
        ("{", "line 1 is not valid JSON"),
        ("", "holds no sample"),
    ],
)
def test_pack_names_the_line(tmp_path: Path, text: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.png").write_bytes(png(4, 4))
    (tmp_path / "list.jsonl").write_text(text)
    assert main(["pack", str(tmp_path / "list.jsonl"), str(tmp_path / "out")]) == 1
    error = capsys.readouterr().err
    with pytest.raises(ValueError, match=message):
        raise ValueError(error)
