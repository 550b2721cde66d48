"""Arrays of any library as tensors, and names of types."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ove_codec import cuda


def as_tensor(array: Any) -> Tensor:
    """The memory of whatever gives ``__dlpack__`` (PyTorch, CuPy, NumPy, JAX), ready on the current stream.

    Only NumPy arrays that must not be written to are copied. Raises TypeError for other objects.
    """
    if isinstance(array, Tensor):
        return array
    if isinstance(array, np.ndarray) and not array.flags.writeable:
        array = array.copy()
    if not hasattr(array, "__dlpack__"):
        raise TypeError(f"expected a tensor or an array with __dlpack__, not a {type(array).__name__}")
    return torch.from_dlpack(array)


def hold_borrowed(tensors: Sequence[Tensor], arrays: Sequence[Any]) -> None:
    """Keeps those tensors on a GPU that ``as_tensor`` made of other libraries' arrays until the work queued is done."""
    borrowed = [tensor for tensor, array in zip(tensors, arrays, strict=True) if tensor is not array and tensor.is_cuda]
    if borrowed:
        cuda.hold(borrowed)


def float_dtype(dtype: torch.dtype | str | None) -> torch.dtype:
    """A floating type of PyTorch, given as such or by its name, "float16" or "torch.float16"; float32 for None.

    Raises ValueError for anything else.
    """
    found = getattr(torch, dtype.removeprefix("torch."), None) if isinstance(dtype, str) else dtype
    if found is None and dtype is None:
        return torch.float32
    if not isinstance(found, torch.dtype) or not found.is_floating_point:
        raise ValueError(
            "dtype must be a floating-point dtype of PyTorch or its name, such as torch.float16 or 'bfloat16', not "
            f"{dtype!r}"
        )
    return found
