"""Packed batches of several heads and kinds of input, for any number of ranks and workers."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ove_codec.data.inputs import UNREADABLE, Input, reason_of
from ove_codec.data.order import Order
from ove_codec.data.packed import Packed
from ove_codec.data.shards import DataError, Sample, ShardSet, name_of
from ove_codec.models.inputs import pack
from ove_codec.tokenizer import Tokens

LABELS = "json"


@dataclass(frozen=True)
class HeadData:
    """Where the samples of a head come from.

    Attributes:
        shards: patterns, as for `ShardSet`.
        centres: of the head's bank; labels are 0 to centres - 1.
        max_labels: most labels of a sample.
        share: samples of a micro-batch of one rank, 1.5 being one in the micro-batches of one step and two in the next.
        inputs: kinds of input with their settings; each takes its weight's share of the samples.
    """

    shards: tuple[str, ...]
    centres: int
    max_labels: int
    share: float
    inputs: Mapping[str, Input]


@dataclass(frozen=True, kw_only=True)
class PackedBatch(Packed):
    """A micro-batch of one rank: the samples of all heads, head by head, as one packed sequence of tokens.

    For what was skipped stands one patch of zeros, without labels.

    Attributes:
        labels: for every head (n, max_labels) int64, -1 for none; B is the sum of n over heads.
        kinds: (B,) the kinds of input.
        error: why training cannot go on with this data; None where it can.
    """

    micro: int
    labels: dict[str, Tensor]
    kinds: tuple[str, ...]
    error: str | None = None

    def token_mix(self) -> dict[str, int]:
        """Tokens of each kind of input."""
        mix: dict[str, int] = {}
        for kind, length in zip(self.kinds, self.cu_seqlens.diff().tolist(), strict=True):
            mix[kind] = mix.get(kind, 0) + length
        return mix


@dataclass(frozen=True)
class _Planned:
    head: str
    position: int
    kind: str


class Mixture(torch.utils.data.Dataset[PackedBatch]):
    """The micro-batches of one rank, by number.

    A step has `accumulate` micro-batches of each rank. Which samples they hold, what kinds of input these become and
    how they are augmented depend on seed and position alone: ranks and workers only divide the samples of a step among
    them. So a position is a number of micro-batches, and training with another number of ranks or another batch goes on
    behind the samples that were consumed.

    Args:
        heads: the data of each head.
        patch_size: of the model.
        rank, world: this process, and how many there are.
        accumulate: micro-batches of a rank in a step.
        seed: of order, kinds and augmentation.
        window: shards whose samples are mixed, see `Order`.
        dtype: of patches.

    Raises:
        DataError: a setting cannot be; and what `ShardSet` raises.
    """

    def __init__(
        self,
        heads: Mapping[str, HeadData],
        patch_size: int,
        *,
        rank: int = 0,
        world: int = 1,
        accumulate: int = 1,
        seed: int = 0,
        window: int = 8,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.heads, self.patch_size = dict(heads), patch_size
        self.rank, self.world, self.accumulate, self.seed, self.dtype = rank, world, accumulate, seed, dtype
        for name, head in heads.items():
            if not head.inputs or head.share <= 0 or head.max_labels < 1:
                raise DataError(f"head {name} needs inputs, and share and max_labels must be above 0")
        self.shards = {name: ShardSet(head.shards) for name, head in heads.items()}
        self.orders = {name: Order(shards.counts, _number(seed, name), window) for name, shards in self.shards.items()}
        self.micro = 0
        self.consumed = dict.fromkeys(heads, 0)

    def state_dict(self, micro: int) -> dict[str, Any]:
        """The position before micro-batch `micro`: its number, and the samples consumed of each head by all ranks."""
        consumed = {head: self._start(head, micro) for head in self.heads}
        return {"micro": micro, "accumulate": self.accumulate, "consumed": consumed}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Goes on from a position; heads that it does not know begin anew. Call it before workers are started.

        Where a step had another number of micro-batches then, the position must be the end of a step.
        """
        step, part = divmod(int(state["micro"]), int(state.get("accumulate", self.accumulate)))
        self.micro = step * self.accumulate + part
        self.consumed = {head: int(state["consumed"].get(head, 0)) for head in self.heads}

    def part(self, micro: int) -> int:
        """The number of a micro-batch of this rank among those of all ranks: a step's are consecutive."""
        return micro * self.world + self.rank

    def _start(self, head: str, micro: int) -> int:
        """Position of the first sample of a micro-batch, over all ranks."""
        return self.consumed[head] + self.world * (self._passed(head, micro) - self._passed(head, self.micro))

    def _passed(self, head: str, micro: int) -> int:
        """Samples of one rank before a micro-batch; all micro-batches of a step have as many."""
        step, number = divmod(micro, self.accumulate)
        return self.accumulate * _floor(step * self.heads[head].share) + number * self._count(head, micro)

    def _count(self, head: str, micro: int) -> int:
        step, share = micro // self.accumulate, self.heads[head].share
        return _floor((step + 1) * share) - _floor(step * share)

    def plan(self, micro: int) -> list[_Planned]:
        """The samples of a micro-batch of this rank."""
        planned = []
        for name, head in self.heads.items():
            count = self._count(name, micro)
            first = self._start(name, micro) + self.rank * count
            rng = np.random.default_rng([self.seed, _number(0, name), self.part(micro)])
            kinds = list(head.inputs)
            ends = np.cumsum([head.inputs[kind].weight for kind in kinds])
            # Systematic sampling: every kind has its share of each batch, up to rounding, and in the long run exactly.
            points = (np.arange(count) + rng.random()) / max(1, count) * ends[-1]
            for i, kind in enumerate(np.searchsorted(ends, points, side="right").clip(max=len(kinds) - 1).tolist()):
                planned.append(_Planned(name, first + i, kinds[kind]))
        return planned

    def __getitem__(self, micro: int) -> PackedBatch:
        parts: list[Tokens] = []
        labels: dict[str, list[list[int]]] = {head: [] for head in self.heads}
        names, kinds, skipped = [], [], []
        error = None
        for item in self.plan(micro):
            head = self.heads[item.head]
            name = f"position {item.position} of {item.head}"
            tokens: Tokens | None = None
            own: list[int] = []
            try:
                shard, number = self.orders[item.head].locate(item.position)
                name = f"{name_of(self.shards[item.head].files[shard])}, sample {number}"
                sample = self.shards[item.head].read(shard, number)
                name = sample.name
                own = _labels(sample, item.head, head)
                rng = np.random.default_rng([self.seed, _number(1, item.head), item.position])
                tokens = head.inputs[item.kind].tokens(sample, self.patch_size, rng)
            except DataError as reason:
                error = error or str(reason)
            except UNREADABLE as reason:
                skipped.append((name, reason_of(reason)))
            if tokens is None:
                own, tokens = [], placeholder(self.patch_size)
            parts.append(replace(tokens, patches=tokens.patches.to(self.dtype)))
            labels[item.head].append(own + [-1] * (head.max_labels - len(own)))
            names.append(name)
            kinds.append(item.kind)
        packed = pack(parts)
        return PackedBatch(
            micro=micro,
            patches=packed.patches,
            positions=packed.positions,
            cu_seqlens=packed.cu_seqlens,
            labels={
                head: torch.tensor(rows, dtype=torch.int64).reshape(-1, self.heads[head].max_labels)
                for head, rows in labels.items()
            },
            names=tuple(names),
            kinds=tuple(kinds),
            skipped=tuple(skipped),
            error=error,
        )

    def batches(self, end: int, workers: int = 0, prefetch: int = 2, pin_memory: bool = False) -> Iterator[PackedBatch]:
        """The micro-batches from the position to `end`, made by `workers` processes (0: in this one), in order."""
        return iter(
            torch.utils.data.DataLoader(
                self,
                batch_size=None,
                sampler=range(self.micro, end),
                num_workers=workers,
                prefetch_factor=prefetch if workers else None,
                pin_memory=pin_memory,
                generator=torch.Generator(),  # else it would draw a number from the global one, whose state is kept
            )
        )


def placeholder(patch_size: int) -> Tokens:
    """One patch of zeros, for a sample that cannot be read."""
    patches, positions = torch.zeros(1, 3 * patch_size**2), torch.zeros(1, 3, dtype=torch.int64)
    return Tokens(patches, positions, torch.tensor([0, 1], dtype=torch.int32))


def _labels(sample: Sample, name: str, head: HeadData) -> list[int]:
    """The labels of a sample, checked: DataError for what its head cannot take."""
    if LABELS not in sample.members:
        raise DataError(f"sample {sample.name} has no .{LABELS} with labels: pack it with labels")
    try:
        found = json.loads(sample.members[LABELS])["labels"]
        labels = [int(label) for label in found]
        if labels != list(found):
            raise TypeError("labels must be whole numbers")
    except (ValueError, TypeError, KeyError) as error:
        raise DataError(f"the labels of sample {sample.name} are damaged: {error!r}") from error
    wrong = [label for label in labels if not 0 <= label < head.centres]
    if wrong:
        raise DataError(
            f"sample {sample.name} has the label {wrong[0]}, outside the bank of {head.centres} centres of head {name} "
            f"(0 to {head.centres - 1}): set centres to the size of the bank that the labels refer to, or label the "
            "data again"
        )
    if len(labels) > head.max_labels:
        raise DataError(
            f"sample {sample.name} has {len(labels)} labels: set max_labels of head {name} (now {head.max_labels}) to "
            "the largest number of labels of a sample"
        )
    return labels


def _floor(value: float) -> int:
    """The floor, not misled by rounding: 3 * 1/3 is 1."""
    return math.floor(value + 1e-6)


def _number(seed: int, name: str) -> int:
    """A seed of a number and a name, the same in every process."""
    return int.from_bytes(hashlib.sha256(f"{seed} {name}".encode()).digest(), "little")
