"""In which order samples are seen: a function of seed and position, without state."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray


class Order:
    """An endless sequence of samples in which every epoch is a permutation.

    Shards are permuted for every epoch, and samples within each `window` consecutive ones of them: reading stays near a
    few shards at a time. Any position is found at once, so that training goes on from a number.

    Args:
        counts: (S,) samples of each shard.
        seed: two seeds give two sequences.
        window: shards whose samples are mixed.
        shuffle: False for the order of shards and samples as they are.
    """

    def __init__(self, counts: NDArray[np.int64], seed: int, window: int, shuffle: bool = True) -> None:
        self.counts, self.seed, self.window, self.shuffle = counts, seed, max(1, window), shuffle
        self.length = int(counts.sum())
        self._epoch = lru_cache(maxsize=2)(self._make_epoch)
        self._mixed = lru_cache(maxsize=4)(self._make_window)

    def __getstate__(self) -> dict[str, object]:
        return {name: value for name, value in vars(self).items() if not name.startswith("_")}

    def __setstate__(self, state: dict[str, object]) -> None:
        vars(self).update(state)
        self._epoch = lru_cache(maxsize=2)(self._make_epoch)
        self._mixed = lru_cache(maxsize=4)(self._make_window)

    def locate(self, position: int) -> tuple[int, int]:
        """(shard, number of the sample in it) of a position, 0 being the first of all epochs."""
        epoch, place = divmod(position, self.length)
        _, starts = self._epoch(epoch)
        window = int(np.searchsorted(starts, place, side="right")) - 1
        shard, number = self._mixed(epoch, window)
        offset = place - int(starts[window])
        return int(shard[offset]), int(number[offset])

    def numbers(self, epoch: int) -> NDArray[np.int64]:
        """(length,) the samples of an epoch in order, counted over all shards."""
        windows = [self._make_window(epoch, window) for window in range(len(self._epoch(epoch)[1]))]
        shards, numbers = (np.concatenate(parts) for parts in zip(*windows, strict=True))
        return (np.cumsum(self.counts) - self.counts)[shards] + numbers

    def _make_epoch(self, epoch: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The shards of an epoch in order, and where each window of them begins."""
        shards = np.arange(len(self.counts))
        if self.shuffle:
            shards = np.random.default_rng([self.seed, epoch]).permutation(shards)
        ends = np.cumsum(self.counts[shards])[self.window - 1 :: self.window]
        starts = np.concatenate([[0], ends])
        return shards, starts[starts < self.length]

    def _make_window(self, epoch: int, window: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Shard and number of every sample of a window, in order."""
        shards = self._epoch(epoch)[0][window * self.window : (window + 1) * self.window]
        counts = self.counts[shards]
        shard = np.repeat(shards, counts)
        number = np.arange(len(shard)) - np.repeat(np.cumsum(counts) - counts, counts)
        if self.shuffle:
            mixed = np.random.default_rng([self.seed, epoch, window]).permutation(len(shard))
            shard, number = shard[mixed], number[mixed]
        return shard, number
