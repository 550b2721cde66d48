"""Rows of Parquet files, one at a time: no more of a row group is in memory than the pages at hand."""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ove_codec.data.shards import DataError, name_of
from ove_codec.datasets import places
from ove_codec.datasets.arrow import arrow

_OPEN_FILES = 16
_BUFFER = 1 << 16  # bytes that are read of a column at a time


@dataclass
class _Open:
    """A file, the first row of each of its row groups, and the rows that are read next of one of them."""

    file: Any
    starts: NDArray[np.int64]
    group: int = -1
    row: int = 0
    rows: Iterator[Any] | None = None


class ParquetRows:
    """Rows by file and number.

    Rows in ascending order are read in one go; others begin at their row group anew, which is quick where row groups
    are small, as those of ``select_dataset`` are.

    Args:
        files: paths or URLs.
        counts: rows of each.
        columns: that are read.
    """

    def __init__(self, files: Sequence[str], counts: Sequence[int], columns: Sequence[str]) -> None:
        arrow()
        self.files, self.counts, self.columns = tuple(files), np.array(counts, np.int64), list(columns)
        self._open: OrderedDict[int, _Open] = OrderedDict()
        self._process = os.getpid()

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_open": OrderedDict()}

    def read(self, shard: int, number: int) -> dict[str, Any]:
        """The columns of a row that the file has: plain values, and arrays for lists, with two axes for lists of lists.

        Raises:
            DataError: the file cannot be read, is damaged, or has another number of rows than it should.
        """
        pa, _ = arrow()
        try:
            at = self._at(shard)
            group = int(np.searchsorted(at.starts, number, side="right")) - 1
            row = number - int(at.starts[group])
            if at.rows is None or at.group != group or at.row > row:
                names = [name for name in self.columns if name in at.file.schema_arrow.names]
                at.rows = at.file.iter_batches(1, row_groups=[group], columns=names, use_threads=False)
                at.group, at.row = group, 0
            while at.row < row:
                next(at.rows)
                at.row += 1
            batch = next(at.rows)
            at.row += 1
        except (OSError, StopIteration, pa.ArrowException) as error:
            self._open.pop(shard, None)
            raise DataError(f"the shard {self.files[shard]} cannot be read: {error!r}") from error
        return {name: _value(batch.column(name)) for name in batch.schema.names}

    def _at(self, shard: int) -> _Open:
        if self._process != os.getpid():  # forked: descriptors are the parent's, and their positions shared with it
            self._open, self._process = OrderedDict(), os.getpid()
        if shard not in self._open:
            self._open[shard] = self._opened(shard)
            while len(self._open) > _OPEN_FILES:
                self._open.popitem(last=False)[1].file.close(force=True)
        self._open.move_to_end(shard)
        return self._open[shard]

    def _opened(self, shard: int) -> _Open:
        _, pq = arrow()
        place = self.files[shard]
        source = places.open_binary(place) if places.is_url(place) else place
        file = pq.ParquetFile(source, buffer_size=_BUFFER, pre_buffer=False)
        rows = [file.metadata.row_group(group).num_rows for group in range(file.num_row_groups)]
        if sum(rows) != self.counts[shard]:
            file.close(force=True)
            raise DataError(
                f"{name_of(place)} holds {sum(rows)} clips, but its manifest says {self.counts[shard]}: copy both again"
            )
        return _Open(file, np.cumsum([0, *rows[:-1]]))


def _value(column: Any) -> Any:
    """The only value of a column."""
    value = column[0]
    if not hasattr(value, "values"):
        return value.as_py()
    values = value.values
    if values is None:
        return None
    size = getattr(values.type, "list_size", None)
    if size is None:
        return values.to_numpy(zero_copy_only=False)
    return values.flatten().to_numpy(zero_copy_only=False).reshape(-1, size)
