"""The slow, obvious twin of `ove_codec.training.losses`: one process, float64, a Python loop, no blocks."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

S, M = 64.0, 0.3


def multilabel(
    embeddings: Tensor,
    weight: Tensor,
    labels: Tensor,
    pulled: Sequence[Sequence[int]],
    sampled: set[int],
    above: float | None = None,
) -> Tensor:
    """Mean over samples of the mean over pulled labels of -log(softmax of it and the negatives)."""
    cosines = torch.nn.functional.normalize(embeddings) @ torch.nn.functional.normalize(weight).T
    losses = []
    for row, own, positives in zip(cosines, labels.tolist(), pulled, strict=True):
        if not positives:
            continue
        negatives = [c for c in sorted(sampled - set(own)) if above is None or row[c] <= above]
        terms = []
        for positive in positives:
            target = S * (row[positive] - M)
            terms.append(torch.logsumexp(torch.stack([target, *(S * row[c] for c in negatives)]), 0) - target)
        losses.append(torch.stack(terms).mean())
    return torch.stack(losses).mean()


def legacy(embeddings: Tensor, weight: Tensor, labels: Tensor, sampled: Sequence[set[int]]) -> tuple[Tensor, Tensor]:
    """(the reported value, what is differentiated): mean and sum over slots of a CosFace softmax each."""
    cosines = torch.nn.functional.normalize(embeddings) @ torch.nn.functional.normalize(weight).T
    slots, reported = [], []
    for slot, centres in enumerate(sampled):
        terms = []
        for row, own in zip(cosines, labels[:, slot].tolist(), strict=True):
            target = S * (row[own] - M)
            others = [S * torch.where(row[c] > 0.75, 0 * row[c], row[c]) for c in sorted(centres - {own})]
            terms.append(torch.logsumexp(torch.stack([target, *others]), 0) - target)
        slots.append(torch.stack(terms).mean())
        reported.append(torch.stack(terms).clamp_max(-math.log(1e-30)).mean())
    return torch.stack(reported).mean(), torch.stack(slots).sum()
