"""Attention within packed sequences: one function, several backends.

    eager             softmax(q k^T) v, spelt out
    sdpa              torch.nn.functional.scaled_dot_product_attention, sequences of one length together
    varlen            torch.nn.attention.varlen, on CUDA
    flash_attention_2 the package flash-attn, on CUDA
    flex_attention    torch.nn.attention.flex_attention with a block mask; on the CPU without gradients

"auto" takes on CUDA, in half precision, sdpa for sequences of one length, and else varlen or flash-attn, whichever is
there; everywhere else sdpa.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from importlib.util import find_spec
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ove_codec.models.packing import Packing

BACKENDS = ("auto", "eager", "sdpa", "varlen", "flash_attention_2", "flex_attention")
_HALF = (torch.float16, torch.bfloat16)
_FLEX_BLOCK = 128
_HAS_VARLEN = find_spec("torch.nn.attention.varlen") is not None
_HAS_FLASH = find_spec("flash_attn") is not None


def check_backend(name: str) -> str:
    """The name itself; raises ValueError if it is none of `BACKENDS`."""
    if name not in BACKENDS:
        raise ValueError(f"attention must be one of {', '.join(BACKENDS)}, got {name!r}")
    return name


class AttentionChoice:
    """A model whose attention backend can be changed at any time."""

    @property
    def attention(self) -> str:
        """Name of the attention backend."""
        return self._attention

    @attention.setter
    def attention(self, name: str) -> None:
        self._attention = check_backend(name)


class PackedAttention:
    """Attention over the rows of one batch; what a backend needs to know of the sequences is made once, for all layers.

    Args:
        packing: the sequences.
        backend: one of `BACKENDS`.
        device: of queries, keys and values; on another, where a model is spread over several, all is copied.
        dtype: of queries, keys and values.
        dropout: of attention weights.

    Raises:
        ValueError: the backend does not exist, or cannot do this.
        ImportError: the backend's package is not installed.
    """

    def __init__(
        self, packing: Packing, backend: str, device: torch.device, dtype: torch.dtype, dropout: float = 0.0
    ) -> None:
        self.packing = packing
        self.device = device
        self.dropout = dropout
        self.backend = _resolve(check_backend(backend), packing, device, dtype, dropout)
        self.cu_seqlens = packing.cu_seqlens(device) if self.backend in ("varlen", "flash_attention_2") else None
        self.block_mask = document_mask(packing, device) if self.backend == "flex_attention" else None
        self.runs = _runs(packing.lengths or ())
        self.slots: Tensor | None = None
        if packing.lengths is None and self.cu_seqlens is None:  # dense backends then work on a padded batch
            documents, bounds = packing.documents(device), packing.cu_seqlens(device)
            offsets = torch.arange(packing.rows, device=device) - bounds[documents]
            self.slots = documents * packing.max_seqlen + offsets
            columns = torch.arange(packing.max_seqlen, device=device)
            self.valid = (columns < bounds.diff()[:, None])[:, None, None]  # (B, 1, 1, max_seqlen)

    def __call__(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Every row attends to the rows of its sequence; q, k, v and the result are (rows, heads, D)."""
        if self.backend == "flex_attention":
            q, k, v = (x.transpose(0, 1)[None] for x in (q, k, v))
            mask = self.block_mask if q.device == self.device else document_mask(self.packing, q.device)
            return _flex(q.device.type)(q, k, v, block_mask=mask)[0].transpose(0, 1)
        if self.cu_seqlens is not None:
            return self._kernel(q, k, v, self.cu_seqlens, self.packing.max_seqlen, self.dropout)
        if self.slots is not None:
            q, k, v = (self._padded(x) for x in (q, k, v))
            out = self._dense(q, k, v, self.valid.to(q.device), self.dropout).transpose(1, 2).flatten(0, 1)
            return out.index_select(0, self.slots.to(q.device))
        return self._segments(q, k, v, False, self.dropout)

    def pool(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """One query a sequence, q and the result are (B, heads, D), attends to its rows, k and v (rows, heads, D)."""
        if self.cu_seqlens is not None:
            return self._kernel(q, k, v, torch.arange(len(q) + 1, dtype=torch.int32, device=q.device), 1, 0.0)
        if self.slots is not None:
            k, v = self._padded(k), self._padded(v)
            return self._dense(q[:, :, None], k, v, self.valid.to(q.device), 0.0)[:, :, 0]
        return self._segments(q, k, v, True, 0.0)

    def _kernel(self, q: Tensor, k: Tensor, v: Tensor, q_bounds: Tensor, max_q: int, dropout: float) -> Tensor:
        assert self.cu_seqlens is not None
        q_bounds, bounds, max_k = q_bounds.to(q.device), self.cu_seqlens.to(q.device), self.packing.max_seqlen
        if self.backend == "varlen":
            from torch.nn.attention.varlen import varlen_attn

            out = varlen_attn(q, k, v, q_bounds, bounds, max_q, max_k)
        else:
            from flash_attn import flash_attn_varlen_func  # type: ignore[import-not-found,import-untyped,unused-ignore]

            out = flash_attn_varlen_func(q, k, v, q_bounds, bounds, max_q, max_k, dropout_p=dropout)
        assert isinstance(out, Tensor)  # no log-sum-exp was asked for
        return out

    def _segments(self, q: Tensor, k: Tensor, v: Tensor, one_query: bool, dropout: float) -> Tensor:
        """Neighbours of one length form a batch of their own."""
        rows = [count * length for count, length in self.runs]
        q_parts = q.split([count for count, _ in self.runs] if one_query else rows)
        outs = []
        for (count, _), *parts in zip(self.runs, q_parts, k.split(rows), v.split(rows), strict=True):
            qs, ks, vs = (part.unflatten(0, (count, -1)).transpose(1, 2) for part in parts)
            outs.append(self._dense(qs, ks, vs, None, dropout).transpose(1, 2).flatten(0, 1))
        return outs[0] if len(outs) == 1 else torch.cat(outs)

    def _padded(self, x: Tensor) -> Tensor:
        """Rows (rows, heads, D) as a batch (B, heads, max_seqlen, D), zero where a sequence has ended."""
        assert self.slots is not None
        packing = self.packing
        slots = x.new_zeros((packing.count * packing.max_seqlen, *x.shape[1:])).index_copy(
            0, self.slots.to(x.device), x
        )
        return slots.unflatten(0, (packing.count, packing.max_seqlen)).transpose(1, 2)

    def _dense(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, dropout: float) -> Tensor:
        """q, k, v (B, heads, L, D); mask (B, 1, 1, L) is true at keys that count."""
        if self.backend != "eager":
            return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, dropout_p=dropout)
        weights = F.dropout(_softmax(q, k, mask), dropout)
        return weights @ v


def _runs(lengths: Sequence[int]) -> list[tuple[int, int]]:
    """How many neighbours have one length, and that length."""
    runs: list[tuple[int, int]] = []
    for length in lengths:
        if runs and runs[-1][1] == length:
            runs[-1] = (runs[-1][0] + 1, length)
        else:
            runs.append((1, length))
    return runs


def attention_weights(q: Tensor, k: Tensor, lengths: Sequence[int]) -> tuple[Tensor, ...]:
    """The softmax of every sequence, (heads, L, L), which fused attention does not keep."""
    parts = zip(q.split(list(lengths)), k.split(list(lengths)), strict=True)
    return tuple(_softmax(qs.transpose(0, 1), ks.transpose(0, 1), None) for qs, ks in parts)


def _softmax(q: Tensor, k: Tensor, mask: Tensor | None) -> Tensor:
    scores = q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5
    if mask is not None:
        scores = scores.masked_fill(~mask, float("-inf"))
    return scores.softmax(-1, dtype=torch.float32).to(q.dtype)


def document_mask(packing: Packing, device: torch.device) -> Any:
    """The flex_attention mask of a batch: a row sees its sequence.

    Sequences are intervals of rows, so the blocks that a block sees follow from the sequences of its first and last
    row; no matrix of all rows is made.
    """
    from torch.nn.attention.flex_attention import BlockMask

    documents = packing.documents(device)
    blocks = -(-packing.rows // _FLEX_BLOCK)
    firsts = torch.arange(blocks, device=device) * _FLEX_BLOCK
    first = documents[firsts]
    last = documents[(firsts + _FLEX_BLOCK - 1).clamp(max=packing.rows - 1)]
    complete = firsts + _FLEX_BLOCK <= packing.rows
    seen = (first[:, None] <= last) & (last[:, None] >= first)
    one = (first == last) & complete
    full = one[:, None] & one & (first[:, None] == first)

    def numbers(dense: Tensor) -> tuple[Tensor, Tensor]:
        order = dense.to(torch.int8).argsort(dim=1, descending=True, stable=True)
        return dense.sum(1, dtype=torch.int32)[None, None], order.to(torch.int32)[None, None]

    def same_document(b: Tensor, h: Tensor, q: Tensor, kv: Tensor) -> Tensor:
        return documents[q] == documents[kv]

    return BlockMask.from_kv_blocks(
        *numbers(seen & ~full),
        *numbers(full),
        BLOCK_SIZE=_FLEX_BLOCK,
        mask_mod=same_document,
        seq_lengths=(packing.rows, packing.rows),
    )


@lru_cache(maxsize=1)
def _compiled_flex() -> Callable[..., Any]:
    from torch.nn.attention.flex_attention import flex_attention

    compiled: Callable[..., Any] = torch.compile(flex_attention)
    return compiled


def _flex(device_type: str) -> Callable[..., Any]:
    """flex_attention is fused only by torch.compile; the CPU runs it as it is."""
    from torch.nn.attention.flex_attention import flex_attention

    if device_type == "cpu" or torch.compiler.is_compiling():
        return flex_attention
    return _compiled_flex()


def _resolve(backend: str, packing: Packing, device: torch.device, dtype: torch.dtype, dropout: float) -> str:
    half = device.type in ("cuda", "meta") and dtype in _HALF
    if backend == "auto":
        if not half or packing.uniform:
            return "sdpa"
        if dropout == 0 and _HAS_VARLEN:
            return "varlen"
        return "flash_attention_2" if _HAS_FLASH else "sdpa"
    if backend in ("varlen", "flash_attention_2") and not half:
        raise ValueError(f"attention {backend!r} needs float16 or bfloat16 on CUDA, got {dtype} on {device.type}")
    if backend in ("varlen", "flex_attention") and dropout > 0:
        raise ValueError(f"attention {backend!r} has no attention_dropout, got {dropout}; use 'sdpa' or 'eager'")
    if backend == "varlen" and not _HAS_VARLEN:
        raise ImportError("attention 'varlen' needs PyTorch 2.10 or later; use 'sdpa'")
    if backend == "flash_attention_2" and not _HAS_FLASH:
        raise ImportError("attention 'flash_attention_2' needs the package flash-attn: pip install flash-attn")
    return backend
