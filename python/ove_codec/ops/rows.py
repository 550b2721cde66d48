"""Rows of packed hidden states, taken and put back by their numbers."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from ove_codec import cuda
from ove_codec.ops.inputs import as_tensor, hold_borrowed

_ADDENDS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


def gather_tokens(tokens: Any, index: Any) -> Tensor:
    """tokens[index], differentiable in `tokens`.

    Args:
        tokens: (N, ...) of any dtype.
        index: (M,) int64 row numbers, 0 to N - 1, on the same device.

    Returns:
        (M, ...) contiguous tensor.

    Raises:
        ValueError: shape, dtype or device of the index is another.
        RuntimeError: no kernel can run on the tokens' device.
        IndexError: a number off the rows, on the CPU; on a GPU it is an error of the device, which CUDA reports at the
            next synchronisation, as for PyTorch's own indexing.
    """
    given = as_tensor(tokens), as_tensor(index)
    rows: Tensor = _gather(*given)
    hold_borrowed(given, (tokens, index))
    return rows


def scatter_tokens(tokens: Any, packed: Any, index: Any, *, accumulate: bool = False) -> Tensor:
    """A copy of `tokens` in which the rows of `packed` replace those that `index` names, or are added to them;
    differentiable in both.

    Args:
        tokens: (N, ...) of any dtype; one of floating point to accumulate on a GPU.
        packed: (M, ...) rows of the same shape, dtype and device.
        index: (M,) int64 row numbers, 0 to N - 1, on the same device. Without `accumulate` they must be distinct: of
            rows with one number any may be kept.
        accumulate: add; a GPU adds rows of one number in no determined order.

    Returns:
        (N, ...) contiguous tensor.

    Raises:
        ValueError, RuntimeError, IndexError: as of `gather_tokens`.
    """
    given = as_tensor(tokens), as_tensor(packed), as_tensor(index)
    rows: Tensor = _scatter(*given, accumulate)
    hold_borrowed(given, (tokens, packed, index))
    return rows


def _check_index(tokens: Tensor, index: Tensor) -> None:
    if tokens.dim() < 1:
        raise ValueError("tokens must be (N, ...), not a scalar")
    if index.dim() != 1 or index.dtype != torch.int64:
        raise ValueError(f"index must be (M,) int64, not {tuple(index.shape)} {index.dtype}")
    if index.device != tokens.device:
        raise ValueError(f"index is on {index.device}, tokens on {tokens.device}; move one of them first")


def _check_scatter(tokens: Tensor, packed: Tensor, index: Tensor, accumulate: bool) -> None:
    _check_index(tokens, index)
    if packed.device != tokens.device:
        raise ValueError(f"packed is on {packed.device}, tokens on {tokens.device}; move one of them first")
    if packed.dtype != tokens.dtype:
        raise ValueError(f"packed is {packed.dtype}, tokens are {tokens.dtype}")
    if packed.shape != (*index.shape, *tokens.shape[1:]):
        raise ValueError(
            f"packed must be {(*index.shape, *tokens.shape[1:])} for this index and these tokens, "
            f"not {tuple(packed.shape)}"
        )
    if accumulate and tokens.is_cuda and tokens.dtype not in _ADDENDS:
        raise ValueError(f"on a GPU, only floating-point rows can be accumulated, not {tokens.dtype}")


def _gather_cpu(tokens: Tensor, index: Tensor) -> Tensor:
    _check_index(tokens, index)
    return tokens.index_select(0, index).contiguous()


def _gather_fake(tokens: Tensor, index: Tensor) -> Tensor:
    _check_index(tokens, index)
    return tokens.new_empty((index.shape[0], *tokens.shape[1:]))


def _gather_cuda(tokens: Tensor, index: Tensor) -> Tensor:
    _check_index(tokens, index)
    packed = tokens.new_empty((index.shape[0], *tokens.shape[1:]))
    tokens, index = tokens.contiguous(), index.contiguous()
    with cuda.launching(tokens.device) as (kernels, stream):
        kernels.gather_rows(_rows(tokens), index.data_ptr(), _rows(packed), stream)
    return packed


def _scatter_cpu(tokens: Tensor, packed: Tensor, index: Tensor, accumulate: bool) -> Tensor:
    _check_scatter(tokens, packed, index, accumulate)
    if len(index) and (int(index.min()) < 0 or int(index.max()) >= len(tokens)):
        raise IndexError(f"index must be from 0 to {len(tokens) - 1}")
    out = tokens.clone(memory_format=torch.contiguous_format)
    return out.index_add_(0, index, packed) if accumulate else out.index_copy_(0, index, packed)


def _scatter_fake(tokens: Tensor, packed: Tensor, index: Tensor, accumulate: bool) -> Tensor:
    _check_scatter(tokens, packed, index, accumulate)
    return tokens.new_empty(tokens.shape)


def _scatter_cuda(tokens: Tensor, packed: Tensor, index: Tensor, accumulate: bool) -> Tensor:
    _check_scatter(tokens, packed, index, accumulate)
    with cuda.launching(tokens.device) as (kernels, stream):
        out = tokens.clone(memory_format=torch.contiguous_format)
        packed, index = packed.contiguous(), index.contiguous()
        if accumulate:
            dtype = str(tokens.dtype).removeprefix("torch.")
            kernels.add_rows(_rows(out), index.data_ptr(), _rows(packed), dtype, stream)
        else:
            kernels.scatter_rows(_rows(out), index.data_ptr(), _rows(packed), stream)
    return out


def _rows(tokens: Tensor) -> tuple[int, int, int]:
    return tokens.data_ptr(), len(tokens), math.prod(tokens.shape[1:]) * tokens.element_size()


def _gather_context(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
    tokens, index = inputs
    ctx.save_for_backward(index)
    ctx.count = tokens.shape[0]


def _gather_backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
    (index,) = ctx.saved_tensors
    return _scatter(grad.new_zeros((ctx.count, *grad.shape[1:])), grad, index, True), None


def _scatter_context(ctx: Any, inputs: tuple[Tensor, Tensor, Tensor, bool], output: Tensor) -> None:
    _, _, index, accumulate = inputs
    ctx.save_for_backward(index)
    ctx.accumulate = accumulate


def _scatter_backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None, None]:
    (index,) = ctx.saved_tensors
    of_packed = _gather(grad, index)
    if ctx.accumulate:
        return grad, of_packed, None, None
    return _scatter(grad, torch.zeros_like(of_packed), index, False), of_packed, None, None


_gather = torch.library.custom_op(
    "ove_codec::gather_tokens",
    _gather_cpu,
    mutates_args=(),
    device_types="cpu",
    schema="(Tensor tokens, Tensor index) -> Tensor",
)
_gather.register_kernel("cuda", _gather_cuda)
_gather.register_fake(_gather_fake)
_gather.register_autograd(_gather_backward, setup_context=_gather_context)

_scatter = torch.library.custom_op(
    "ove_codec::scatter_tokens",
    _scatter_cpu,
    mutates_args=(),
    device_types="cpu",
    schema="(Tensor tokens, Tensor packed, Tensor index, bool accumulate) -> Tensor",
)
_scatter.register_kernel("cuda", _scatter_cuda)
_scatter.register_fake(_scatter_fake)
_scatter.register_autograd(_scatter_backward, setup_context=_scatter_context)
