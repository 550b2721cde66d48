"""k-nearest-neighbour accuracy of the pooled output."""

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
from ove_codec.training.ranks import Ranks
from ove_codec.training.recipe import Evaluation


def nearest_neighbours(
    train: Tensor, train_classes: Tensor, test: Tensor, test_classes: Tensor, k: int, rows: int = 1024
) -> float:
    """Share of test rows whose class is the commonest of the k training rows with the largest cosines.

    Args:
        train, test: (n, D) features of any length; train_classes, test_classes: (n,) int64.
        k: neighbours; ties go to the class of the nearer one.
        rows: test rows compared at a time.
    """
    train, test = F.normalize(train.float(), dim=1), F.normalize(test.float(), dim=1)
    right = 0
    classes = int(max(train_classes.max(), test_classes.max())) + 1
    for part, truth in zip(test.split(rows), test_classes.split(rows), strict=True):
        cosines, index = (part @ train.T).topk(min(k, len(train)), dim=1)
        votes = torch.zeros(len(part), classes, dtype=torch.float64, device=part.device)
        # What a nearer neighbour adds beyond its vote decides ties and nothing else.
        rank = torch.arange(cosines.shape[1], 0, -1, device=part.device, dtype=torch.float64) * 1e-6
        votes.scatter_add_(1, train_classes[index], (1 + rank).expand_as(index))
        right += int((votes.argmax(1) == truth).sum())
    return right / len(test)


@torch.no_grad()
def features(backbone: OVEncoder, patterns: list[str], kind: Input, batch: int, ranks: Ranks) -> tuple[Tensor, Tensor]:
    """Pooled outputs (n, D) float32 of all samples and their first labels (n,), on every rank; each computes a part."""
    shards = ShardSet(patterns)
    places = [(s, n) for s, count in enumerate(shards.counts.tolist()) for n in range(count)]
    weight = backbone.embeddings.patch_embedding.weight
    size = -(-len(places) // ranks.world)
    out = torch.zeros(size, backbone.config.hidden_size, device=weight.device)
    classes = torch.full((size,), -1, device=weight.device)
    own = places[ranks.rank * size : (ranks.rank + 1) * size]
    training = backbone.training
    backbone.eval()
    # FSDP gathers weights in every call: all ranks make as many.
    for first in range(0, size, batch):
        part = own[first : first + batch]
        rows = [placeholder(backbone.config.patch_size)]
        for place in part:
            sample = shards.read(*place)
            rows.append(kind.tokens(sample, backbone.config.patch_size, np.random.default_rng(0)))
            classes[first + len(rows) - 2] = int(json.loads(sample.members[LABELS])["labels"][0])
        packed = pack(rows)
        pooled = backbone(packed.patches, packed.positions, packed.cu_seqlens).pooler_output
        assert pooled is not None
        out[first : first + len(part)] = pooled[1:].float()
    backbone.train(training)
    gathered, classes = ranks.gather(out), ranks.gather(classes)
    return gathered[classes >= 0], classes[classes >= 0]


def evaluate(backbone: OVEncoder, evaluation: Evaluation, ranks: Ranks) -> float:
    """The accuracy that `evaluation` asks for, the same on all ranks."""
    kind = evaluation.kind()
    train = features(backbone, evaluation.train, kind, evaluation.batch, ranks)
    test = features(backbone, evaluation.test, kind, evaluation.batch, ranks)
    return nearest_neighbours(*train, *test, evaluation.k)
