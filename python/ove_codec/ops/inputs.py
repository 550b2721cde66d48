"""Arrays of any library as tensors."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor


def as_tensor(array: Any) -> Tensor:
    """The memory of whatever gives ``__dlpack__`` (PyTorch, CuPy, NumPy, JAX), ready on the current stream.

    Only NumPy arrays that must not be written to are copied. Raises TypeError for other objects.
    """
    if isinstance(array, Tensor):
        return array
    if isinstance(array, np.ndarray) and not array.flags.writeable:
        array = array.copy()
    if not hasattr(array, "__dlpack__"):
        raise TypeError(f"a tensor, or an array with __dlpack__, is needed, not a {type(array).__name__}")
    return torch.from_dlpack(array)
