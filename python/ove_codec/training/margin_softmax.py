"""CosFace softmax over sampled, sharded centres, in blocks: forward and backward never hold more logits than a block.

Of a row i with embedding e_i, positives P_i and negatives N_i among the sampled centres of all ranks, unit vectors all,

    z_ip = s (cos(e_i, w_p) - m),    Z_i = log sum over N_i of exp(s cos(e_i, w_n)),
    loss = mean over rows of mean over P_i of softplus(Z_i - z_ip),

which for each positive is the cross entropy of a softmax over it and the negatives. Every rank computes the columns of
its own centres; the rows' maxima, sums and positive cosines are reduced, 2 + 2 P numbers a row. The backward pass
computes the blocks once more.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ove_codec.training.ranks import Ranks


@dataclass(frozen=True)
class MarginOptions:
    """Of the softmax: scale s, margin m, and what becomes of negatives whose cosine is above `filter`.

    With `filter_to_zero` their cosine counts as 0, without gradient, as in the reference; otherwise they are left out
    of the sum. `ceiling` bounds the reported loss of a row (not its gradient). Of `compute_dtype` are the two operands
    of each matrix product; sums are in float32, or in float64 where that is the compute type. A block has at most
    `block_logits` logits. With `data_parallel` the gradient of the embeddings is multiplied by the number of ranks,
    because DistributedDataParallel and FSDP divide by it.
    """

    scale: float = 64.0
    margin: float = 0.3
    filter: float | None = None
    filter_to_zero: bool = False
    ceiling: float | None = None
    compute_dtype: torch.dtype = torch.float32
    block_logits: int = 1 << 25
    data_parallel: bool = True


# A compiler cannot trace sparse gradients; the backbone around it is compiled all the same.
@torch.compiler.disable  # type: ignore[untyped-decorator]
def margin_softmax(
    embeddings: Tensor,
    weight: Tensor,
    index: Tensor,
    taking: Tensor,
    positives: Tensor,
    excluded: Tensor,
    count: Tensor,
    ranks: Ranks,
    options: MarginOptions,
) -> tuple[Tensor, Tensor]:
    """The loss over the samples of all ranks, and that of each of them.

    Args:
        embeddings: (n, D) unit rows of this rank's samples; n is the same on every rank, B = world * n.
        weight: (C, D) centres of this rank, of any length. Its gradient is sparse, with the rows of `index`.
        index: (M,) int64 rows of `weight`, distinct, ascending.
        taking: (M,) bool, which of them are sampled; the others are no negatives, and have no gradient. All positives
            are sampled.
        positives: (B, P) int64 columns (numbers within `index`) of each row's positives; -1 for those of other ranks,
            that are none. Distinct in a row.
        excluded: (B, Q) int64 columns that are no negatives of the row, its positives among them; -1 for none.
        count: scalar, what the sum of the rows' losses is divided by.
        ranks: the processes; every one has the same `positives >= 0` summed up over ranks as a row has positives.
        options: see `MarginOptions`.

    Returns:
        The sum of the rows' losses by `count`, the same on all ranks, and (B,) the loss of each row, without gradient.
        Rows without any positive have the loss 0.
    """
    loss, rows = _MarginSoftmax.apply(embeddings, weight, index, taking, positives, excluded, count, ranks, options)
    return loss, rows


def product(a: Tensor, b: Tensor) -> Tensor:
    """a @ b, with sums and result in float32 (in float64 of float64)."""
    if a.dtype in (torch.float32, torch.float64):
        return a @ b
    if a.is_cuda:
        return torch.mm(a, b, out_dtype=torch.float32)
    return (a @ b).float()


class _Blocks:
    """The logits of one rank's sampled centres, a block of columns at a time."""

    def __init__(
        self,
        rows: Tensor,
        weight: Tensor,
        index: Tensor,
        taking: Tensor,
        positives: Tensor,
        excluded: Tensor,
        options: MarginOptions,
    ) -> None:
        self.rows, self.weight, self.index, self.taking = rows, weight, index, taking
        self.positives, self.excluded, self.options = positives, excluded, options
        width = max(1, options.block_logits // max(1, len(rows)))
        self.bounds = [slice(first, first + width) for first in range(0, len(index), width)]

    def centres(self, block: slice) -> tuple[Tensor, Tensor]:
        """The block's unit centres in the compute type, and the length of each."""
        w = self.weight.index_select(0, self.index[block]).to(sum_dtype(self.options))
        norm = w.norm(dim=1, keepdim=True).clamp_min(1e-12)
        return (w / norm).to(self.options.compute_dtype), norm

    @staticmethod
    def within(columns: Tensor, block: slice, width: int) -> tuple[Tensor, Tensor]:
        """Columns as numbers within the block (0 for others), and which of them lie in it."""
        local = columns - block.start
        inside = (columns >= 0) & (local >= 0) & (local < width)
        return torch.where(inside, local, 0), inside

    def logits(self, cosines: Tensor, block: slice) -> tuple[Tensor, Tensor | None]:
        """s cos of the negatives, -inf for what is none; and which of them carry no gradient."""
        options = self.options
        taking = self.taking[block]
        # One pass over the block: 0 or -inf, plus s cos.
        logits = torch.add(torch.where(taking, 0.0, -math.inf).to(cosines.dtype), cosines, alpha=options.scale)
        constant = None
        if options.filter is not None:
            above = (cosines > options.filter) & taking
            if options.filter_to_zero:
                logits, constant = logits.masked_fill_(above, 0.0), above
            else:
                logits = logits.masked_fill_(above, -math.inf)
        local, inside = self.within(self.excluded, block, logits.shape[1])
        bar = torch.where(inside, -math.inf, math.inf).to(logits.dtype)
        return logits.scatter_reduce_(1, local, bar, "amin"), constant


class _MarginSoftmax(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        embeddings: Tensor,
        weight: Tensor,
        index: Tensor,
        taking: Tensor,
        positives: Tensor,
        excluded: Tensor,
        samples: Tensor,
        ranks: Ranks,
        options: MarginOptions,
    ) -> tuple[Tensor, Tensor]:
        rows = ranks.gather(embeddings.to(options.compute_dtype))
        blocks = _Blocks(rows, weight, index, taking, positives, excluded, options)
        count = len(rows)
        # No logit is below -s, so the running maximum is finite though all of a block may be excluded.
        highest = rows.new_full((count,), -1.01 * options.scale, dtype=sum_dtype(options))
        total = torch.zeros_like(highest)
        of_positives = torch.zeros(positives.shape, dtype=highest.dtype, device=rows.device)
        for block in blocks.bounds:
            w, _ = blocks.centres(block)
            cosines = product(rows, w.T)
            local, inside = blocks.within(positives, block, cosines.shape[1])
            of_positives += torch.where(inside, cosines.gather(1, local), 0.0)
            logits, _ = blocks.logits(cosines, block)
            higher = torch.maximum(highest, logits.amax(1))
            total = total * (highest - higher).exp() + logits.sub_(higher[:, None]).exp_().sum(1)
            highest = higher
        local_highest = highest.clone()
        highest = ranks.max_(highest)
        owned = (positives >= 0).to(highest.dtype)
        sums = torch.cat([(total * (local_highest - highest).exp())[:, None], of_positives, owned], dim=1)
        total, of_positives, owned = ranks.sum_(sums).split([1, positives.shape[1], positives.shape[1]], dim=1)
        # Without any negative Z would be -inf; a finite one keeps exp(logit - Z) at 0 in the backward pass.
        z = (highest + total[:, 0].log()).clamp_min(-1e4)
        gap = z[:, None] - options.scale * (of_positives - options.margin)
        share = owned / owned.sum(1, keepdim=True).clamp_min(1.0)
        row_loss = (F.softplus(gap, threshold=40.0) * share).sum(1)
        if options.ceiling is not None:
            row_loss = row_loss.clamp_max(options.ceiling)
        pull = gap.sigmoid() * share / samples
        ctx.save_for_backward(rows, weight, index, taking, positives, excluded, z, pull)
        ctx.ranks, ctx.options, ctx.embedding_dtype = ranks, options, embeddings.dtype
        ctx.mark_non_differentiable(row_loss)
        return row_loss.sum() / samples, row_loss

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        rows, weight, index, taking, positives, excluded, z, pull = ctx.saved_tensors
        options: MarginOptions = ctx.options
        blocks = _Blocks(rows, weight, index, taking, positives, excluded, options)
        pull = pull * (grads[0] * options.scale)  # (B, P): d loss / d(-cosine of a positive)
        push = pull.sum(1, keepdim=True)  # its share of every negative is their softmax
        grad_rows = torch.zeros(rows.shape, dtype=z.dtype, device=rows.device)
        grad_centres = weight.new_empty((len(index), weight.shape[1]))
        for block in blocks.bounds:
            w, norm = blocks.centres(block)
            logits, constant = blocks.logits(product(rows, w.T), block)
            slope = logits.sub_(z[:, None]).exp_().mul_(push)
            if constant is not None:
                slope.masked_fill_(constant, 0.0)
                # A positive above the filter keeps its gradient; it is added next.
            local, inside = blocks.within(positives, block, slope.shape[1])
            slope.scatter_add_(1, local, torch.where(inside, -pull, 0.0))
            slope = slope.to(options.compute_dtype)
            grad_rows += product(slope, w)
            of_unit = product(slope.T, rows)
            w = w.to(of_unit.dtype)
            grad_centres[block] = (of_unit - w * (w * of_unit).sum(1, keepdim=True)) / norm
        grad_rows = ctx.ranks.scatter_sum(grad_rows)
        if options.data_parallel:
            grad_rows = grad_rows * ctx.ranks.world
        sparse = torch.sparse_coo_tensor(
            index[None], grad_centres, weight.shape, is_coalesced=True, check_invariants=False
        )
        return grad_rows.to(ctx.embedding_dtype), sparse, None, None, None, None, None, None, None


def sum_dtype(options: MarginOptions) -> torch.dtype:
    """Type of sums and logits."""
    return torch.float64 if options.compute_dtype == torch.float64 else torch.float32
