"""Lists the clips of a folder, a pattern, a table or shards."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import tarfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from ove_codec import _tar
from ove_codec.datasets import places
from ove_codec.datasets.arrow import arrow

SUFFIXES = frozenset(
    [
        *("mp4", "m4v", "mov", "qt", "3gp", "3g2", "mkv", "webm", "ts", "m2ts", "mts", "avi", "flv", "wmv", "mxf"),
        *("ogv", "mpg", "mpeg", "m2v", "ivf", "obu", "h264", "264", "avc", "h265", "265", "hevc", "bit"),
    ]
)
COLUMNS = ("video", "path", "file", "filename", "url", "video_path")
NAMES = ("id", "name", "key")
_IN_MEMORY = 1 << 28  # bytes of a remote clip, above which it is read piece by piece
_RANGE = re.compile(r"\{(\d+)\.\.(\d+)\}")


@dataclass(frozen=True)
class Clip:
    """A clip to select from.

    Attributes:
        name: its name in the results: its path relative to the folder or table, or its `id`.
        place: path or URL; for a member of a tar file, that of the tar file.
        member: its bytes [offset, offset + size) there, and its suffix; None for a whole file.
        row: the other columns of its table.
    """

    name: str
    place: str
    member: tuple[int, int, str] | None = None
    row: dict[str, Any] = field(default_factory=dict)

    @property
    def where(self) -> str:
        """Where it lies, for people."""
        return places.printable(self.place if self.member is None else f"{self.place}::{self.name}.{self.member[2]}")

    def read(self, size: int | None = None) -> Any:
        """What ``ove_codec.open`` takes: a local path, the bytes of others, a file object of large ones (close it).

        Args:
            size: of the file, where it is known.

        Raises:
            OSError: it is not there any more, or ends inside the clip.
        """
        if self.member is not None:
            offset, length, _ = self.member
            data = places.read_range(self.place, offset, length)
            if len(data) < length:
                raise OSError(
                    f"{places.printable(self.place)} ends inside the clip: it has changed since it was listed"
                )
            return data
        if not places.is_url(self.place):
            return self.place
        size = places.stamp(self.place)[0] if size is None else size
        file = places.open_binary(self.place)
        if size > _IN_MEMORY:
            return file
        with file:
            return file.read()


@dataclass(frozen=True)
class Failure:
    """A clip, or a line of a table, that gave no result.

    Attributes:
        error: the kind, as the exception is called.
        reason: its message.
        position: byte offset in the clip, where known.
        attempts: how often it was tried.
    """

    name: str
    where: str
    error: str
    reason: str
    position: int | None = None
    attempts: int = 1

    @classmethod
    def of(cls, name: str, where: str, error: BaseException, attempts: int = 1) -> Failure:
        text = " ".join(str(error).split()) or type(error).__name__
        position = getattr(error, "position", None)
        return cls(places.printable(name), where, type(error).__name__, places.printable(text), position, attempts)


@dataclass
class Listing:
    """The clips found, the failures, and the number of clips that were listed twice and left out."""

    clips: list[Clip] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    repeated: int = 0


def list_clips(
    source: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
    column: str | None = None,
    *,
    keep_repeated: bool = False,
) -> Listing:
    """The clips of `source`.

    Args:
        source: a folder, whose files with a video's suffix are taken, also in subfolders; a pattern with `*`, `?`,
            `[...]`, `**` or `{000..127}`; a table (.csv with a header, .jsonl, .parquet) with a column of paths or
            URLs, relative to the table's folder; shards in webdataset's layout (.tar), whose samples give the first
            member with a video's suffix; a video; or a list of these. Each may be an fsspec URL.
        column: with paths or URLs, in tables; if None, the first of video, path, file, filename, url and video_path. A
            column id, name or key gives the clips' names.
        keep_repeated: keep clips that are listed twice.

    Raises:
        FileNotFoundError: there is no such file or folder.
        ValueError: there are no clips, or a table cannot be read or lacks the column.
    """
    sources = [source] if isinstance(source, str | os.PathLike) else list(source)
    listing = Listing()
    seen = set()
    for one in sources:
        for item in _list(places.local(one), column):
            if isinstance(item, Failure):
                listing.failures.append(item)
            elif not keep_repeated and (item.name, item.place, item.member) in seen:
                listing.repeated += 1
            else:
                seen.add((item.name, item.place, item.member))
                listing.clips.append(item)
    if not listing.clips and not listing.failures:
        names = ", ".join(places.printable(os.fspath(one)) for one in sources)
        raise ValueError(
            f"{names}: there are no clips; videos have one of these suffixes: {' '.join(sorted(SUFFIXES))}"
        )
    return listing


def _list(source: str, column: str | None) -> Iterator[Clip | Failure]:
    if places.is_folder(source):
        files = list(places.files_below(source))
        if not any(_suffix(name) in SUFFIXES for name, _ in files):  # a folder of shards
            files = [(name, place) for name, place in files if _suffix(name) == "tar"]
            for _, place in files:
                yield from _shard(place)
            return
        for name, place in files:
            if _suffix(name) in SUFFIXES:
                yield Clip(name, place)
        return
    found = _expand(source)
    if not found:
        raise FileNotFoundError(
            f"{places.printable(source)}: there is no such file or folder, and no file matches the pattern"
        )
    base = "" if places.is_url(source) else os.path.commonpath([places.parent(file) for file in found])
    for place in found:
        kind = _suffix(place)
        if kind == "tar":
            yield from _shard(place)
        elif kind in _TABLES:
            yield from _table(place, _TABLES[kind](place), column)
        elif kind in SUFFIXES or len(found) == 1:
            yield Clip(os.path.relpath(place, base) if base else place.rpartition("/")[2], place)


def _expand(source: str) -> list[str]:
    match = _RANGE.search(source)
    if match:
        low, high = match.groups()
        numbers = (str(n).zfill(len(low)) for n in range(int(low), int(high) + 1))
        return [file for n in numbers for file in _expand(source[: match.start()] + n + source[match.end() :])]
    if not places.is_url(source) and os.path.exists(source):
        return [source]
    return places.matching(source)


def _suffix(name: str) -> str:
    return name.rpartition(".")[2].lower()


def _shard(place: str) -> Iterator[Clip | Failure]:
    try:
        with places.open_binary(place) as file:
            entries = _tar.index(file)
    except (OSError, tarfile.TarError) as error:
        yield Failure.of(place, places.printable(place), error)
        return
    for key, members in entries:
        suffix = next((s for s in members if s.rpartition(".")[2] in SUFFIXES), None)
        if suffix is None:
            reason = ValueError(f"the sample has no video, only {', '.join(members)}")
            yield Failure.of(key, f"{places.printable(place)}::{places.printable(key)}", reason)
        else:
            yield Clip(key, place, (*members[suffix], suffix))


def _csv(place: str) -> Iterator[tuple[int, Any]]:
    with places.open_binary(place) as file, io.TextIOWrapper(file, "utf-8-sig", "surrogateescape", newline="") as text:
        reader = csv.DictReader(text)
        try:
            for row in reader:
                yield reader.line_num, row
        except csv.Error as error:
            raise ValueError(f"{place}, line {reader.line_num}: {error}") from error


def _jsonl(place: str) -> Iterator[tuple[int, Any]]:
    with places.open_binary(place) as file, io.TextIOWrapper(file, "utf-8-sig", "surrogateescape") as text:
        for number, line in enumerate(text, 1):
            if not line.strip():
                continue
            try:
                yield number, json.loads(line)
            except ValueError as error:
                yield number, error


def _parquet(place: str) -> Iterator[tuple[int, Any]]:
    pa, pq = arrow()
    try:
        with places.open_binary(place) as file:
            rows = pq.read_table(file).to_pylist()
    except pa.ArrowInvalid as error:
        raise ValueError(f"{place} is not a Parquet file, or is damaged: {error}") from error
    yield from enumerate(rows)


_TABLES = {"csv": _csv, "jsonl": _jsonl, "ndjson": _jsonl, "parquet": _parquet}


def _table(place: str, rows: Iterable[tuple[int, Any]], column: str | None) -> Iterator[Clip | Failure]:
    folder = places.parent(place)
    for number, row in rows:
        where = f"{places.printable(place)}, {'row' if place.endswith('.parquet') else 'line'} {number}"
        if not isinstance(row, dict):
            error = row if isinstance(row, ValueError) else ValueError("it is not a JSON object")
            yield Failure.of(where, where, error)
            continue
        named = column or next((c for c in COLUMNS if c in row), None)
        if named is None or named not in row:
            have = ", ".join(map(str, row))
            raise ValueError(f"{where}: there is no column {column or ' or '.join(COLUMNS)}, only {have}: set column")
        value = row[named]
        if not isinstance(value, str) or not value:
            yield Failure.of(where, where, ValueError(f"{named} must be a path, not {value!r}"))
            continue
        given = next((row[c] for c in NAMES if c != named and row.get(c) not in (None, "")), None)
        rest = {key: other for key, other in row.items() if key is not None and key != named}
        yield Clip(value if given is None else str(given), places.join(folder, places.local(value)), None, rest)
