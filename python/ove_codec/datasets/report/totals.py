"""Figures of a whole data set, gathered clip by clip."""

from __future__ import annotations

import hashlib
import heapq
from array import array
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from ove_codec.datasets.report.clip_list import ClipList
from ove_codec.datasets.statistics import BUDGETS

_LEVELS = 1000  # of shares, as far as their distribution over the clips is known
_EXTREMES = 5

Values = npt.NDArray[np.float64]


@dataclass
class Work:
    """What a worker did: clips, tokens, and the seconds that the clips took."""

    clips: int = 0
    tokens: int = 0
    seconds: float = 0.0


@dataclass
class Span:
    """The clips of one run: when each was done (Unix time), and its tokens."""

    ended: array[float] = field(default_factory=lambda: array("d"))
    tokens: array[int] = field(default_factory=lambda: array("q"))


class Totals:
    """Adds up the lines of manifests; 48 bytes a clip are kept, whatever their lengths."""

    def __init__(self) -> None:
        self.clips = self.tokens = self.patches = self.pictures = self.without_heat = self.unknown = 0
        self.codecs: Counter[str] = Counter()
        self.sizes: Counter[tuple[int, int]] = Counter()
        self.fractions = array("d")  # kept patches over all
        self.shares = array("d")  # kept heat over all
        self.workers: dict[str, Work] = {}
        self.spans: dict[float, Span] = {}
        self.listed = ClipList()
        self._levels = np.zeros((len(BUDGETS), _LEVELS + 1), np.int64)
        self._calm: list[tuple[float, str]] = []
        self._busy: list[tuple[float, str]] = []

    def add(self, entry: dict[str, Any]) -> None:
        facts = entry["statistics"]
        tokens = entry["tokens"]
        self.clips += 1
        self.tokens += tokens
        if facts.get("patches") is None:  # written before clips were measured
            self.unknown += 1
            return
        self.listed.add(entry)
        patches = int(facts["patches"])
        self.patches += patches
        self.pictures += int(facts.get("pictures") or 0)
        self.codecs[str(facts.get("codec"))] += 1
        self.sizes[int(facts.get("width") or 0), int(facts.get("height") or 0)] += 1
        self.fractions.append(min(1.0, tokens / max(1, patches)))
        curve = facts.get("curve")
        if curve is None or len(curve) != len(BUDGETS):
            self.without_heat += 1
        else:
            level = np.clip(np.rint(np.array(curve) * _LEVELS), 0, _LEVELS).astype(int)
            self._levels[np.arange(len(BUDGETS)), level] += 1
            self.shares.append(min(1.0, float(facts.get("kept") or 0)))
        if facts.get("heat"):
            heat = float(np.mean(facts["heat"]))
            _push(self._calm, (-heat, entry["name"]))
            _push(self._busy, (heat, entry["name"]))
        self._add_work(entry, facts, tokens)

    def _add_work(self, entry: dict[str, Any], facts: dict[str, Any], tokens: int) -> None:
        work = self.workers.setdefault(str(facts.get("worker")), Work())
        work.clips += 1
        work.tokens += tokens
        work.seconds += float(facts.get("seconds") or 0)
        run = entry.get("run")
        if isinstance(run, int | float) and facts.get("ended") is not None:
            span = self.spans.setdefault(float(run), Span())
            span.ended.append(max(float(run), float(facts["ended"])))
            span.tokens.append(tokens)

    @property
    def calmest(self) -> list[tuple[float, str]]:
        """Mean heat and name of the clips with the least heat."""
        return sorted((-heat, name) for heat, name in self._calm)

    @property
    def busiest(self) -> list[tuple[float, str]]:
        """The same of those with the most."""
        return sorted(self._busy, reverse=True)

    def curve(self, quantile: float) -> Values:
        """For each of ``BUDGETS`` the share of heat that `quantile` of the clips do not reach."""
        summed = np.cumsum(self._levels, axis=1)
        rank = quantile * max(0, int(summed[0, -1]) - 1)
        found: Values = (summed > rank).argmax(axis=1) / _LEVELS
        return found

    def throughput(self, most: int = 60) -> tuple[Values, Values, Values, list[float]]:
        """Clips and tokens a second over the seconds at work of all runs, one after the other.

        Returns:
            Edges of equal intervals (n + 1,), clips a second (n,), tokens a second (n,), and where a run ends and the
            next one begins. A run lasts from its start to its last clip.
        """
        runs = sorted(self.spans)
        lasts = np.array([max(self.spans[run].ended) - run for run in runs])
        starts = np.concatenate([[0.0], np.cumsum(lasts)])
        seconds = float(starts[-1])
        times = np.concatenate([np.array(self.spans[r].ended) - r + s for r, s in zip(runs, starts, strict=False)])
        tokens = np.concatenate([np.array(self.spans[r].tokens, np.float64) for r in runs])
        edges = np.linspace(0, max(seconds, 1e-3), 1 + max(1, min(most, len(times) // 4)))
        step = edges[1]
        clips_rate = np.histogram(times, edges)[0] / step
        token_rate = np.histogram(times, edges, weights=tokens)[0] / step
        return edges, clips_rate, token_rate, starts[1:-1].tolist()


class Reservoir:
    """The clips shown: `count` of them, the same for the same seed however the shards lie."""

    def __init__(self, count: int, seed: int) -> None:
        self._count, self._seed = count, seed
        self._kept: list[tuple[int, int, str, dict[str, Any]]] = []
        self._number = 0

    def add(self, shard: str, entry: dict[str, Any]) -> None:
        text = f"{self._seed}\0{entry['name']}\0{entry['key']}".encode("utf-8", "surrogatepass")
        rank = -int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big")
        self._number += 1
        _push(self._kept, (rank, self._number, shard, entry), self._count)

    def clips(self) -> list[tuple[str, dict[str, Any]]]:
        """Shard and line of the manifest of each, by name."""
        return sorted(((shard, entry) for _, _, shard, entry in self._kept), key=lambda item: item[1]["name"])


def _push(heap: list[Any], item: Any, most: int = _EXTREMES) -> None:
    """Adds to a heap of the largest `most` items."""
    if len(heap) < most:
        heapq.heappush(heap, item)
    elif heap:
        heapq.heappushpop(heap, item)
