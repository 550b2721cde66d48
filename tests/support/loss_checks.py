"""What several ranks check of the loss, for `support.workers`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from ove_codec.training.losses import ClusterLoss, distinct
from ove_codec.training.ranks import Ranks
from support import cluster_twin

GOLDEN = Path(__file__).resolve().parents[3] / "shared" / "golden_model" / "pfc" / "pfc.safetensors"


def batch(count: int, centres: int, dim: int, labels: int, seed: int = 1) -> tuple[Tensor, Tensor, Tensor]:
    """Embeddings near their first label, labels with gaps and repetitions, and a bank; float64."""
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(centres, dim, generator=generator, dtype=torch.float64)
    names = torch.randint(0, centres, (count, labels), generator=generator)
    embeddings = weight[names[:, 0]] * 0.7 + torch.randn(count, dim, generator=generator, dtype=torch.float64)
    names[::3, -1] = -1
    names[1::3, 1] = names[1::3, 0]
    names[4] = -1
    return embeddings, names, weight


def own(ranks: Ranks, rows: Tensor) -> Tensor:
    count = len(rows) // ranks.world
    return rows[ranks.rank * count : (ranks.rank + 1) * count].clone()


def head(ranks: Ranks, weight: Tensor, **options: Any) -> ClusterLoss:
    loss = ClusterLoss(len(weight), weight.shape[1], ranks=ranks, compute_dtype=weight.dtype, **options)
    loss.weight = torch.nn.Parameter(weight[loss.rows.start : loss.rows.stop].clone())
    return loss


def multilabel(ranks: Ranks, folder: Path) -> None:
    """Loss and gradients, of a bank that does not divide by the ranks, in small and in single blocks."""
    embeddings, labels, weight = batch(8, 301, 12, 4)
    for options in (
        {"sample_rate": 1.0, "block_logits": 100},
        {"sample_rate": 0.2, "block_logits": 8 * 64},
        {"sample_rate": 0.3, "filter": 0.2},
        {"sample_rate": 0.1, "positives": 2},
    ):
        loss = head(ranks, weight, **options)
        mine = own(ranks, embeddings).requires_grad_()
        out = loss(mine, own(ranks, labels), draw=3)
        out.loss.backward()
        grad = loss.weight.grad
        assert grad is not None and grad.is_sparse
        grad = grad.coalesce()
        chosen = ranks.gather(loss._chosen(distinct(own(ranks, labels))[None], 3)[0])
        index, taking = loss._draw(chosen[:, None], 3, 0)
        assert torch.equal(grad.indices()[0], index)
        assert not grad.values()[~taking].any()
        sampled = set(ranks.gather(_padded(index[taking] + loss.rows.start, 301)).tolist()) - {-1}
        pulled = [[label for label in row if label >= 0] for row in chosen.tolist()]
        if "positives" not in options:
            assert pulled == [sorted({x for x in row if x >= 0}, reverse=True) for row in labels.tolist()]
        else:
            assert max(map(len, pulled)) == 2
        assert {label for row in pulled for label in row} <= sampled
        all_embeddings, all_weight = embeddings.clone().requires_grad_(), weight.clone().requires_grad_()
        twin = cluster_twin.multilabel(all_embeddings, all_weight, labels, pulled, sampled, options.get("filter"))
        twin.backward()
        assert all_embeddings.grad is not None and all_weight.grad is not None
        torch.testing.assert_close(out.loss, twin.detach(), rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(mine.grad, own(ranks, all_embeddings.grad) * ranks.world, rtol=1e-9, atol=1e-12)
        expected = all_weight.grad[loss.rows.start : loss.rows.stop]
        torch.testing.assert_close(grad.to_dense(), expected, rtol=1e-9, atol=1e-12)


def legacy(ranks: Ranks, _: Path) -> None:
    """The twin's value, and the gradient of the sum over slots, with sampled negatives."""
    embeddings, weight = batch(8, 301, 12, 4)[::2]
    labels = torch.randint(0, 301, (8, 3), generator=torch.Generator().manual_seed(5))
    loss = head(ranks, weight, mode="legacy", sample_rate=0.3)
    draws = [loss._draw(labels[:, slot, None], 0, slot) for slot in range(3)]
    rows = [index[taking] + loss.rows.start for index, taking in draws]
    sampled = [set(ranks.gather(_padded(row, 301)).tolist()) - {-1} for row in rows]
    mine = own(ranks, embeddings).requires_grad_()
    out = loss(mine, own(ranks, labels))
    out.loss.backward()
    all_embeddings, all_weight = embeddings.clone().requires_grad_(), weight.clone().requires_grad_()
    reported, summed = cluster_twin.legacy(all_embeddings, all_weight, labels, sampled)
    summed.backward()
    assert all_embeddings.grad is not None and all_weight.grad is not None and loss.weight.grad is not None
    torch.testing.assert_close(out.loss, reported.detach(), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(mine.grad, own(ranks, all_embeddings.grad) * ranks.world, rtol=1e-9, atol=1e-12)
    expected = all_weight.grad[loss.rows.start : loss.rows.stop]
    torch.testing.assert_close(loss.weight.grad.to_dense(), expected, rtol=1e-9, atol=1e-12)


def _padded(rows: Tensor, count: int) -> Tensor:
    return torch.cat([rows, rows.new_full((count - len(rows),), -1)])


def golden(ranks: Ranks, _: Path) -> None:
    """What the reference computes."""
    if not GOLDEN.is_file():
        return
    tensors = load_file(GOLDEN)
    for name in ("eight", "three"):
        case = f"{name}.w{ranks.world}"
        loss = head(ranks, tensors[f"{name}.weight"], mode="legacy", sample_rate=1.0)
        mine = own(ranks, tensors[f"{name}.emb"]).requires_grad_()
        out = loss(mine, own(ranks, tensors[f"{name}.labels"]))
        out.loss.backward()
        assert mine.grad is not None and loss.weight.grad is not None
        torch.testing.assert_close(out.loss, tensors[f"{case}.loss"].reshape(()), rtol=1e-6, atol=1e-6)
        torch.testing.assert_close(mine.grad, own(ranks, tensors[f"{case}.grad_emb"]), rtol=1e-4, atol=1e-4)
        expected = tensors[f"{case}.grad_weight"][loss.rows.start : loss.rows.stop]
        torch.testing.assert_close(loss.weight.grad.to_dense(), expected, rtol=1e-4, atol=1e-3)


def accumulated(ranks: Ranks, _: Path) -> None:
    """Micro-batches of several ranks have the losses of as many of one rank, and give the bank the same gradient."""
    embeddings, labels, weight = batch(16, 301, 12, 4)
    for options in ({"sample_rate": 0.1}, {"sample_rate": 0.2, "positives": 2}, {"sample_rate": 0.1, "mode": "legacy"}):
        found: list[tuple[float, Tensor, range]] = []
        for group in (ranks, Ranks()):
            loss, total = head(group, weight, **options), 0.0
            # Four micro-batches of four samples: those of a pass over all ranks lie one behind the other.
            count = 4 // group.world
            mine = [list(range(4))[group.rank + i * group.world] for i in range(count)]
            names = torch.stack([labels[4 * part : 4 * part + 4] for part in mine])
            for micro, part in enumerate(mine):
                out = loss(embeddings[4 * part : 4 * part + 4], names, 5, micro)
                (out.loss / count).backward()
                total += float(out.loss.detach()) / count
            assert loss.weight.grad is not None
            found.append((total, loss.weight.grad.to_dense(), loss.rows))
        (many, grad, shard), (one, whole) = found[0], found[1][:2]
        assert abs(many - one) < 1e-12
        torch.testing.assert_close(grad, whole[shard.start : shard.stop], rtol=1e-9, atol=1e-12)


def same_bank(ranks: Ranks, _: Path) -> None:
    """Initial centres do not depend on the number of ranks."""
    shard = ClusterLoss(4500, 3, seed=9, ranks=ranks)
    whole = ClusterLoss(4500, 3, seed=9, ranks=Ranks())
    torch.testing.assert_close(shard.weight, whole.weight[shard.rows.start : shard.rows.stop], rtol=0, atol=0)


CHECKS = {
    f"{name}_{n}": (n, check)
    for name, check, sizes in (
        ("multilabel", multilabel, (1, 2, 4)),
        ("legacy", legacy, (1, 2, 4)),
        ("golden", golden, (1, 2)),
        ("same_bank", same_bank, (2, 4)),
        ("accumulated", accumulated, (2, 4)),
    )
    for n in sizes
}
