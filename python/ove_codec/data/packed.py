"""What all packed batches have: the tokens of several clips, one behind the other, and how they move."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any, TypeVar

import torch
from torch import Tensor

from ove_codec.tokenizer import PaddedTokens, Tokens

_P = TypeVar("_P", bound="Packed")


@dataclass(frozen=True, kw_only=True)
class Packed:
    """Clips of one batch, or other samples, as one packed sequence of tokens.

    Attributes:
        patches, positions, cu_seqlens: (N, 3*p*p), (N, 3) int64 and (B + 1,) int32, as of `ove_codec.Tokens`.
        names: (B,) what the samples are called.
        skipped: (name, reason) of samples that could not be read.
    """

    patches: Tensor
    positions: Tensor
    cu_seqlens: Tensor
    names: tuple[str, ...]
    skipped: tuple[tuple[str, str], ...] = ()

    def padded(self, length: int | None = None) -> PaddedTokens:
        """The tokens with a row a clip, for models that take no packed batch; see ``ove_codec.Tokens.padded``."""
        return Tokens(self.patches, self.positions, self.cu_seqlens).padded(length)

    def pin_memory(self: _P) -> _P:
        """The same in memory from which a GPU copies asynchronously; a DataLoader with `pin_memory=True` calls it."""
        return self._each(Tensor.pin_memory)

    def to(self: _P, device: torch.device | str | int, non_blocking: bool = True) -> _P:
        """The same on another device."""
        return self._each(lambda tensor: tensor.to(device, non_blocking=non_blocking))

    def _each(self: _P, act: Callable[[Tensor], Tensor]) -> _P:
        """The same with every tensor replaced by what `act` makes of it."""
        return replace(self, **{field.name: _applied(act, getattr(self, field.name)) for field in fields(self)})


def _applied(act: Callable[[Tensor], Tensor], value: Any) -> Any:
    if isinstance(value, Tensor):
        return act(value)
    if isinstance(value, dict):
        return {key: _applied(act, item) for key, item in value.items()}
    if type(value) is tuple:
        return tuple(_applied(act, item) for item in value)
    return value
