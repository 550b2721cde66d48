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
    """The result of a loss.

    Attributes:
        loss: scalar, the mean over all labelled samples of all ranks. With micro-batches, it is the sum divided by the
            average number of samples per micro-batch, so that the mean over micro-batches is the mean over samples.
        rows: (n,) the loss of each sample of this rank, detached.
    """

    loss: Tensor
    rows: Tensor


class ClusterLoss(nn.Module):
    """The concept bank of one head, and its loss.

    By `mode`, the loss is

    - "multilabel": all positives of a sample at once, against one set of sampled negatives that all samples share. A
      sample's own labels are never among its negatives, not even those that `positives` leaves out of the loss. See
      `ove_codec.training.margin_softmax` for the formula.
    - "legacy": as the reference implementation: a separate softmax and set of negatives for each label slot, in which
      the other labels of a sample may be negatives. Cosines above 0.75 with other centres count as 0. The reported
      value is the mean over slots, each at most -log(1e-30), but the gradient is that of their sum.

    Negatives are sampled on the device and depend only on `seed`, `draw` and the number of the centre: checkpoints
    need no state, and a step has the same negatives on any number of ranks (unless one rank has far more of its
    positives than usual). Shapes depend only on the batch, and nothing waits for the device.

    Args:
        num_centres: C, size of the whole bank; a rank holds the rows `Ranks.shard(C)`.
        dim: D, width of embeddings and centres.
        mode: see above.
        sample_rate: share of the centres that are sampled, in (0, 1]; positives are always included.
        scale, margin: s and m of CosFace.
        filter: leave out negatives with a larger cosine, which are likely the same concept; None for no filter
            ("legacy": 0.75 unless given).
        positives: how many labels of a sample count as positives at a time, chosen at random if it has more; None for
            all.
        compute_dtype: of the operands of matrix products; logits and sums are always float32.
        block_logits: most logits in memory at a time.
        data_parallel: whether gradients of the backbone will be averaged over ranks (see `MarginOptions`).
        seed: seed of the initial centres and of all sampling.
        ranks: the processes; those of the default group if None.
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
            generator.manual_seed(seed_of(self.seed, 1, start))
            block = torch.randn(_ROWS_PER_SEED, self.weight.shape[1], generator=generator) * 0.01
            begin, end = max(start, self.rows.start), min(start + _ROWS_PER_SEED, self.rows.stop)
            self.weight[begin - self.rows.start : end - self.rows.start] = block[begin - start : end - start]

    def forward(self, embeddings: Tensor, labels: Tensor, draw: int = 0, micro: int = 0) -> ClusterOutput:
        """The loss of a batch, or of a micro-batch whose step has one draw of negatives.

        Args:
            embeddings: (n, D) of this rank's samples, not normalised; n is the same on every rank.
            labels: (n, L) int64 centres of each sample, -1 for none; a sample of which all are -1 does not count, a
                label that is named twice counts once. Or (A, n, L), those of all micro-batches of this rank in the
                step.
            draw: number of the step, which chooses positives and negatives.
            micro: which of the A micro-batches the embeddings are.

        Raises:
            ValueError: a shape or type is wrong, or labels that lie on the CPU are outside the bank. On another device
                that is an assertion of the device, which the next synchronisation reports: check them before they go
                there.
        """
        if embeddings.ndim != 2 or embeddings.shape[1] != self.weight.shape[1]:
            raise ValueError(f"embeddings must be (n, {self.weight.shape[1]}), not {tuple(embeddings.shape)}")
        parts = labels if labels.ndim == 3 else labels[None]
        if parts.ndim != 3 or parts.shape[1] != len(embeddings) or labels.dtype != torch.int64 or parts.shape[2] == 0:
            raise ValueError(
                f"labels must be ({len(embeddings)}, L) or (A, {len(embeddings)}, L) int64, not {tuple(labels.shape)} "
                f"{labels.dtype}"
            )
        if not 0 <= micro < len(parts):
            raise ValueError(f"micro must be 0 to {len(parts) - 1}, as there are labels, not {micro}")
        check_labels(parts.flatten(0, 1), self.num_centres)
        unit = F.normalize(embeddings.to(self.weight.dtype), dim=1)
        parts = parts.to(embeddings.device)
        if self.mode == "legacy":
            return self._legacy(unit, parts, draw, micro)
        parts = distinct(parts)
        chosen = self._chosen(parts, draw)
        every = self.ranks.gather(torch.cat([chosen, parts], dim=2).transpose(0, 1))
        pulled, own = every[..., : chosen.shape[2]], every[..., chosen.shape[2] :]
        index, taking = self._draw(pulled, draw, 0)
        loss, rows = margin_softmax(
            unit,
            self.weight,
            index,
            taking,
            self._columns(index, pulled[:, micro]),
            self._columns(index, own[:, micro]),
            _samples(pulled),
            self.ranks,
            self.options,
        )
        return ClusterOutput(loss, self._own(rows))

    def _legacy(self, unit: Tensor, labels: Tensor, draw: int, micro: int) -> ClusterOutput:
        every = self.ranks.gather(self._chosen(labels, draw).transpose(0, 1))
        slots = every.shape[2]
        total, row_total = unit.new_zeros(()), unit.new_zeros(len(unit))
        for slot in range(slots):
            index, taking = self._draw(every[..., slot], draw, slot)
            columns = self._columns(index, every[:, micro, slot : slot + 1])
            count = _samples(every[..., slot : slot + 1])
            loss, rows = margin_softmax(
                unit, self.weight, index, taking, columns, columns, count, self.ranks, self.options
            )
            total, row_total = total + loss, row_total + self._own(rows)
        mean = total.detach() / slots
        return ClusterOutput(mean + (total - total.detach()), row_total / slots)

    def _chosen(self, labels: Tensor, draw: int) -> Tensor:
        """(A, n, min(L, positives)) of (A, n, L) labels that are pulled; real ones before -1."""
        if self.positives is None or self.positives >= labels.shape[2]:
            return labels
        noise = torch.empty(labels.shape, device=labels.device)
        for micro, rows in enumerate(noise):
            generator = torch.Generator(labels.device)
            generator.manual_seed(seed_of(self.seed, 2, draw, micro * self.ranks.world + self.ranks.rank))
            rows.uniform_(generator=generator)
        order = (noise + (labels < 0)).topk(self.positives, dim=2, largest=False).indices
        return labels.gather(2, order)

    def _draw(self, positives: Tensor, draw: int, slot: int) -> tuple[Tensor, Tensor]:
        """(M,) rows of this rank's centres, ascending, and which of them take part: all positives, and random ones.

        M depends on shapes alone; rows that take no part fill up what the draw leaves.
        """
        local, rate = len(self.rows), self.sample_rate
        if rate == 1:
            rows = torch.arange(local, device=positives.device)
            return rows, torch.ones_like(rows, dtype=torch.bool)
        # Six standard deviations more than both parts of the draw have on average; and room for every positive.
        share = positives.numel() / self.ranks.world
        drawn = rate * local + 6 * math.sqrt(local * rate * (1 - rate)) + share + 6 * math.sqrt(share)
        count = min(local, max(math.ceil(drawn), positives.numel()))
        numbers = torch.arange(self.rows.start, self.rows.stop, device=positives.device)
        above = rate - uniform(numbers, seed_of(self.seed, 3, draw, slot))
        row = (positives - self.rows.start).flatten()
        inside = (row >= 0) & (row < local) & (positives.flatten() >= 0)
        above.scatter_reduce_(0, torch.where(inside, row, 0), torch.where(inside, 2.0, -2.0), "amax")
        index = above.topk(count, sorted=False).indices.sort().values
        return index, above[index] > 0

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
    """(..., L) labels, descending, of which every further mention is -1."""
    labels = labels.sort(dim=-1, descending=True).values
    again = F.pad(labels[..., 1:] == labels[..., :-1], (1, 0))
    return labels.masked_fill(again, -1)


def _samples(pulled: Tensor) -> Tensor:
    """The number of samples with labels in (B, A, P) of a step, of one micro-batch on average."""
    return (pulled >= 0).any(2).sum().clamp_min(1) / pulled.shape[1]


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
            f"(0 to {num_centres - 1}): make labels and bank in the same run of 'ove-codec cluster', or use a larger "
            "bank"
        )


def seed_of(*parts: int) -> int:
    """One 63-bit seed of several numbers (SplitMix64's finaliser, folded over them)."""
    state = 0
    for part in parts:
        state = (state + part + 0x9E3779B97F4A7C15) & (2**64 - 1)
        state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & (2**64 - 1)
        state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & (2**64 - 1)
        state ^= state >> 31
    return state >> 1


def uniform(numbers: Tensor, seed: int) -> Tensor:
    """Of int64 numbers, float32 in [0, 1) that depend on number and seed alone, on every device (SplitMix64)."""
    state = numbers * _signed(0x9E3779B97F4A7C15) + seed
    # Shifts of int64 keep the sign, which a mask takes away.
    state = (state ^ ((state >> 30) & (2**34 - 1))) * _signed(0xBF58476D1CE4E5B9)
    state = (state ^ ((state >> 27) & (2**37 - 1))) * _signed(0x94D049BB133111EB)
    return ((state ^ ((state >> 31) & (2**33 - 1))) & (2**24 - 1)).float() * 2.0**-24


def _signed(value: int) -> int:
    """A 64-bit number as int64 has it."""
    return value - 2**64 if value >= 2**63 else value
