"""Batches over ranks and workers: every clip exactly once an epoch, and going on from any position."""

from __future__ import annotations

import itertools
import json
import pickle
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

import ove_codec
from ove_codec.data import (
    BatchPlan,
    ClipBatch,
    ClipDataset,
    ClipSample,
    ClipSampler,
    ClipStream,
    DataError,
    Entry,
    Place,
    PreparedDataset,
    TokenDataset,
    collate,
)

pytest.importorskip("pyarrow", reason="data sets need pyarrow")
pytest.importorskip("av", reason="clips are made with PyAV")

from support.prepared import COUNT, FEW, make_clips, prepare

SPLITS: tuple[dict[str, Any], ...] = ({"batch_size": 2}, {"max_tokens": 60}, {"max_tokens": 60, "batch_size": 2})


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_clips(tmp_path_factory.mktemp("clips"))


@pytest.fixture(scope="module")
def prepared(table: Path, tmp_path_factory: pytest.TempPathFactory) -> PreparedDataset:
    out = tmp_path_factory.mktemp("outputs") / "out"
    prepare(table, out, tokens="float32")
    return PreparedDataset(out)


class Counts(TokenDataset):
    """Clips that are nothing but their numbers of tokens, for plans without reading."""

    def __init__(self, counts: list[int], lengths: list[int] | int | None) -> None:
        super().__init__(np.array(counts), np.array(lengths) if isinstance(lengths, list) else lengths)

    def called(self, shard: int, number: int) -> str:
        return f"{shard}/{number}"

    def read(self, shard: int, number: int) -> Entry:
        return Entry(self.called(shard, number), {"label": shard}, number)

    def tokens(self, entry: Entry) -> ove_codec.Tokens:
        n = entry.content + 1
        return ove_codec.Tokens(
            torch.full((n, 12), float(n)), torch.zeros(n, 3, dtype=torch.int64), torch.tensor([0, n])
        )


def planned(plan: BatchPlan, epoch: int) -> list[list[int]]:
    plan.set_epoch(epoch)
    return [list(plan.indices(epoch, number)) for number in range(len(plan))]


def flat(batches: list[list[int]]) -> list[int]:
    return list(itertools.chain(*batches))


# Plans


@pytest.mark.parametrize("world", [1, 2, 3, 5])
@pytest.mark.parametrize("split", [{"batch_size": 4}, {"max_tokens": 30}, {"max_tokens": 30, "batch_size": 3}])
@pytest.mark.parametrize("uneven", ["keep", "drop", "repeat"])
def test_every_clip_exactly_once_over_all_ranks(world: int, split: dict[str, Any], uneven: str) -> None:
    lengths = np.random.default_rng(1).integers(1, 30, 43).tolist()
    dataset = Counts([10, 0, 3, 12, 9, 9], lengths)
    plans = [ClipSampler(dataset, rank=r, world=world, uneven=uneven, **split) for r in range(world)]
    for epoch in range(3):
        ranks = [planned(plan, epoch) for plan in plans]
        seen = Counter(flat([flat(batches) for batches in ranks]))
        if uneven == "keep":
            assert seen == Counter(range(43))
        else:
            assert len({len(batches) for batches in ranks}) == 1
            kept = [[batch for n, batch in enumerate(batches) if batch not in batches[:n]] for batches in ranks]
            once = Counter(flat([flat(batches) for batches in kept]))
            assert set(once.values()) == {1}
            assert uneven == "drop" or once == Counter(range(43))  # what comes again are whole batches
            assert uneven == "repeat" or kept == ranks
        for batch in flat(ranks):  # type: ignore[arg-type]
            assert 0 < len(batch) <= split.get("batch_size", 43)  # type: ignore[arg-type]
            if "max_tokens" in split:
                assert sum(lengths[i] for i in batch) <= 30  # type: ignore[attr-defined]


def test_token_budgets_are_filled() -> None:
    """No batch has room for the clip that begins the next one."""
    lengths = np.random.default_rng(2).integers(1, 20, 100).tolist()
    batches = planned(ClipSampler(Counts([100], lengths), max_tokens=50), 1)
    for batch, following in itertools.pairwise(batches):
        total = sum(lengths[i] for i in batch)
        assert total <= 50 < total + lengths[following[0]]
    assert [len(batch) for batch in planned(ClipSampler(Counts([10], 20), max_tokens=50), 0)] == [2] * 5


def test_order_depends_on_seed_and_epoch_alone() -> None:
    dataset = Counts([20, 20], 1)
    a, b, other = (ClipSampler(dataset, 4, seed=seed) for seed in (3, 3, 4))
    first, second = planned(a, 0), planned(a, 1)
    assert first != second and planned(b, 1) == second and planned(b, 0) == first and planned(other, 0) != first
    plain = ClipSampler(dataset, 4, shuffle=False)
    assert flat(planned(plain, 0)) == flat(planned(plain, 5)) == list(range(40))


def test_ranks_share_the_shards() -> None:
    """With one shard in a window, a shard is read by one rank, but for the shards at the ends of their runs."""
    dataset = Counts([8] * 12, 1)
    owners: dict[int, set[int]] = {}
    for rank in range(4):
        for clip in flat(planned(ClipSampler(dataset, 3, rank=rank, world=4, uneven="keep", window=1), 2)):
            owners.setdefault(clip // 8, set()).add(rank)
    assert len(owners) == 12 and sum(map(len, owners.values())) <= 12 + 3


def test_incomplete_last_batches() -> None:
    dataset = Counts([22], 1)
    for drop_last, sizes in ((False, [4, 4, 3]), (True, [4, 4])):
        for rank in range(2):
            plan = ClipSampler(dataset, 4, rank=rank, world=2, uneven="drop", drop_last=drop_last)
            assert [len(batch) for batch in planned(plan, 0)] == sizes and len(plan) == len(sizes)
    with pytest.raises(ValueError, match="a rank has no batch to repeat"):
        len(ClipSampler(Counts([7], 1), 4, rank=0, world=2, uneven="repeat", drop_last=True))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "give batch_size, max_tokens or both"),
        ({"batch_size": 0}, "batch_size must be 1 or more"),
        ({"batch_size": 2, "rank": 0, "world": 2}, "set uneven to 'keep'"),
        ({"batch_size": 2, "uneven": "pad"}, "uneven must be one of keep, drop, repeat"),
        ({"batch_size": 2, "rank": 2, "world": 2}, "rank must be from 0 to world - 1"),
        ({"batch_size": 2, "rank": 0}, "rank and world, or neither"),
        ({"batch_size": 2, "rank": 0, "world": 9, "uneven": "keep"}, "8 clips, fewer than the 9 ranks"),
        ({"max_tokens": 9}, "max_tokens is 9, but a clip may have 10"),
        ({"max_tokens": 20, "drop_last": True}, "drop_last needs batch_size"),
    ],
)
def test_bad_settings(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ClipSampler(Counts([8], 10), **options)
    with pytest.raises(ValueError, match="budget, not tau"):
        ClipSampler(Counts([8], None), max_tokens=99)


def test_data_sets_of_ones_own() -> None:
    batches = list(loader_of(ClipStream(Counts([2, 3], 3), max_tokens=6, shuffle=False), 0))
    assert [batch.names for batch in batches] == [("0/0", "0/1"), ("1/0", "1/1"), ("1/2",)]
    assert [batch.labels.tolist() for batch in batches] == [[0, 0], [1, 1], [1]]
    assert [batch.cu_seqlens.tolist() for batch in batches] == [[0, 1, 3], [0, 1, 3], [0, 3]]


def test_plans_can_be_pickled() -> None:
    stream = ClipStream(Counts([20], 3), 4, seed=1)
    stream.set_epoch(2)
    copy = pickle.loads(pickle.dumps(stream))
    stream.set_epoch(3)
    assert copy.epoch == 2 and planned(copy, 3) == planned(stream, 3)


def test_ranks_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "3")
    plan = ClipStream(Counts([9], 1), 2, uneven="keep", shuffle=False)
    assert (plan.rank, plan.world) == (1, 3) and flat(planned(plan, 0)) == [3, 4, 5]


# Loaders


def loader_of(plan: BatchPlan, workers: int, **options: Any) -> Any:
    """A plain DataLoader of either style."""
    if isinstance(plan, ClipStream):
        return DataLoader(plan, batch_size=None, num_workers=workers, **options)
    return DataLoader(plan.dataset, batch_sampler=plan, collate_fn=collate, num_workers=workers, **options)  # type: ignore[arg-type]


def assert_same(found: list[ClipBatch], wanted: list[ClipBatch]) -> None:
    assert [batch.names for batch in found] == [batch.names for batch in wanted]
    for a, b in zip(found, wanted, strict=True):
        assert a.place == b.place and a.labels is not None and b.labels is not None
        for name in ("patches", "positions", "cu_seqlens", "labels"):
            assert torch.equal(getattr(a, name), getattr(b, name))


STYLES = (ClipSampler, ClipStream)


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("split", SPLITS)
def test_batches_do_not_depend_on_workers(prepared: PreparedDataset, style: Any, split: dict[str, int]) -> None:
    alone = list(loader_of(style(prepared, seed=1, **split), 0))
    assert sorted(name for batch in alone for name in batch.names) == [f"c{n:02}.mp4" for n in range(COUNT)]
    assert_same(list(loader_of(style(prepared, seed=1, **split), 3)), alone)
    assert len(loader_of(style(prepared, seed=1, **split), 0)) == len(alone)
    clip = prepared[3]
    assert isinstance(clip, ClipSample)
    batch = next(batch for batch in alone if clip.name in batch.names)
    at = batch.names.index(clip.name)
    assert torch.equal(batch.patches[batch.cu_seqlens[at] : batch.cu_seqlens[at + 1]], clip.tokens.patches)
    assert batch.labels is not None and batch.labels[at] == clip.label


def test_both_styles_give_the_same(prepared: PreparedDataset) -> None:
    options: dict[str, Any] = {"batch_size": 3, "rank": 1, "world": 2, "uneven": "keep"}
    assert_same(*[list(loader_of(style(prepared, **options), 0)) for style in STYLES])


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("workers", [0, 1, 2, 3])
def test_going_on_from_every_position(prepared: PreparedDataset, style: Any, workers: int) -> None:
    options: dict[str, Any] = {"batch_size": 2, "seed": 5, "rank": 0, "world": 1}
    whole = {epoch: list(self_loaded(style(prepared, **options), epoch)) for epoch in (1, 2)}
    for stop in range(len(whole[1]) + 1):
        # Interrupted with prefetched batches at work, and told only what was used.
        plan = style(prepared, **options)
        plan.set_epoch(1)
        state = plan.state_dict()
        for batch in itertools.islice(loader_of(plan, workers if stop % 2 else 0), stop):
            state = plan.state_dict(batch)
        state = json.loads(json.dumps(state))
        resumed = style(prepared, **options)
        resumed.load_state_dict(state)
        loader = loader_of(resumed, workers, persistent_workers=workers > 0 and stop % 2 == 0)
        done = stop == len(whole[1])
        assert resumed.epoch == (2 if done else 1)
        resumed.set_epoch(resumed.epoch)  # the epoch at hand: nothing changes
        assert_same(list(loader), whole[2] if done else whole[1][stop:])
        assert_same(list(loader), whole[2] if done else whole[1])  # after its end the epoch begins anew
        resumed.set_epoch(2)
        assert_same(list(loader), whole[2])


def self_loaded(plan: BatchPlan, epoch: int) -> Iterator[ClipBatch]:
    """The batches, without a DataLoader's help."""
    for number, indices in enumerate(planned(plan, epoch)):
        yield replace(collate(plan.dataset.__getitems__(indices)), place=Place(epoch, number))


@pytest.mark.parametrize("style", STYLES)
def test_other_numbers_of_workers_go_on(prepared: PreparedDataset, style: Any) -> None:
    whole = list(loader_of(style(prepared, 1, seed=2), 0))
    plan = style(prepared, 1, seed=2)
    first = list(itertools.islice(loader_of(plan, 2), 4))
    second = style(prepared, 1, seed=2)
    second.load_state_dict(plan.state_dict(first[-1]))
    middle = list(itertools.islice(loader_of(second, 3), 3))
    third = style(prepared, 1, seed=2)
    third.load_state_dict(second.state_dict(middle[-1]))
    assert_same([*first, *middle, *loader_of(third, 0)], whole)


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("start", ["fork", "spawn"])
def test_workers_that_persist(prepared: PreparedDataset, style: Any, start: str) -> None:
    plan = style(prepared, 2, seed=1)
    loader = loader_of(plan, 2, persistent_workers=True, multiprocessing_context=start)
    for epoch in (0, 1, 4):
        plan.set_epoch(epoch)
        assert_same(list(loader), list(self_loaded(style(prepared, 2, seed=1), epoch)))


def test_states_of_other_settings(prepared: PreparedDataset) -> None:
    plan = ClipSampler(prepared, 2, seed=1)
    batches = iter(loader_of(plan, 0))
    state = plan.state_dict(next(batches))
    assert (state["epoch"], state["batch"]) == (0, 1)
    for options, message in (
        ({"seed": 2}, "seed 1, now 2"),
        ({"batch_size": 3}, "batch_size 2, now 3"),
        ({"rank": 0, "world": 2, "uneven": "keep"}, "world 1, now 2"),
    ):
        other = ClipSampler(prepared, **{"batch_size": 2, "seed": 1, **options})  # type: ignore[arg-type]
        with pytest.raises(ValueError, match=f"the state was saved with other settings .*{message}"):
            other.load_state_dict(state)
        other.load_state_dict({**state, "epoch": 3, "batch": 0})  # where an epoch begins others may go on
        assert other.epoch == 3
    with pytest.raises(ValueError, match="has no position in the epoch"):
        plan.state_dict(collate(prepared.__getitems__([0])))
    with pytest.raises(ValueError, match="epoch must be 0 or more"):
        plan.set_epoch(-1)


def test_workers_know_what_they_gave_only(prepared: PreparedDataset) -> None:
    stream = ClipStream(prepared, 2)
    batches = iter(loader_of(stream, 1))
    batch = next(batches)
    with pytest.raises(RuntimeError, match="pass the last batch that was used"):
        stream.state_dict()
    assert stream.state_dict(batch)["batch"] == 1
    stream.set_epoch(1)
    assert (stream.state_dict()["epoch"], stream.state_dict()["batch"]) == (1, 0)


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("workers", [0, 2])
def test_torchdata_goes_on(prepared: PreparedDataset, style: Any, workers: int) -> None:
    stateful = pytest.importorskip("torchdata.stateful_dataloader", reason="torchdata is not installed")

    def loader(plan: BatchPlan) -> Any:
        if isinstance(plan, ClipStream):
            return stateful.StatefulDataLoader(plan, batch_size=None, num_workers=workers)
        return stateful.StatefulDataLoader(plan.dataset, batch_sampler=plan, collate_fn=collate, num_workers=workers)

    whole = list(self_loaded(style(prepared, 2, seed=5), 1))
    for stop in range(1, len(whole)):
        plan = style(prepared, 2, seed=5)
        plan.set_epoch(1)
        first = loader(plan)
        used = list(itertools.islice(first, stop))
        state = first.state_dict()
        resumed = style(prepared, 2, seed=5)
        second = loader(resumed)
        second.load_state_dict(state)
        resumed.set_epoch(1)
        assert_same([*used, *second], whole)
        resumed.set_epoch(2)
        assert_same(list(second), list(self_loaded(style(prepared, 2, seed=5), 2)))


@pytest.mark.parametrize("style", STYLES)
def test_unreadable_clips_in_workers(table: Path, style: Any) -> None:
    """They are left out by name, no other takes their place, and batches keep their numbers; or they stop by name."""
    paths = sorted(table.parent.glob("*.mp4"))
    rows = [{"video": b"nothing" if n in (2, 3, 7) else str(p), "id": f"{n}", "label": n} for n, p in enumerate(paths)]
    clips = ClipDataset(rows, on_error="skip", **FEW)
    batches = list(loader_of(style(clips, 2, shuffle=False), 2))
    assert [batch.names for batch in batches] == [("0", "1"), (), ("4", "5"), ("6",), ("8", "9"), ("10",)]
    assert [[name for name, _ in batch.skipped] for batch in batches] == [[], ["2", "3"], [], ["7"], [], []]
    assert [batch.place.number for batch in batches] == list(range(6))
    assert "2 cannot be read: DecodeError" in error_of(loader_of(style(ClipDataset(rows, **FEW), 2, shuffle=False), 2))


def error_of(loader: Any) -> str:
    """The message of what it raises. Its workers are ended at once, and not when the error's frames are collected."""
    batches = iter(loader)
    try:
        list(batches)
    except DataError as error:
        return str(error)
    finally:
        batches._shutdown_workers()
    return ""


def test_readers_in_workers_have_one_thread(table: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    threads = []
    for name in ("select", "tokenize", "open"):
        real = getattr(ove_codec, name)

        def spy(*args: Any, real: Any = real, **kwargs: Any) -> Any:
            threads.append(kwargs.get("threads", args[1] if len(args) > 1 else None))
            return real(*args, **kwargs)

        monkeypatch.setattr(ove_codec, name, spy)
    list(loader_of(ClipStream(ClipDataset(table, **FEW), 4), 0))
    assert len(threads) == 3 * COUNT and set(threads) == {1}
