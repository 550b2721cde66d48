"""Exact top-1 over a whole set, for any number of processes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ove_codec.probes.features import FeatureBatch, FeatureSet, stream
from ove_codec.probes.head import HeadStack
from ove_codec.probes.workers import Workers


@dataclass(frozen=True)
class Accuracy:
    """Number of correctly classified clips for every head, and their `total`."""

    correct: tuple[int, ...]
    total: int

    def percent(self, head: int) -> float:
        return 100 * self.correct[head] / self.total


@torch.no_grad()
def evaluate(
    heads: HeadStack,
    features: FeatureSet,
    *,
    batch_size: int = 32,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
    check: Callable[[], None] | None = None,
) -> Accuracy:
    """Counts the clips that every head classifies correctly, over all processes of torch.distributed's default group.

    Process r of n takes the clips r, r + n, r + 2n, ...; shares may differ in size, none is padded, and the counts are
    added as integers. So every readable clip counts once, and the result is the same as in one process. Clips with
    logits that are not finite count as wrong.

    Args:
        heads: on `device`.
        features: the same on every process; at least one clip.
        batch_size: clips that a process takes at a time.
        device: where to compute; with several processes one that their backend takes.
        dtype: of the products with the features.
        check: called after every batch, equally often on all processes; may raise to end the evaluation.

    Raises:
        ValueError: there are no clips, or none can be read.
        RuntimeError: the processes did not see the same set.
    """
    workers = Workers.current()
    count = len(features.labels)
    if count == 0:
        raise ValueError("features hold no clips to evaluate")
    mine = range(workers.rank, count, workers.size)
    steps = -(-count // (workers.size * batch_size))  # of the process with the largest share
    jobs = [(mine[step * batch_size : (step + 1) * batch_size], None) for step in range(steps)]
    # Right answers of every head, clips read, clips evaluated, clips that a process knows.
    counts = torch.zeros(len(heads) + 3, dtype=torch.int64, device=device)
    counts[-2], counts[-1] = len(mine), count
    for batch in stream(features, jobs):
        if batch is not None:
            logits, labels = logits_of(heads, batch, device, dtype)
            right = (logits.argmax(dim=2) == labels) & logits.isfinite().all(dim=2)
            counts[:-3] += right.sum(dim=1)
            counts[-3] += len(labels)
        if check is not None:
            check()
    *correct, read, evaluated, known = workers.sum(counts).tolist()
    if evaluated != count or known != count * workers.size:
        raise RuntimeError(
            f"this process has {count} clips, but others have another number: give all processes the same data set"
        )
    if read == 0:
        raise ValueError(f"none of the {count} clips to evaluate can be read")
    return Accuracy(tuple(correct), read)


def logits_of(
    heads: HeadStack, batch: FeatureBatch, device: torch.device | str, dtype: torch.dtype
) -> tuple[Tensor, Tensor]:
    """Logits (heads, B, classes) and labels (B,) of a batch, on the device."""
    tokens = batch.tokens.to(device, dtype, non_blocking=True)
    lengths = batch.lengths.to(device)
    everything = bool((batch.lengths == batch.tokens.shape[1]).all())
    return heads(tokens, None if everything else lengths), batch.labels.to(device)
