"""The processes that train together, and the few collectives that are needed, on gloo and NCCL alike."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

# PyTorch 2.13 renamed them, and warns of the old names.
_all_gather = getattr(dist, "all_gather_single", None) or dist.all_gather_into_tensor
_reduce_scatter = getattr(dist, "reduce_scatter_single", None) or dist.reduce_scatter_tensor


@dataclass(frozen=True)
class Ranks:
    """One process of a group: its number, how many there are, and the group (None is the default one).

    `background` is a second group, of gloo, that a thread may use meanwhile. With `world` 1 no collective of this class
    is called, so nothing needs to be initialised.
    """

    rank: int = 0
    world: int = 1
    group: Any = None
    background: Any = None

    @classmethod
    def current(cls) -> Ranks:
        """This process in the default group, or alone where none is initialised."""
        if not (dist.is_available() and dist.is_initialized()):
            return cls()
        return cls(dist.get_rank(), dist.get_world_size())

    def shard(self, rows: int, rank: int | None = None) -> range:
        """The rows of a matrix that a rank holds: ceil(rows / world) each, what is left on the last.

        That is how `torch.chunk` and DTensor's Shard(0) cut, so checkpoints are cut anew for another `world`.

        Raises:
            ValueError: a rank would hold nothing.
        """
        size = -(-rows // self.world)
        if size * (self.world - 1) >= rows:
            raise ValueError(
                f"{rows} centres cannot be split over {self.world} ranks: in shards of {size} the last ranks would "
                "hold "
                f"none; use fewer ranks or another number of centres"
            )
        start = (self.rank if rank is None else rank) * size
        return range(start, min(start + size, rows))

    def gather(self, rows: Tensor) -> Tensor:
        """(world * n, ...) of (n, ...), in the order of ranks; n must be the same on all."""
        if self.world == 1:
            return rows
        out = rows.new_empty((self.world * rows.shape[0], *rows.shape[1:]))
        _all_gather(out, rows.contiguous(), group=self.group)
        return out

    def sum_(self, values: Tensor) -> Tensor:
        """Sums over ranks, in place."""
        if self.world > 1:
            dist.all_reduce(values, group=self.group)
        return values

    def max_(self, values: Tensor) -> Tensor:
        """The largest over ranks, in place."""
        if self.world > 1:
            dist.all_reduce(values, op=dist.ReduceOp.MAX, group=self.group)
        return values

    def scatter_sum(self, rows: Tensor) -> Tensor:
        """This rank's (n, ...) of the sum over ranks of (world * n, ...)."""
        if self.world == 1:
            return rows
        out = rows.new_empty((rows.shape[0] // self.world, *rows.shape[1:]))
        _reduce_scatter(out, rows.contiguous(), group=self.group)
        return out

    def texts(self, text: str, device: torch.device) -> list[str]:
        """The text of every rank."""
        if self.world == 1:
            return [text]
        data = torch.frombuffer(bytearray(text.encode() or b"\0"), dtype=torch.uint8).to(device)
        sizes = self.gather(torch.tensor([len(data)], device=device)).tolist()
        padded = data.new_zeros(max(sizes))
        padded[: len(data)] = data
        rows = self.gather(padded[None]).cpu()
        return [bytes(row[:n].tolist()).decode().strip("\0") for row, n in zip(rows, sizes, strict=True)]

    def barrier(self) -> None:
        """Waits until all ranks are here."""
        if self.world > 1:
            dist.barrier(group=self.group)
