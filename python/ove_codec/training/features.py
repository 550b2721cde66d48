"""Feature rows on disk, larger than memory, read block by block."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

TENSOR = "features"


class FeatureFiles:
    """Rows of (n, D) matrices in .npy files (mapped into memory) or .safetensors (a tensor `features`), in a row.

    Args:
        paths: files, or folders of which all such files are taken, sorted.

    Attributes:
        shape: (N, D).

    Raises:
        OSError: a file cannot be read.
        ValueError: a file is no matrix of numbers, or its width is another one's; or there are no rows.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        files = []
        for path in paths:
            found = (
                sorted(f for f in path.iterdir() if f.suffix in (".npy", ".safetensors")) if path.is_dir() else [path]
            )
            files += found
        self.files = tuple(files)
        self._matrices = [_open(file) for file in files]
        widths = {matrix.shape[1] for matrix in self._matrices}
        if len(widths) != 1:
            raise ValueError(
                f"features must have the same width, but {', '.join(map(str, paths))} have {sorted(widths) or 'no row'}"
            )
        self._ends = np.cumsum([matrix.shape[0] for matrix in self._matrices])
        self.shape = (int(self._ends[-1]), int(widths.pop()))
        if self.shape[0] == 0:
            raise ValueError(f"{', '.join(map(str, paths))} hold no rows")

    def __len__(self) -> int:
        return self.shape[0]

    def unit_rows(self, first: int, last: int) -> NDArray[np.float32]:
        """Rows first to last - 1 as unit vectors.

        Raises:
            ValueError: a row is zero or not finite; the message names file and row.
        """
        parts = []
        for number in range(int(np.searchsorted(self._ends, first, side="right")), len(self.files)):
            start = int(self._ends[number]) - self._matrices[number].shape[0]
            if start >= last:
                break
            low, high = max(first, start) - start, min(last, int(self._ends[number])) - start
            rows = np.asarray(self._matrices[number][low:high], np.float32)
            norms = np.linalg.norm(rows, axis=1, keepdims=True)
            wrong = ~(np.isfinite(norms) & (norms > 0))[:, 0]
            if wrong.any():
                row = low + int(wrong.argmax())
                raise ValueError(
                    f"{self.files[number]}, row {row} has the norm {norms[row - low, 0]}: features must be finite and "
                    "not zero, so remove the sample"
                )
            parts.append(rows / norms)
        return np.concatenate(parts)


class _Slices:
    """A tensor of a safetensors file that is read by rows."""

    def __init__(self, file: Path) -> None:
        from safetensors import SafetensorError, safe_open

        self.file = file
        try:
            with safe_open(file, framework="np") as tensors:
                if TENSOR not in tensors.keys():  # noqa: SIM118 (not a mapping)
                    raise ValueError(f"{file} has no tensor '{TENSOR}'")
                self.shape = tuple(tensors.get_slice(TENSOR).get_shape())
        except SafetensorError as error:
            raise ValueError(f"{file} is damaged or not a safetensors file: {error}") from error

    def __getitem__(self, rows: slice) -> NDArray[Any]:
        from safetensors import safe_open

        with safe_open(self.file, framework="np") as tensors:
            part: NDArray[Any] = tensors.get_slice(TENSOR)[rows]
            return part


def _open(file: Path) -> Any:
    if file.suffix == ".safetensors":
        matrix: Any = _Slices(file)
    elif file.suffix == ".npy":
        try:
            matrix = np.load(file, mmap_mode="r", allow_pickle=False)
        except (ValueError, EOFError) as error:
            raise ValueError(f"{file} is not a .npy file of numbers: {error}") from error
        if not np.issubdtype(matrix.dtype, np.floating):
            raise ValueError(f"{file} holds {matrix.dtype}, but features must be floating point")
    else:
        file.stat()  # tells of a missing file
        raise ValueError(f"{file} is not a .npy or .safetensors file")
    if len(matrix.shape) != 2:
        raise ValueError(f"{file} has the shape {tuple(matrix.shape)}, but features must be (n, D)")
    return matrix
