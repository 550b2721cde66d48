"""Where the sequences of a batch lie in packed rows."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class Packing:
    """Sequences one after another in packed rows.

    Attributes:
        rows: of all sequences together.
        count: of sequences, B.
        max_seqlen: no sequence is longer.
        lengths: of every sequence, as far as the host knows them; None where only the device does.
        bounds: (B+1,) integers on any device, sequence b is the rows bounds[b] to bounds[b+1]; None stands for
            `lengths`.
    """

    rows: int
    count: int
    max_seqlen: int
    lengths: tuple[int, ...] | None
    bounds: Tensor | None = None

    @property
    def uniform(self) -> bool:
        """All sequences have `max_seqlen` rows."""
        return self.rows == self.count * self.max_seqlen

    def cu_seqlens(self, device: torch.device) -> Tensor:
        """The bounds as (B+1,) int32 on a device."""
        if self.bounds is not None:
            return self.bounds.to(device, torch.int32)
        if self.uniform:
            return torch.arange(self.count + 1, dtype=torch.int32, device=device) * self.max_seqlen
        assert self.lengths is not None  # one of them is always there
        bounds = [0]
        for length in self.lengths:
            bounds.append(bounds[-1] + length)
        return torch.tensor(bounds, dtype=torch.int32, device=device)

    def documents(self, device: torch.device) -> Tensor:
        """(rows,) int64, the number of the sequence of every row."""
        bounds = self.cu_seqlens(device)
        rows = torch.arange(self.rows, dtype=torch.int32, device=device)
        return torch.searchsorted(bounds[1:].contiguous(), rows, right=True)


def packing(cu_seqlens: Any, rows: int, max_seqlen: int | None = None, name: str = "cu_seqlens") -> Packing:
    """Reads the bounds of packed sequences.

    Without `max_seqlen` the values are read on the host, which waits for a device that holds them. With it they stay
    where they are: a batch of `B * max_seqlen` rows can only be B sequences of `max_seqlen`, and other batches are told
    apart by the device. Values that lie on the host, or are Python integers, are always checked, except while
    torch.compile traces a tensor.

    Raises:
        ValueError: cu_seqlens (`name` in the message) does not rise strictly from 0 to `rows`, or a sequence is longer
            than max_seqlen.
    """
    if max_seqlen is not None and (not isinstance(max_seqlen, int | torch.SymInt) or max_seqlen < 1):
        raise ValueError(f"max_seqlen must be a positive integer, got {max_seqlen!r}")
    if cu_seqlens is None:
        cu_seqlens = [0, rows]
    if isinstance(cu_seqlens, list | tuple) and all(type(bound) is int for bound in cu_seqlens):
        return _from_values(list(cu_seqlens), rows, max_seqlen, None, name)
    bounds = torch.as_tensor(cu_seqlens)
    if bounds.ndim != 1 or len(bounds) < 2 or bounds.is_floating_point():
        raise ValueError(f"{name} must be (B+1,) integers with B >= 1, got {bounds.dtype} {tuple(bounds.shape)}")
    if max_seqlen is None or (bounds.device.type == "cpu" and not torch.compiler.is_compiling()):
        return _from_values(bounds.tolist(), rows, max_seqlen, bounds, name)
    count = len(bounds) - 1
    if not count <= rows <= count * max_seqlen:
        raise ValueError(f"{name} has {count} sequences of 1 to {max_seqlen} (max_seqlen), patches has {rows} rows")
    uniform = rows == count * max_seqlen
    return Packing(rows, count, max_seqlen, (max_seqlen,) * count if uniform else None, bounds)


def placed(embeddings: Tensor, places: Tensor, features: Tensor, *, patches: int, kind: str) -> Tensor:
    """Embeddings (B, L, C) with the rows of `features` (N, C), in their order, where `places` (B, L) is True.

    `patches` made the features, and `kind` is what messages call the tokens. Raises ValueError where there are not N
    places.
    """
    wanted = int(places.sum())
    if wanted != len(features):
        raise ValueError(f"input_ids hold {wanted} {kind} tokens, but {patches} patches make {len(features)} features")
    return embeddings.masked_scatter(places[..., None].to(embeddings.device), features.to(embeddings))


def _from_values(values: list[int], rows: int, max_seqlen: int | None, bounds: Tensor | None, name: str) -> Packing:
    if len(values) < 2:
        raise ValueError(f"{name} must be (B+1,) integers with B >= 1, got {values}")
    lengths = tuple(stop - start for start, stop in itertools.pairwise(values))
    if values[0] != 0 or values[-1] != rows or min(lengths) < 1:
        raise ValueError(f"{name} must increase from 0 to the {rows} rows of patches, got {values}")
    longest = max(lengths)
    if max_seqlen is not None and longest > max_seqlen:
        raise ValueError(f"{name} has a sequence of {longest} rows, more than max_seqlen {max_seqlen}")
    return Packing(rows, len(lengths), longest, lengths, bounds)
