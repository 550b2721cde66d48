"""Centres on disk."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np


def load_centres(file: Path, rows: range, shape: tuple[int, int]) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Rows of a bank on disk, (C, D) in .npy or .safetensors; no more of the file than these is read.

    Raises:
        OSError: it cannot be read.
        ValueError: it is damaged, or has another shape.
    """
    if file.suffix == ".npy":
        bank = np.load(file, mmap_mode="r", allow_pickle=False)
        found = tuple(bank.shape)
    elif file.suffix == ".safetensors":
        from safetensors import safe_open

        with safe_open(file, framework="np") as tensors:
            names = list(tensors.keys())
            if "centres" not in names:
                raise ValueError(f"{file} has no tensor 'centres', only {', '.join(names)}")
            bank = tensors.get_slice("centres")
            found = tuple(bank.get_shape())
            if found == shape:
                return np.array(bank[rows.start : rows.stop], np.float32)
    else:
        raise ValueError(f"{file} is not a .npy or .safetensors file")
    if found != shape:
        raise ValueError(
            f"{file} holds centres of shape {found}, but the head needs {shape}: set centres to {found[0]}; centres "
            "whose width is not the model's hidden size can give labels, but not the initial weights"
        )
    return np.array(bank[rows.start : rows.stop], np.float32)
