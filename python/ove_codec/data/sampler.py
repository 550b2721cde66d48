"""The clips in the batches of a rank: a function of seed, epoch and rank only."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ove_codec.data.batch import BatchIndices, ClipBatch, Place
from ove_codec.data.clips import TokenDataset
from ove_codec.data.order import Order

UNEVEN = ("keep", "drop", "repeat")


class BatchPlan:
    """The batches of one rank, by epoch and number, and the position among them.

    An epoch is a permutation of all clips (see ``Order``), split into one run per rank, which the rank splits into
    batches. So each shard is read by one rank, except for the windows at the ends of a run. The batches do not depend
    on workers.

    Args:
        dataset: a ``ClipDataset`` or ``PreparedDataset``.
        batch_size: clips per batch; the last batch of a rank may have fewer.
        max_tokens: most tokens of a batch, which takes as many consecutive clips as fit; with `batch_size`, both
            limits apply. Needs `dataset.lengths`; if a clip turns out shorter, its room stays unused.
        shuffle: False for the clips in their order.
        seed: seed of the order.
        window: shards whose clips are mixed, see ``Order``.
        rank, world: number of this process, and of processes; if None, from torch.distributed or the environment
            (RANK, WORLD_SIZE), else one process.
        uneven: what happens if ranks have different numbers of batches; required with several ranks. "keep": some
            ranks end earlier, and every clip comes exactly once per epoch. "drop": all ranks stop after the smallest
            number; the rest is left out in this epoch. "repeat": all ranks continue to the largest number; ranks with
            fewer repeat their first batches.
        drop_last: leave out the last batch of a rank if it has fewer than `batch_size` clips.

    Raises:
        ValueError: a bad setting; the message names it and the remedy.
    """

    def __init__(
        self,
        dataset: TokenDataset,
        batch_size: int | None = None,
        *,
        max_tokens: int | None = None,
        shuffle: bool = True,
        seed: int = 0,
        window: int = 8,
        rank: int | None = None,
        world: int | None = None,
        uneven: str | None = None,
        drop_last: bool = False,
    ) -> None:
        self.rank, self.world = _ranks(rank, world)
        for name, value in (("batch_size", batch_size), ("max_tokens", max_tokens), ("window", window)):
            if value is not None and value < 1:
                raise ValueError(f"{name} must be 1 or more, not {value}")
        if batch_size is None and max_tokens is None:
            raise ValueError("give batch_size, max_tokens or both")
        if drop_last and (batch_size is None or max_tokens is not None):
            raise ValueError("drop_last needs batch_size, and cannot be used with max_tokens")
        if uneven not in (None, *UNEVEN):
            raise ValueError(f"uneven must be one of {', '.join(UNEVEN)}, not {uneven!r}")
        if self.world > 1 and uneven is None:
            raise ValueError(
                f"{self.world} ranks may have different numbers of batches: set uneven to 'keep' (every clip exactly "
                "once), 'drop' (all ranks stop with the first) or 'repeat' (ranks repeat batches until the last is "
                "done)"
            )
        if len(dataset) < self.world:
            raise ValueError(f"there are {len(dataset)} clips, fewer than the {self.world} ranks: start fewer")
        lengths = dataset.lengths
        if max_tokens is not None:
            if lengths is None:
                raise ValueError(
                    "max_tokens needs to know the number of tokens of every clip: select with budget, not tau"
                )
            if np.max(lengths) > max_tokens:
                raise ValueError(f"max_tokens is {max_tokens}, but a clip may have {np.max(lengths)}: increase it")
        self.batch_size, self.max_tokens, self.uneven, self.drop_last = batch_size, max_tokens, uneven, drop_last
        self.dataset = dataset
        self._starts = np.cumsum(dataset.counts) - dataset.counts
        self._lengths = None if max_tokens is None or lengths is None else np.broadcast_to(lengths, len(dataset))
        self._order = Order(dataset.counts, seed, window, shuffle)
        # The position: epoch, number of the first batch of an iteration, and how often it was set from outside; then
        # whether workers have begun to iterate, and for each of them, or this process, the last setting from which it
        # has come to the epoch's end. Workers of a ClipStream share it with their parent.
        self._position = torch.zeros(_DONE + _MOST_WORKERS, dtype=torch.int64).share_memory_()
        self._given: Place | None = None
        self._cut = lru_cache(maxsize=2)(self._make_cut)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "_cut"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._cut = lru_cache(maxsize=2)(self._make_cut)

    # Which batches there are

    def __len__(self) -> int:
        """The number of batches of this rank in the whole epoch at hand; with `max_tokens` epochs differ."""
        return self._cut(self.epoch)[1]

    def indices(self, epoch: int, number: int) -> BatchIndices:
        """The clips of a batch of this rank, as indices into the data set."""
        bounds, count = self._cut(epoch)
        if not 0 <= number < count:
            raise IndexError(f"batch {number} is not in epoch {epoch}, which has {count}")
        number = number % (len(bounds) - 1)
        first = epoch * self._order.length
        places = (self._order.locate(first + at) for at in range(int(bounds[number]), int(bounds[number + 1])))
        return BatchIndices(int(self._starts[shard]) + clip for shard, clip in places)

    def _make_cut(self, epoch: int) -> tuple[NDArray[np.int64], int]:
        """Where the batches of this rank begin in the epoch's permutation, and how many are given."""
        ends = None if self._lengths is None else np.cumsum(self._lengths[self._order.numbers(epoch)])
        bounds = self._bounds(self.rank, ends)
        if self.uneven not in ("drop", "repeat") or self.world == 1:
            return bounds, len(bounds) - 1
        counts = [len(self._bounds(rank, ends)) - 1 for rank in range(self.world)]
        if self.uneven == "repeat" and min(counts) == 0 < max(counts):
            raise ValueError("a rank has no batch to repeat: set drop_last=False or a smaller batch_size")
        return bounds, min(counts) if self.uneven == "drop" else max(counts)

    def _bounds(self, rank: int, ends: NDArray[np.int64] | None) -> NDArray[np.int64]:
        """Where the batches of a rank begin, and where the last one ends; `ends` sums up tokens in order."""
        total = self._order.length
        low, high = rank * total // self.world, (rank + 1) * total // self.world
        size = self.batch_size or total
        if ends is None or self.max_tokens is None:
            if self.drop_last:
                high = low + (high - low) // size * size
            return np.append(np.arange(low, high, size), high)
        bounds = [low]
        while bounds[-1] < high:
            before = int(ends[bounds[-1] - 1]) if bounds[-1] else 0
            fits = int(np.searchsorted(ends, before + self.max_tokens, side="right"))
            bounds.append(min(fits, bounds[-1] + size, high))
        return np.array(bounds, np.int64)

    # Where it stands

    @property
    def epoch(self) -> int:
        """The epoch of the next iteration."""
        return int(self._position[_EPOCH])

    def set_epoch(self, epoch: int) -> None:
        """Sets the epoch of the next iteration, which begins at its start or where ``load_state_dict`` has put it."""
        if epoch < 0:
            raise ValueError(f"epoch must be 0 or more, not {epoch}")
        if epoch != self.epoch:
            self._put(epoch, 0)

    def state_dict(self, batch: ClipBatch | None = None) -> dict[str, Any]:
        """The position after `batch`, in types of JSON; the same on all ranks at the same position.

        Args:
            batch: the last batch that was used; None for the last one that this object has given, which is ahead of a
                DataLoader with workers.

        Raises:
            ValueError: the batch was not made by this class. RuntimeError: `batch` is None, and workers make batches.
        """
        if batch is not None:
            if batch.place is None:
                raise ValueError(
                    "the batch has no position in the epoch: it was made by another sampler or collate function"
                )
            place = Place(batch.place.epoch, batch.place.number + 1)
        elif self._position[BEGUN]:
            raise RuntimeError("workers prepare batches ahead of their use: pass the last batch that was used")
        elif self._given is not None:
            place = self._given
        else:
            place = Place(self.epoch, int(self._position[_START]))
        if place.number >= self._cut(place.epoch)[1]:
            place = Place(place.epoch + 1, 0)
        return {"epoch": place.epoch, "batch": place.number, "settings": self._settings()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """The next iteration continues after this position, with any number of workers.

        Raises:
            ValueError: it is inside an epoch with other settings: other clips, ranks or batches.
        """
        place = self._checked(state)
        self._put(place.epoch, place.number)

    def _checked(self, state: Mapping[str, Any]) -> Place:
        own, other = self._settings(), state["settings"]
        changed = [f"{name} {other.get(name)}, now {own[name]}" for name in own if own[name] != other.get(name)]
        if state["batch"] and changed:
            raise ValueError(
                f"the state was saved with other settings ({'; '.join(changed)}): use those settings, or begin a new "
                "epoch"
            )
        return Place(int(state["epoch"]), int(state["batch"]))

    def _settings(self) -> dict[str, Any]:
        order = self._order
        return {
            "clips": order.length,
            "shards": len(order.counts),
            "batch_size": self.batch_size,
            "max_tokens": self.max_tokens,
            "shuffle": order.shuffle,
            "seed": order.seed,
            "window": order.window,
            "world": self.world,
            "uneven": self.uneven if self.world > 1 else None,
            "drop_last": self.drop_last,
        }

    def _put(self, epoch: int, number: int) -> None:
        self._position[[_EPOCH, _START, BEGUN]] = torch.tensor([epoch, number, 0])
        self._position[_SETTING] += 1
        self._given = None

    def _places(self, worker: int = 0, workers: int = 1, own: Place | None = None) -> Iterator[Place]:
        """The batches of an iteration from now on: every `workers`-th, from the one of this worker on.

        An iteration that comes to the epoch's end in all workers ends the effect of ``load_state_dict``: the next one
        gives the whole epoch.

        Args:
            own: where this worker is to go on, if not where the iteration begins.
        """
        epoch, start, setting = self._position[:BEGUN].tolist()
        marks = self._position[_DONE : _DONE + workers]
        if bool((marks == setting).all()) and len(marks) == workers:
            start = 0
        first = Place(epoch, start + worker) if own is None else own
        self._given = first
        return self._counted(first, workers, setting if own is None else None, worker)

    def _counted(self, first: Place, workers: int, setting: int | None, worker: int) -> Iterator[Place]:
        for number in range(first.number, self._cut(first.epoch)[1], workers):
            self._given = Place(first.epoch, number + workers)
            yield Place(first.epoch, number)
        if setting is not None and worker < _MOST_WORKERS:
            self._position[_DONE + worker] = setting


_EPOCH, _START, _SETTING, BEGUN, _DONE = range(5)
_MOST_WORKERS = 256


class ClipSampler(BatchPlan, torch.utils.data.Sampler[list[int]]):
    """The batches of a map-style data set: the `batch_sampler` of a DataLoader, with ``collate`` as `collate_fn`.

    `state_dict(batch)` gives the position after a batch, and ``load_state_dict`` resumes there. torchdata's
    StatefulDataLoader uses both. Arguments are those of ``BatchPlan``.
    """

    def __iter__(self) -> Iterator[list[int]]:
        return self._batches(self._places())

    def _batches(self, places: Iterator[Place]) -> Iterator[list[int]]:
        for place in places:
            indices = self.indices(*place)
            indices.place = place
            yield indices

    @property
    def sampler(self) -> ClipSampler:
        """Itself: trainers call ``set_epoch`` of a batch sampler's `sampler`."""
        return self


def _ranks(rank: int | None, world: int | None) -> tuple[int, int]:
    if (rank is None) != (world is None):
        raise ValueError("give both rank and world, or neither")
    if rank is None or world is None:
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            rank, world = torch.distributed.get_rank(), torch.distributed.get_world_size()
        else:
            rank, world = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
    if not 0 <= rank < world:
        raise ValueError(f"rank must be from 0 to world - 1, not {rank} of {world}")
    return rank, world
