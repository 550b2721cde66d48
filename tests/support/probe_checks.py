"""Feature sets of the probe's tests, and what several ranks check of its training, for `support.workers`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from ove_codec.probes import (
    AttentiveHead,
    FeatureBatch,
    HeadStack,
    ProbeRecipe,
    TensorFeatures,
    evaluate,
    sweep,
    train_heads,
)
from ove_codec.training.ranks import Ranks
from probe_twin import clusters

HIDDEN, CLASSES = 128, 5
SETTINGS = sweep([1e-3, 3e-4], [0.0, 10.0])
RECIPE = ProbeRecipe(settings=SETTINGS, epochs=3, batch_size=8)


def train_set(clips: int = 30) -> TensorFeatures:
    return TensorFeatures(*clusters(CLASSES, clips, HIDDEN, seed=1))


def val_set(clips: int = 23) -> TensorFeatures:
    return TensorFeatures(*clusters(CLASSES, clips, HIDDEN, seed=2))


class Recording:
    """A feature set that keeps the numbers and views asked for; after `fails_after` batches it raises."""

    def __init__(self, features: TensorFeatures, fails_after: int | None = None, views: int = 1) -> None:
        self._features = features
        self.fails_after = fails_after
        self.batches: list[list[int]] = []
        self.asked_views: list[int] = []
        self.labels, self.hidden_size, self.views = features.labels, features.hidden_size, views
        self.fingerprint = features.fingerprint

    def batch(self, indices: Sequence[int], views: Sequence[int] | None = None) -> FeatureBatch:
        if len(self.batches) == self.fails_after:
            raise KeyboardInterrupt
        self.batches.append(list(indices))
        self.asked_views += views or []
        return self._features.batch(indices)


def as_one(ranks: Ranks, folder: Path) -> None:
    """Leaves [correct counts, losses of 25 clips, numbers of one evaluation] for a comparison with one process.

    30 clips in batches of 8 and 23 to evaluate: shares of two processes differ in both; of 25 a batch of one clip is
    empty for one of them.
    """
    val = Recording(val_set())
    history = train_heads(train_set(), val, CLASSES, RECIPE, seed=4).history
    losses = train_heads(train_set(25), val, CLASSES, RECIPE, seed=4).losses
    numbers = [i for batch in val.batches[:2] for i in batch]
    torch.save([[accuracy.correct for accuracy in history], losses, numbers], folder / f"{ranks.rank}.pt")


def different_checkpoints(ranks: Ranks, folder: Path) -> None:
    """One process has the checkpoint, the other has not."""
    short = replace(RECIPE, epochs=1)
    train_heads(train_set(), val_set(), CLASSES, short, checkpoint=folder / "0.safetensors")
    with pytest.raises(RuntimeError, match="do not see the same checkpoint"):
        train_heads(train_set(), val_set(), CLASSES, short, checkpoint=folder / f"{ranks.rank}.safetensors")


def different_sets(ranks: Ranks, _: Path) -> None:
    heads = HeadStack([AttentiveHead(HIDDEN, CLASSES)])
    with pytest.raises(RuntimeError, match="give all processes the same data set"):
        evaluate(heads, val_set(22 if ranks.rank else 23))


CHECKS = {check.__name__: (2, check) for check in (as_one, different_checkpoints, different_sets)}
