"""Spherical k-means over features that are larger than memory, with centres sharded over ranks.

Every rank reads its share of each block of rows. The blocks are gathered, each rank compares them with its own
centres, and the best match of all ranks counts. So neither features nor centres must fit on one machine, and only rows
go over the network.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from ove_codec.training.features import FeatureFiles
from ove_codec.training.ranks import Ranks

_SIMILARITIES = 1 << 25  # held at a time
_ROWS = 4096  # read at a time, by each rank
_SPLIT = 1 / 64

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Bank:
    """Centres of one rank.

    Attributes:
        centres: (rows of `Ranks.shard(k)`, D) float32 unit vectors.
        counts: int64, for each centre, the number of features nearest to it in the last pass.
        cosine: mean cosine of a feature to its centre in each pass.
    """

    k: int
    centres: Tensor
    counts: Tensor
    cosine: tuple[float, ...]


def cluster(
    features: FeatureFiles,
    k: int,
    *,
    ranks: Ranks | None = None,
    device: torch.device | str = "cpu",
    iterations: int = 20,
    batch: int | None = None,
    seed: int = 0,
    tolerance: float = 1e-4,
    progress: Progress = lambda done, total: None,
) -> Bank:
    """Spherical k-means: centres are the directions of the sums of the unit features nearest to them.

    Starts from k distinct random rows. A centre without features takes half of a large cluster: it is placed next to
    that cluster's centre, and both move apart.

    Args:
        features: N >= k rows.
        k: number of centres over all ranks.
        ranks: the processes; those of the default group where None.
        device: where products are computed.
        iterations: most passes over the features; ends earlier when the mean cosine rises by less than `tolerance`.
        batch: rows of all ranks between two updates (mini-batch k-means: a centre moves by 1 / its count so far); None
            for one update per pass (Lloyd).
        seed: seed of the first centres.
        tolerance: see `iterations`.
        progress: called with the rows done in a pass and the total.

    Raises:
        ValueError: k is out of range, or a row is zero or not finite.
    """
    ranks = Ranks.current() if ranks is None else ranks
    total, width = features.shape
    if not 1 <= k <= total:
        raise ValueError(f"k must be 1 to the {total} features that there are, not {k}")
    if iterations < 1 or (batch is not None and batch < 1):
        raise ValueError(f"iterations and batch must be 1 or more, not {iterations} and {batch}")
    own = ranks.shard(k)
    chosen = np.sort(np.random.default_rng(seed).choice(total, k, replace=False))[own.start : own.stop]
    centres = torch.from_numpy(_rows_at(features, chosen)).to(device)
    weight = torch.zeros(len(own), device=device)
    bank = Bank(k, centres, torch.zeros(len(own), dtype=torch.int64, device=device), ())
    for _ in range(iterations):
        sums = torch.zeros(len(own), width, device=device)
        counts = torch.zeros(len(own), dtype=torch.int64, device=device)
        pending, since, cosine = torch.zeros_like(weight), 0, torch.zeros((), dtype=torch.float64, device=device)
        for first, rows in _blocks(features, ranks, device):
            best, nearest = _nearest(rows, bank.centres, own.start, 1, ranks)
            real = min(len(rows), total - first)
            best, nearest, rows = best[:real, 0], nearest[:real, 0], rows[:real]
            cosine += best.sum(dtype=torch.float64)
            mine = nearest - own.start
            inside = (mine >= 0) & (mine < len(own))
            mine, rows = mine[inside], rows[inside]
            sums.index_add_(0, mine, rows)
            ones = torch.ones(len(mine), device=device)
            pending.index_add_(0, mine, ones)
            counts.index_add_(0, mine, ones.long())
            since += real
            if batch is not None and since >= batch:
                _move(bank.centres, sums, weight)
                weight += pending
                pending.zero_()
                sums.zero_()
                since = 0
            progress(first + real, total)
        _move(bank.centres, sums, weight)
        if batch is not None:
            weight += pending
        bank = replace(bank, counts=counts, cosine=(*bank.cosine, cosine.item() / total))
        if len(bank.cosine) > 1 and bank.cosine[-1] - bank.cosine[-2] < tolerance:
            break
        _split_crowded(bank, weight, ranks)
    return bank


def assign(
    features: FeatureFiles,
    bank: Bank,
    m: int,
    labels: NDArray[np.int32],
    cosines: NDArray[np.float16],
    *,
    ranks: Ranks | None = None,
    progress: Progress = lambda done, total: None,
) -> None:
    """Writes the m nearest centres of every feature, nearest first. Each rank writes the rows that it reads.

    Args:
        features, bank: as of `cluster`.
        m: at most k.
        labels, cosines: (N, m), memory-mapped where they are large.
        ranks, progress: as of `cluster`.

    Raises:
        ValueError: m is not 1 to k.
    """
    ranks = Ranks.current() if ranks is None else ranks
    if not 1 <= m <= bank.k:
        raise ValueError(f"m must be 1 to the {bank.k} centres, not {m}")
    start = ranks.shard(bank.k).start
    for first, rows in _blocks(features, ranks, bank.centres.device):
        best, nearest = _nearest(rows, bank.centres, start, m, ranks)
        size = len(rows) // ranks.world
        low = min(first + ranks.rank * size, len(features))
        high = min(low + size, len(features))
        part = slice(ranks.rank * size, ranks.rank * size + high - low)
        labels[low:high] = nearest[part].cpu().numpy()
        cosines[low:high] = best[part].cpu().numpy()
        progress(min(first + len(rows), len(features)), len(features))


def cluster_faiss(features: FeatureFiles, k: int, *, iterations: int = 20, seed: int = 0) -> Bank:
    """The same with faiss, in one process, with all features in memory.

    Raises:
        ModuleNotFoundError: faiss is missing.
        ValueError: k is out of range.
    """
    try:
        import faiss
    except ImportError as error:
        raise ModuleNotFoundError("k-means with faiss needs faiss: pip install 'ove_codec[cluster]'") from error
    total, width = features.shape
    if not 1 <= k <= total:
        raise ValueError(f"k must be 1 to the {total} features that there are, not {k}")
    rows = features.unit_rows(0, total)
    kmeans: Any = faiss.Kmeans(
        width, k, niter=iterations, seed=seed, spherical=True, min_points_per_centroid=1,
        max_points_per_centroid=total,
    )  # fmt: skip
    kmeans.train(rows)
    centres = F.normalize(torch.from_numpy(np.ascontiguousarray(kmeans.centroids, np.float32)), dim=1)
    cosine = tuple(float(step["obj"]) / total for step in kmeans.iteration_stats)
    _, nearest = kmeans.index.search(rows, 1)
    counts = torch.from_numpy(np.bincount(nearest[:, 0], minlength=k).astype(np.int64))
    return Bank(k, centres, counts, cosine)


def _blocks(features: FeatureFiles, ranks: Ranks, device: torch.device | str) -> Iterator[tuple[int, Tensor]]:
    """(first row, (world * n, D) unit rows) of every block; what is past the last row is zero."""
    total, width = features.shape
    size = min(_ROWS, -(-total // ranks.world))
    for first in range(0, total, size * ranks.world):
        low = min(first + ranks.rank * size, total)
        high = min(low + size, total)
        rows = torch.zeros(size, width, device=device)
        if high > low:
            rows[: high - low] = torch.from_numpy(features.unit_rows(low, high)).to(device)
        yield first, ranks.gather(rows)


def _nearest(rows: Tensor, centres: Tensor, start: int, m: int, ranks: Ranks) -> tuple[Tensor, Tensor]:
    """(n, m) cosines and numbers of the nearest centres of all ranks, nearest first, the smaller number at a tie."""
    width = max(m, _SIMILARITIES // max(1, len(rows)))
    best = rows.new_full((len(rows), m), -2.0)
    number = torch.zeros(len(rows), m, dtype=torch.int64, device=rows.device)
    for first in range(0, len(centres), width):
        found, index = (rows @ centres[first : first + width].T).topk(min(m, len(centres) - first, width), dim=1)
        best, number = _best(torch.cat([best, found], 1), torch.cat([number, index + (start + first)], 1), m)
    if ranks.world > 1:
        count = len(rows)
        every = ranks.gather(best).reshape(ranks.world, count, m).transpose(0, 1).flatten(1)
        numbers = ranks.gather(number).reshape(ranks.world, count, m).transpose(0, 1).flatten(1)
        best, number = _best(every, numbers, m)
    return best, number


def _best(cosines: Tensor, numbers: Tensor, m: int) -> tuple[Tensor, Tensor]:
    order = cosines.sort(dim=1, descending=True, stable=True).indices[:, :m]
    return cosines.gather(1, order), numbers.gather(1, order)


def _move(centres: Tensor, sums: Tensor, weight: Tensor) -> None:
    """Centres to the direction of their past, `weight` features of it, and new ones; those without new ones rest."""
    new = F.normalize(centres * weight[:, None] + sums, dim=1)
    moved = sums.abs().amax(1, keepdim=True) > 0
    centres.copy_(torch.where(moved & (new.abs().amax(1, keepdim=True) > 0), new, centres))


def _split_crowded(bank: Bank, weight: Tensor, ranks: Ranks) -> None:
    """Moves every centre without features beside one of the most crowded ones, which moves the other way."""
    own = ranks.shard(bank.k)
    size = len(ranks.shard(bank.k, 0))
    padded = torch.full((size,), -1, dtype=torch.int64, device=bank.counts.device)
    padded[: len(own)] = bank.counts
    counts = ranks.gather(padded)
    counts = counts[counts >= 0]
    empty = (counts == 0).nonzero().flatten()
    order = counts.sort(descending=True, stable=True)
    crowded = order.indices[order.values > 1][: len(empty)]
    signs = torch.ones(bank.centres.shape[1], device=bank.centres.device)
    signs[1::2] = -1
    for first in range(0, len(crowded), _ROWS):
        source, target = crowded[first : first + _ROWS], empty[first : first + _ROWS]
        mine = (source >= own.start) & (source < own.stop)
        rows = torch.zeros(len(source), bank.centres.shape[1], device=bank.centres.device)
        rows[mine] = bank.centres[source[mine] - own.start]
        rows = ranks.sum_(rows)
        for places, sign in ((target, 1.0), (source, -1.0)):
            here = (places >= own.start) & (places < own.stop)
            local = places[here] - own.start
            bank.centres[local] = F.normalize(rows[here] * (1 + sign * _SPLIT * signs), dim=1)
            weight[local] = 0


def _rows_at(features: FeatureFiles, rows: NDArray[np.int64]) -> NDArray[np.float32]:
    """Unit rows by their ascending numbers; reads runs of neighbours at once."""
    out = np.empty((len(rows), features.shape[1]), np.float32)
    breaks = np.flatnonzero(np.diff(rows) != 1) + 1
    for begin, end in zip([0, *breaks.tolist()], [*breaks.tolist(), len(rows)], strict=True):
        out[begin:end] = features.unit_rows(int(rows[begin]), int(rows[end - 1]) + 1)
    return out


def whole(bank: Bank, ranks: Ranks) -> tuple[Tensor, Tensor]:
    """(k, D) centres and (k,) counts of all ranks, on the CPU."""
    size = len(ranks.shard(bank.k, 0))
    short = size - len(bank.centres)
    centres, counts = F.pad(bank.centres, (0, 0, 0, short)), F.pad(bank.counts, (0, short))
    return ranks.gather(centres)[: bank.k].cpu().contiguous(), ranks.gather(counts)[: bank.k].cpu()
