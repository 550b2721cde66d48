"""Parquet: the failures of a run, and what was selected."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from ove_codec.datasets.arrow import arrow
from ove_codec.datasets.clips import Failure


def failure_table(failures: Sequence[Failure]) -> Any:
    """name, where, error, reason: strings; position: int64, null where unknown; attempts: int32."""
    pa, _ = arrow()
    schema = pa.schema(
        [
            ("name", pa.string()),
            ("where", pa.string()),
            ("error", pa.string()),
            ("reason", pa.string()),
            ("position", pa.int64()),
            ("attempts", pa.int32()),
        ]
    )
    return pa.Table.from_pylist([vars(failure) for failure in failures], schema)


def selection_table(results: Sequence[dict[str, Any]], job: dict[str, Any]) -> Any:
    """Selections, one a row, the settings being in the schema's metadata as `ove_codec`, in JSON.

    name, key (SHA-256 of the clip's bytes, hexadecimal), where, codec: strings; pictures: int64, of the clip; width,
    height: int32, shown; frame_ids: list of int64, display index of each sampled picture; pts: list of float64, their
    seconds; rows, columns, patch_size: int32, of the patch grid; geometry: string, JSON of ``Geometry``; row: string,
    JSON of the other columns of the table that named the clip; positions: list of (t, row, column) int32; scores: list
    of float32, one a position; and where they are wanted, tokens: list of (3 * p * p) float16 or float32, one a
    position.
    """
    pa, _ = arrow()
    columns: dict[str, Any] = {}
    for name, kind in (
        ("name", pa.string()),
        ("key", pa.string()),
        ("where", pa.string()),
        ("codec", pa.string()),
        ("pictures", pa.int64()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("rows", pa.int32()),
        ("columns", pa.int32()),
        ("patch_size", pa.int32()),
        ("geometry", pa.string()),
    ):
        columns[name] = pa.array([r["facts"][name] for r in results], kind)
    columns["row"] = pa.array([json.dumps(r["facts"]["row"]) for r in results], pa.string())
    for name, kind in (("frame_ids", pa.int64()), ("pts", pa.float64()), ("scores", pa.float32())):
        columns[name] = _lists([r["arrays"][name] for r in results], kind)
    columns["positions"] = _lists([r["arrays"]["positions"] for r in results], pa.int32())
    if "tokens" in results[0]["arrays"]:
        tokens = [r["arrays"]["tokens"] for r in results]
        columns["tokens"] = _lists(tokens, pa.from_numpy_dtype(tokens[0].dtype))
    table = pa.table(columns)
    return table.replace_schema_metadata({"ove_codec": json.dumps(job, sort_keys=True)})


def _lists(arrays: Sequence[np.ndarray[Any, Any]], kind: Any) -> Any:
    """A list a row; of lists of a fixed length, where arrays have two axes."""
    pa, _ = arrow()
    values = pa.array(np.concatenate([array.ravel() for array in arrays]), kind)
    if arrays[0].ndim == 2:
        values = pa.FixedSizeListArray.from_arrays(values, arrays[0].shape[1])
    offsets = np.cumsum([0, *(len(array) for array in arrays)], dtype=np.int64)
    return pa.LargeListArray.from_arrays(pa.array(offsets), values)
