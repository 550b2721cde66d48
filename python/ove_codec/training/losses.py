"""Cluster discrimination: samples against a bank of concept centres that is sharded over the ranks.

Sources: section 4 of the OneVision-Encoder page (a global bank instead of the negatives of a batch), Partial FC
(sampled centres), CosFace (the margin), MLCD (several clusters a sample).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ove_codec.training.margin_softmax import MarginOptions, margin_softmax
from ove_codec.training.ranks import Ranks

MODES = ("multilabel", "legacy")
# The reference takes the logarithm of max(probability, 1e-30).
LEGACY_CEILING = -math.log(1e-30)
LEGACY_FILTER = 0.75
_ROWS_PER_SEED = 4096


class ClusterOutput(NamedTuple):
    """What a loss gives.

    Attributes:
        loss: scalar, the mean over the samples of all ranks.
        rows: (n,) of each sample of this rank, detached.
    """

    loss: Tensor
    rows: Tensor


class ClusterLoss(nn.Module):
    """The concept bank of one head, and its loss.

    By `mode`, the loss is

    - "multilabel": all positives of a sample at once, against one draw of negatives that all samples share; none of the
      sample's own labels is ever among its negatives, also not those that `positives` leaves out of the loss. See
      `ove_codec.training.margin_softmax` for the formula.
    - "legacy": what the reference implementation computes: a softmax and a draw of its own for each label slot, in
      which the other labels of a sample may be negatives; cosines above 0.75 of other centres count as 0; the reported
      value is the mean over slots, at most -log(1e-30) each, and its gradient is their sum.

    Negatives are drawn on the device, in every rank among its own centres, by `seed`, `draw` and rank alone: nothing of
    it has to be kept in a checkpoint. Shapes depend on the batch alone, and nothing waits for the device.

    Args:
        num_centres: C, of the whole bank; a rank holds the rows `Ranks.shard(C)`.
        dim: D, of embeddings and centres.
        mode: see above.
        sample_rate: share of the centres that are drawn, in (0, 1]; the positives are always among them.
        scale, margin: s and m of CosFace.
        filter: negatives with a cosine above it are left out, as likely of the same concept; None for none ("legacy":
            0.75 unless given).
        positives: how many labels of a sample are pulled at a time, chosen at random where it has more; None for all.
        compute_dtype: of the operands of the matrix products; logits and sums are float32 whatever it is.
        block_logits: most logits held at a time.
        data_parallel: whether gradients of the backbone will be averaged over ranks (see `MarginOptions`).
        seed: of the initial centres and of all draws.
        ranks: the processes; those of the default group where None.
        device: of the centres.

    Raises:
        ValueError: an argument is out of range, or a rank would have no centre.
    """

    def __init__(
        self,
        num_centres: int,
        dim: int,
        *,
        mode: str = "multilabel",
        sample_rate: float = 0.1,
        scale: float = 64.0,
        margin: float = 0.3,
        filter: float | None = None,
        positives: int | None = None,
        compute_dtype: torch.dtype = torch.float32,
        block_logits: int = 1 << 25,
        data_parallel: bool = True,
        seed: int = 0,
        ranks: Ranks | None = None,
        device: torch.device | str | None = None,
    ) -> None:
        super().__init__()
        if mode not in MODES:
            raise ValueError(f"mode must be one of {', '.join(MODES)}, not {mode!r}")
        if num_centres < 1 or dim < 1:
            raise ValueError(f"num_centres and dim must be positive, not {num_centres} and {dim}")
        if not 0 < sample_rate <= 1:
            raise ValueError(f"sample_rate must be above 0 and at most 1, not {sample_rate}")
        if scale <= 0 or not 0 <= margin < 2:
            raise ValueError(f"scale must be positive and margin 0 to 2, not {scale} and {margin}")
        if positives is not None and positives < 1:
            raise ValueError(f"positives must be 1 or more, or None for all labels, not {positives}")
        self.num_centres, self.mode, self.sample_rate, self.positives = num_centres, mode, sample_rate, positives
        self.seed = seed
        self.ranks = Ranks.current() if ranks is None else ranks
        self.rows = self.ranks.shard(num_centres)
        legacy = mode == "legacy"
        self.options = MarginOptions(
            scale=scale,
            margin=margin,
            filter=LEGACY_FILTER if legacy and filter is None else filter,
            filter_to_zero=legacy,
            ceiling=LEGACY_CEILING if legacy else None,
            compute_dtype=compute_dtype,
            block_logits=block_logits,
            data_parallel=data_parallel,
        )
        self.weight = nn.Parameter(torch.empty(len(self.rows), dim, device=device))
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """N(0, 0.01) centres, the same for any number of ranks."""
        generator = torch.Generator()
        first = self.rows.start // _ROWS_PER_SEED * _ROWS_PER_SEED
        for start in range(first, self.rows.stop, _ROWS_PER_SEED):
            generator.manual_seed(_seed(self.seed, 1, start))
            block = torch.randn(_ROWS_PER_SEED, self.weight.shape[1], generator=generator) * 0.01
            begin, end = max(start, self.rows.start), min(start + _ROWS_PER_SEED, self.rows.stop)
            self.weight[begin - self.rows.start : end - self.rows.start] = block[begin - start : end - start]

    def forward(self, embeddings: Tensor, labels: Tensor, draw: int = 0) -> ClusterOutput:
        """The loss of a batch.

        Args:
            embeddings: (n, D) of this rank's samples, not normalised; n is the same on every rank.
            labels: (n, L) int64 centres of each sample, -1 for none; a sample of which all are -1 does not count, a
                label that is named twice counts once.
            draw: number of the micro-batch, which chooses positives and negatives.

        Raises:
            ValueError: a shape or type is wrong, or labels that lie on the CPU are outside the bank. On another device
                that is an assertion of the device, which the next synchronisation reports: check them before they go
                there.
        """
        if embeddings.ndim != 2 or embeddings.shape[1] != self.weight.shape[1]:
            raise ValueError(f"embeddings must be (n, {self.weight.shape[1]}), not {tuple(embeddings.shape)}")
        if labels.ndim != 2 or len(labels) != len(embeddings) or labels.dtype != torch.int64 or labels.shape[1] == 0:
            raise ValueError(f"labels must be ({len(embeddings)}, L) int64, not {tuple(labels.shape)} {labels.dtype}")
        check_labels(labels, self.num_centres)
        unit = F.normalize(embeddings.to(self.weight.dtype), dim=1)
        labels = labels.to(embeddings.device)
        if self.mode == "legacy":
            return self._legacy(unit, labels, draw)
        labels = distinct(labels)
        chosen = self._chosen(labels, draw)
        every = self.ranks.gather(torch.cat([chosen, labels], dim=1))
        pulled = every[:, : chosen.shape[1]]
        index = self._draw(pulled, draw, 0)
        loss, rows = margin_softmax(
            unit,
            self.weight,
            index,
            self._columns(index, pulled),
            self._columns(index, every[:, chosen.shape[1] :]),
            self.ranks,
            self.options,
        )
        return ClusterOutput(loss, self._own(rows))

    def _legacy(self, unit: Tensor, labels: Tensor, draw: int) -> ClusterOutput:
        every = self.ranks.gather(self._chosen(labels, draw))
        slots = every.shape[1]
        total, row_total = unit.new_zeros(()), unit.new_zeros(len(unit))
        for slot in range(slots):
            index = self._draw(every[:, slot : slot + 1], draw, slot)
            columns = self._columns(index, every[:, slot : slot + 1])
            loss, rows = margin_softmax(unit, self.weight, index, columns, columns, self.ranks, self.options)
            total, row_total = total + loss, row_total + self._own(rows)
        mean = total.detach() / slots
        return ClusterOutput(mean + (total - total.detach()), row_total / slots)

    def _generator(self, draw: int, what: int) -> torch.Generator:
        generator = torch.Generator(self.weight.device)
        return generator.manual_seed(_seed(self.seed, 2, draw, self.ranks.rank, what))

    def _chosen(self, labels: Tensor, draw: int) -> Tensor:
        """(n, min(L, positives)) labels that are pulled; real ones before -1."""
        if self.positives is None or self.positives >= labels.shape[1]:
            return labels
        noise = torch.rand(labels.shape, generator=self._generator(draw, -1), device=labels.device)
        order = (noise + (labels < 0)).topk(self.positives, dim=1, largest=False).indices
        return labels.gather(1, order)

    def _draw(self, positives: Tensor, draw: int, slot: int) -> Tensor:
        """Rows of this rank's centres that take part, ascending: the positives of all ranks, then random ones."""
        local = len(self.rows)
        # Never fewer than the positives may be, so that the number does not depend on the labels.
        count = min(local, max(math.ceil(self.sample_rate * local), positives.numel()))
        if count == local:
            return torch.arange(local, device=positives.device)
        priority = torch.rand(local, generator=self._generator(draw, slot), device=positives.device)
        row = (positives - self.rows.start).flatten()
        inside = (row >= 0) & (row < local) & (positives.flatten() >= 0)
        priority.scatter_reduce_(0, torch.where(inside, row, 0), torch.where(inside, 2.0, 0.0), "amax")
        return priority.topk(count, sorted=False).indices.sort().values

    def _columns(self, index: Tensor, labels: Tensor) -> Tensor:
        """Where labels stand in `index`; -1 for those that do not."""
        row = labels - self.rows.start
        column = torch.searchsorted(index, row.contiguous()).clamp_max(len(index) - 1)
        return torch.where((index[column] == row) & (labels >= 0), column, -1)

    def _own(self, rows: Tensor) -> Tensor:
        count = len(rows) // self.ranks.world
        return rows[self.ranks.rank * count : (self.ranks.rank + 1) * count]

    def extra_repr(self) -> str:
        return f"{self.num_centres} centres, rows {self.rows.start} to {self.rows.stop - 1} here, mode={self.mode}"


def distinct(labels: Tensor) -> Tensor:
    """(n, L) labels, descending, of which every further mention is -1."""
    labels = labels.sort(dim=1, descending=True).values
    again = F.pad(labels[:, 1:] == labels[:, :-1], (1, 0))
    return labels.masked_fill(again, -1)


def check_labels(labels: Tensor, num_centres: int, names: list[str] | None = None) -> None:
    """Raises ValueError, with the sample's name or row, where a label is neither a centre nor -1."""
    wrong = (labels < -1) | (labels >= num_centres)
    if labels.device.type != "cpu":
        torch._assert_async(~wrong.any())
        return
    if bool(wrong.any()):
        row, column = (int(i) for i in wrong.nonzero()[0])
        name = f"row {row}" if names is None else names[row]
        raise ValueError(
            f"sample {name} has the label {int(labels[row, column])}, outside the bank of {num_centres} centres "
            f"(0 to {num_centres - 1}): make labels and bank in one run of 'ove-codec cluster', or enlarge the bank"
        )


def _seed(*parts: int) -> int:
    """One 63-bit seed of several numbers (SplitMix64's finaliser, folded over them)."""
    state = 0
    for part in parts:
        state = (state + part + 0x9E3779B97F4A7C15) & (2**64 - 1)
        state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & (2**64 - 1)
        state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & (2**64 - 1)
        state ^= state >> 31
    return state >> 1
