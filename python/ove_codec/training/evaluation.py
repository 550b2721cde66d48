"""Accuracies of the pooled output on labelled samples: of nearest neighbours, and of a linear probe.

Ranks divide samples among them, and keep the features of their own: none holds those of the training set of another.
"""

from __future__ import annotations

import json

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ove_codec.data import ShardSet
from ove_codec.data.inputs import Input
from ove_codec.data.mixture import LABELS, placeholder
from ove_codec.models import OVEncoder
from ove_codec.models.inputs import pack
from ove_codec.tokenizer import Tokens
from ove_codec.training.ranks import Ranks
from ove_codec.training.recipe import Evaluation

ALONE = Ranks()


def nearest_neighbours(
    train: Tensor,
    train_classes: Tensor,
    test: Tensor,
    test_classes: Tensor,
    k: int,
    rows: int = 1024,
    ranks: Ranks = ALONE,
) -> float:
    """Share of test rows whose class is the commonest of the k training rows with the largest cosines.

    Args:
        train, test: (n, D) features of any length, train of this rank and test of all; train_classes, test_classes:
            (n,) int64, -1 for rows of `train` that are none.
        k: neighbours; ties go to the class of the nearer one.
        rows: test rows compared at a time.
        ranks: the processes, all of which have as many rows of `train`.
    """
    train, test = F.normalize(train.float(), dim=1), F.normalize(test.float(), dim=1)
    classes = int(ranks.max_(torch.maximum(train_classes.max(), test_classes.max()).clone())) + 1
    right = 0
    for part, truth in zip(test.split(rows), test_classes.split(rows), strict=True):
        cosines = (part @ train.T).masked_fill_(train_classes < 0, -2.0)
        nearest, index = cosines.topk(min(k, len(train)), dim=1)
        # The nearest of all ranks are among the nearest of each.
        nearest = ranks.gather(nearest[None]).transpose(0, 1).flatten(1)
        names = ranks.gather(train_classes[index][None]).transpose(0, 1).flatten(1)
        cosines, index = nearest.topk(min(k, nearest.shape[1]), dim=1)
        names = names.gather(1, index)
        votes = torch.zeros(len(part), classes, dtype=torch.float64, device=part.device)
        # What a nearer neighbour adds beyond its vote decides ties and nothing else.
        rank = torch.arange(cosines.shape[1], 0, -1, device=part.device, dtype=torch.float64) * 1e-6
        votes.scatter_add_(1, names.clamp_min(0), (1 + rank) * (names >= 0))
        right += int((votes.argmax(1) == truth).sum())
    return right / len(test)


def linear_probe(
    train: Tensor,
    train_classes: Tensor,
    test: Tensor,
    test_classes: Tensor,
    *,
    decay: float = 1e-4,
    steps: int = 100,
    ranks: Ranks = ALONE,
) -> float:
    """Share of test rows that a linear classifier, fitted to the training rows, gives their class.

    Multinomial logistic regression of standardised features by L-BFGS, with decay / 2 times the squared norm of the
    weights added to the mean cross entropy. Arguments are those of `nearest_neighbours`; `steps` is the most
    iterations.
    """
    own = train_classes >= 0
    rows, names = train[own].double(), train_classes[own]
    count = ranks.sum_(torch.tensor(float(len(rows)), device=train.device, dtype=torch.float64))
    mean = ranks.sum_(rows.sum(0)) / count
    deviation = (ranks.sum_((rows - mean).square().sum(0)) / count).sqrt().clamp_min(1e-6)
    rows = ((rows - mean) / deviation).float()
    classes = int(ranks.max_(torch.maximum(train_classes.max(), test_classes.max()).clone())) + 1
    weight = torch.zeros(classes, train.shape[1] + 1, device=train.device, requires_grad=True)
    optimizer = torch.optim.LBFGS([weight], max_iter=steps, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        with torch.enable_grad():
            logits = F.linear(rows, weight[:, :-1], weight[:, -1])
            loss = F.cross_entropy(logits, names, reduction="sum") / count.float()
            (gradient,) = torch.autograd.grad(loss, weight)
        sums = ranks.sum_(torch.cat([gradient.flatten(), loss.detach()[None]]))
        penalised = weight.detach().clone()
        penalised[:, -1] = 0
        weight.grad = sums[:-1].view_as(weight) + decay * penalised
        return sums[-1] + decay / 2 * penalised.square().sum()

    optimizer.step(closure)
    logits = F.linear(((test.double() - mean) / deviation).float(), weight[:, :-1], weight[:, -1])
    return float((logits.argmax(1) == test_classes).double().mean())


class _Part(torch.utils.data.Dataset[tuple[Tokens, Tensor]]):
    """The samples of one rank in packed batches, behind one sequence that is no sample, and their first labels."""

    def __init__(self, patterns: list[str], kind: Input, patch_size: int, batch: int, ranks: Ranks) -> None:
        self.shards, self.kind, self.patch_size, self.batch = ShardSet(patterns), kind, patch_size, batch
        places = [(s, n) for s, count in enumerate(self.shards.counts.tolist()) for n in range(count)]
        self.size = -(-len(places) // ranks.world)
        self.places = places[ranks.rank * self.size : (ranks.rank + 1) * self.size]

    def __len__(self) -> int:
        # Weights that are sharded are gathered in every call: all ranks make as many.
        return -(-self.size // self.batch)

    def __getitem__(self, number: int) -> tuple[Tokens, Tensor]:
        rows, labels = [placeholder(self.patch_size)], []
        for place in self.places[number * self.batch : (number + 1) * self.batch]:
            sample = self.shards.read(*place)
            rows.append(self.kind.tokens(sample, self.patch_size, np.random.default_rng(0)))
            labels.append(int(json.loads(sample.members[LABELS])["labels"][0]))
        return pack(rows), torch.tensor(labels, dtype=torch.int64)


@torch.no_grad()
def features(
    backbone: OVEncoder, patterns: list[str], kind: Input, batch: int, ranks: Ranks, workers: int = 0
) -> tuple[Tensor, Tensor]:
    """Pooled outputs (n, D) float32 of this rank's samples and their first labels (n,); n is the same on all ranks.

    Rows behind the samples of the last rank are zero and have the label -1. `workers` processes read the samples.
    """
    part = _Part(patterns, kind, backbone.config.patch_size, batch, ranks)
    device = backbone.embeddings.patch_embedding.weight.device
    out = torch.zeros(part.size, backbone.config.hidden_size, device=device)
    classes = torch.full((part.size,), -1, device=device)
    training = backbone.training
    backbone.eval()
    first = 0
    loader = torch.utils.data.DataLoader(part, batch_size=None, num_workers=workers, generator=torch.Generator())
    for packed, labels in loader:
        pooled = backbone(packed.patches, packed.positions, packed.cu_seqlens).pooler_output
        assert pooled is not None
        last = first + len(labels)
        out[first:last], classes[first:last] = pooled[1:].float(), labels.to(device)
        first = last
    backbone.train(training)
    return out, classes


def evaluate(backbone: OVEncoder, evaluation: Evaluation, ranks: Ranks, workers: int = 0) -> dict[str, float]:
    """The accuracies that `evaluation` asks for, the same on all ranks."""
    kind = evaluation.kind()
    train = features(backbone, evaluation.train, kind, evaluation.batch, ranks, workers)
    test, names = (
        ranks.gather(rows) for rows in features(backbone, evaluation.test, kind, evaluation.batch, ranks, workers)
    )
    test, names = test[names >= 0], names[names >= 0]
    found = {"knn_accuracy": nearest_neighbours(*train, test, names, evaluation.k, ranks=ranks)}
    if evaluation.linear:
        found["linear_accuracy"] = linear_probe(*train, test, names, ranks=ranks)
    return found
