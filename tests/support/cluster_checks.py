"""What several ranks check of clustering, for `support.workers`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from ove_codec.training.clustering import assign, cluster, whole
from ove_codec.training.features import FeatureFiles
from ove_codec.training.ranks import Ranks


def features(folder: Path, count: int = 330, groups: int = 11, width: int = 12) -> FeatureFiles:
    """Groups of directions, in two files of any length of rows."""
    file = folder / "a.npy"
    if not file.exists():
        rng = np.random.default_rng(0)
        centres = rng.normal(size=(groups, width))
        rows = centres[np.arange(count) % groups] + 0.05 * rng.normal(size=(count, width))
        rows *= rng.uniform(0.5, 3, (count, 1))
        folder.mkdir(exist_ok=True, parents=True)
        np.save(folder / "b.npy", rows[100:].astype(np.float16))
        np.save(folder / "part.npy", rows[:100])
        (folder / "part.npy").rename(file)
    return FeatureFiles([folder])


def like_one(ranks: Ranks, folder: Path) -> None:
    """Centres and labels do not depend on the number of ranks, also where k does not divide by it."""
    if ranks.rank == 0:
        features(folder / "data")
    ranks.barrier()
    rows = features(folder / "data")
    for batch in (None, 100):
        bank = cluster(rows, 23, ranks=ranks, iterations=6, batch=batch, seed=1)
        alone = cluster(rows, 23, ranks=Ranks(), iterations=6, batch=batch, seed=1)
        centres, counts = whole(bank, ranks)
        if batch is None:  # other blocks would be other mini-batches
            torch.testing.assert_close(centres, alone.centres, rtol=1e-4, atol=1e-4)
            assert torch.equal(counts, alone.counts)
        own = ranks.shard(23)
        assert len(bank.centres) == len(own) and counts.sum() == len(rows)
        labels, cosines = np.zeros((len(rows), 5), np.int32), np.zeros((len(rows), 5), np.float16)
        assign(rows, bank, 5, labels, cosines, ranks=ranks)
        similarity = torch.from_numpy(rows.unit_rows(0, len(rows))) @ centres.T
        written = np.flatnonzero(cosines[:, 0])
        best = similarity.topk(5, dim=1).values[written]
        torch.testing.assert_close(torch.from_numpy(cosines[written]).float(), best, rtol=0, atol=2e-3)
        picked = similarity[written].gather(1, torch.from_numpy(labels[written]).long())
        torch.testing.assert_close(picked, best, rtol=0, atol=1e-5)
        total = ranks.sum_(torch.tensor([len(written)]))
        assert total == len(rows)


CHECKS = {"like_one_2": (2, like_one), "like_one_4": (4, like_one)}
