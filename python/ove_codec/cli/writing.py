"""Files of arrays in the format that their suffix names."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Collection, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from ove_codec.cli import common


def check_suffix(path: str, suffixes: Collection[str]) -> str:
    """The suffix of an output file; ValueError where it is none of these, ModuleNotFoundError where it needs a package
    that is not installed."""
    suffix = Path(path).suffix
    if os.path.isdir(path):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
    if suffix not in suffixes:
        raise ValueError(f"{path}: its suffix must be one of {', '.join(suffixes)}")
    if suffix == ".parquet":
        _parquet()
    return suffix


def write_arrays(path: Path, suffix: str, arrays: Mapping[str, np.ndarray[Any, Any]], about: dict[str, Any]) -> None:
    """Writes named arrays as `suffix` says; `path`, which may be a device, may have another.

    .npz, .safetensors: every array by its name. .npy: the first array alone. .json: one object with every array as
    lists, and `about`. .parquet: a column for each array as long as the first, which may have two axes; `about` in the
    metadata.
    """
    if suffix == ".npz":
        with path.open("wb") as out:  # to a name NumPy would add .npz
            np.savez(out, **arrays)  # type: ignore[arg-type]
    elif suffix == ".npy":
        with path.open("wb") as out:
            np.save(out, next(iter(arrays.values())), allow_pickle=False)
    elif suffix == ".json":
        path.write_text(json.dumps({**about, **arrays}, default=common.plain) + "\n", encoding="utf-8")
    elif suffix == ".safetensors":
        from safetensors.numpy import save

        # It takes the memory of an array as it lies; what the disk refuses is an OSError here.
        path.write_bytes(save({name: np.ascontiguousarray(array) for name, array in arrays.items()}))
    else:
        _write_parquet(path, arrays, about)


def _write_parquet(path: Path, arrays: Mapping[str, np.ndarray[Any, Any]], about: dict[str, Any]) -> None:
    pa, pq = _parquet()
    count = len(next(iter(arrays.values())))
    columns = {}
    for name, array in arrays.items():
        if len(array) != count:
            continue
        values = pa.array(array.ravel())
        columns[name] = pa.FixedSizeListArray.from_arrays(values, array.shape[1]) if array.ndim == 2 else values
    table = pa.table(columns).replace_schema_metadata({"ove_codec": json.dumps(about, default=common.plain)})
    with path.open("wb") as out:
        pq.write_table(table, out)


def _parquet() -> tuple[Any, Any]:
    try:
        return import_module("pyarrow"), import_module("pyarrow.parquet")
    except ModuleNotFoundError:
        raise ModuleNotFoundError(
            "writing Parquet needs pyarrow: pip install 'ove_codec[dataset]', or write .npz"
        ) from None
