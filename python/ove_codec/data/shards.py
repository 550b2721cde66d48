"""Shards: tar files in the layout of webdataset, read at any sample.

A sample is the neighbouring members whose names agree up to the first dot of the last part: `a/7.mp4`, `a/7.json`.
`sizes.json` beside the shards, {"name.tar": samples}, spares counting. webdataset's own reader streams shards and keeps
no position; here every sample has a number, so that an epoch is a permutation and a position in it one number.
"""

from __future__ import annotations

import glob
import json
import os
import re
import tarfile
from collections import OrderedDict
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ove_codec import _tar
from ove_codec._files import replacing
from ove_codec.datasets import places

SIZES_FILE = "sizes.json"
_RANGE = re.compile(r"\{(\d+)\.\.(\d+)\}")
_OPEN_SHARDS = 16  # indexes that a process keeps


class DataError(ValueError):
    """Data that training cannot go on with: it stops, other than for a sample that cannot be read."""


@dataclass(frozen=True)
class Sample:
    """The members of one sample, by what follows the first dot of their names, and what to call it in messages."""

    name: str
    members: dict[str, bytes]


class ShardSet:
    """The shards of one data set.

    Args:
        patterns: paths or URLs that fsspec knows, with `*`, `?`, `[...]` or a range `{000..127}` of numbers.
        counts: samples of each shard, where they are known; `patterns` are then the shards themselves.

    Attributes:
        files: the shards' paths or URLs, in the order of the patterns, sorted in each.
        counts: (len(files),) int64, samples of each.

    Raises:
        FileNotFoundError: a shard that is named, or counted in `sizes.json`, is missing; or a pattern finds nothing.
        DataError: a shard is no tar file, or `sizes.json` is damaged.
    """

    def __init__(self, patterns: Sequence[str], counts: Sequence[int] | None = None) -> None:
        names = [places.local(pattern) for pattern in patterns]
        self.files = tuple(names if counts is not None else (file for name in names for file in _expand(name)))
        for file in self.files:
            if not places.is_url(file) and not os.path.isfile(file):
                raise FileNotFoundError(f"the shard {file} is missing: copy it there, or remove it from the recipe")
        self.counts = np.array(self._count() if counts is None else counts, np.int64)
        self._indexes: OrderedDict[int, list[_tar.Entry]] = OrderedDict()
        if self.counts.sum() == 0:
            raise DataError(f"the shards {', '.join(patterns)} hold no samples")

    def __len__(self) -> int:
        return int(self.counts.sum())

    def _count(self) -> list[int]:
        sizes = {folder: _sizes(folder) for folder in {places.parent(file) for file in self.files}}
        known = [sizes[places.parent(file)].get(name_of(file)) for file in self.files]
        return [
            len(index_shard(file)) if count is None else count for file, count in zip(self.files, known, strict=True)
        ]

    def read(self, shard: int, number: int, wanted: Collection[str] | None = None) -> Sample:
        """Sample `number` of a shard: the members with the suffixes `wanted`, all where that is None.

        Raises:
            DataError: the shard cannot be read, is cut off, or holds another number of samples than `sizes.json` says.
        """
        file = self.files[shard]
        if shard not in self._indexes:
            try:
                index = index_shard(file)
            except OSError as error:
                raise DataError(f"the shard {file} can no longer be read: {error.strerror or error}") from error
            if len(index) != self.counts[shard]:
                raise DataError(
                    f"{file} holds {len(index)} samples, but {SIZES_FILE} says {self.counts[shard]}: "
                    f"remove {SIZES_FILE}, or pack the shard again"
                )
            self._indexes[shard] = index
            while len(self._indexes) > _OPEN_SHARDS:
                self._indexes.popitem(last=False)
        self._indexes.move_to_end(shard)
        key, members = self._indexes[shard][number]
        found = {}
        for suffix, (offset, size) in members.items():
            if wanted is not None and suffix not in wanted:
                continue
            try:
                found[suffix] = places.read_range(file, offset, size)
            except OSError as error:
                raise DataError(f"the shard {file} can no longer be read: {error.strerror or error}") from error
            if len(found[suffix]) != size:
                raise DataError(f"{file} is cut off at byte {offset + len(found[suffix])}: pack or copy it again")
        return Sample(f"{name_of(file)}/{key}", found)


def name_of(file: str) -> str:
    """The last part of a path or URL."""
    return file.rstrip("/").rpartition("/")[2]


def index_shard(file: str) -> list[_tar.Entry]:
    """``_tar.index`` of a shard; raises DataError, which names it."""
    try:
        with places.open_binary(file) as tar:
            return _tar.index(tar)
    except _tar.TruncatedError as error:
        raise DataError(f"{file} is {error}: pack or copy it again") from error
    except tarfile.TarError as error:
        raise DataError(f"{file} is not an uncompressed tar file, or is damaged: {error}") from error


def write_shards(
    samples: Iterable[tuple[str, dict[str, bytes]]], folder: Path, prefix: str, max_bytes: int
) -> Iterator[tuple[str, int]]:
    """Writes samples (key, members by suffix) as `PREFIX-000000.tar`, ..., and `sizes.json` when all are there.

    A shard has its name only when it is whole. Gives the name and number of samples of each as it is done.

    Raises:
        FileExistsError: the folder holds shards of that prefix.
        ValueError: a key has a dot or a slash, or comes twice in a row.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.glob(f"{glob.escape(prefix)}-*.tar")):
        raise FileExistsError(f"{folder} already holds shards {prefix}-*.tar: remove them, or choose another --prefix")
    sizes: dict[str, int] = {}
    tar: tarfile.TarFile | None = None
    part, count, last = folder, 0, ""

    def done() -> tuple[str, int]:
        assert tar is not None
        tar.close()
        name = f"{prefix}-{len(sizes):06}.tar"
        part.rename(folder / name)
        sizes[name] = count
        return name, count

    try:
        for key, members in samples:
            if not key or key == last or set(key) & {".", "/"}:
                raise ValueError(f"{key!r} cannot be the key of a sample: it must be a unique name without . and /")
            last = key
            if tar is not None and tar.offset >= max_bytes:
                yield done()
                tar = None
            if tar is None:
                part = folder / f".{prefix}-{len(sizes):06}.{os.getpid()}.part"
                tar = tarfile.open(part, "w", format=tarfile.USTAR_FORMAT)  # noqa: SIM115 (it stays open over many samples)
                count = 0
            _tar.add_sample(tar, key, members)
            count += 1
        if tar is not None:
            yield done()
        known = _sizes(str(folder)) | sizes
        with replacing(folder / SIZES_FILE) as temporary:
            temporary.write_text(json.dumps(known, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    finally:
        if part != folder:
            part.unlink(missing_ok=True)


def _expand(pattern: str) -> list[str]:
    match = _RANGE.search(pattern)
    if match:
        low, high = match.groups()
        numbers = range(int(low), int(high) + 1)
        names = (pattern[: match.start()] + str(n).zfill(len(low)) + pattern[match.end() :] for n in numbers)
        return [file for name in names for file in _expand(name)]
    if not glob.has_magic(pattern):
        return [pattern]
    found = places.matching(pattern)
    if not found:
        raise FileNotFoundError(f"no shard fits {pattern}")
    return found


def _sizes(folder: str) -> dict[str, int]:
    file = places.join(folder, SIZES_FILE)
    try:
        with places.open_binary(file) as text:
            sizes = json.load(text)
        if not all(isinstance(count, int) and count >= 0 for count in sizes.values()):
            raise TypeError("a count is not a whole number")
    except FileNotFoundError:
        return {}
    except (ValueError, AttributeError, TypeError) as error:
        raise DataError(f"{file} is damaged ({error}): remove it, and the samples are counted again") from error
    missing = [name for name in sizes if not places.is_url(folder) and not os.path.isfile(os.path.join(folder, name))]
    if missing:
        raise FileNotFoundError(
            f"the shard {os.path.join(folder, missing[0])} is missing, though {SIZES_FILE} lists it: copy it there"
        )
    return dict(sizes)
