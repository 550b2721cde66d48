"""Results as the files of a shard: Parquet, or tar in webdataset's layout."""

from __future__ import annotations

import hashlib
import os
import re
import tarfile
from typing import Any

from ove_codec import _tar
from ove_codec.datasets.arrow import arrow
from ove_codec.datasets.job import Result
from ove_codec.datasets.tables import selection_table

# Bytes, of a clip or more. Small ones cost little, and a loader that reads clips in random order reads few in vain.
_ROW_GROUP = 1 << 20


def write_parquet(path: str, results: list[Result], settings: dict[str, Any]) -> None:
    _, pq = arrow()
    groups: list[list[dict[str, Any]]] = [[]]
    size = 0
    for result in results:
        if size >= _ROW_GROUP:
            groups.append([])
            size = 0
        groups[-1].append({"facts": result.facts, "arrays": result.arrays})
        size += result.num_bytes
    writer: Any = None
    try:
        for group in groups:
            table = selection_table(group, settings)
            # What is as good as random gains nothing from dictionaries, and is read faster without.
            named = [field.name for field in table.schema if field.name not in ("scores", "tokens")]
            writer = writer or pq.ParquetWriter(path, table.schema, compression="zstd", use_dictionary=named)
            writer.write_table(table)
    finally:
        if writer is not None:
            writer.close()


def write_tar(path: str, results: list[Result], settings: dict[str, Any]) -> None:
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar:
        for result in results:
            _tar.add_sample(tar, sample_key(result.facts["name"], result.facts["key"]), result.files)


def sample_key(name: str, key: str) -> str:
    """The key of a sample in tar shards: its name as far as that can be one, and its content."""
    stem = re.sub(r"[^A-Za-z0-9_-]+", "_", os.path.splitext(name)[0])[-48:]
    return f"{stem}-{key[:12]}-{hashlib.sha256(name.encode()).hexdigest()[:6]}"
