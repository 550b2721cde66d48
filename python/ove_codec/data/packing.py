"""What `ove-codec pack` does: files with labels into shards."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

import ove_codec
from ove_codec.data.inputs import PICTURES, SELECTION, VIDEOS, reason_of
from ove_codec.data.mixture import LABELS
from ove_codec.selection import Selection

# What is wrong with a single file: it is left out. Anything else ends the command.
_UNREADABLE = (ove_codec.Error, OSError, EOFError, ValueError, SyntaxError, Image.DecompressionBombError)


@dataclass(frozen=True)
class Record:
    """A file, its labels, and where a stored selection of it lies."""

    file: Path
    labels: tuple[int, ...]
    selection: Path | None = None


def read_records(source: Path) -> list[Record]:
    """The records of a folder, a CSV or a JSONL file.

    A folder: `CLASS/FILE`, of which classes are labels by the order of their names; or any files of which each has
    beside it a `NAME.json`, {"labels": [...]}. A CSV has a header with `file` and `labels`, numbers with spaces between
    them, and perhaps `selection`; JSONL has an object a line with the same, `labels` being a list. Paths in it are from
    its own folder.

    Raises:
        OSError: the source, or a file that it names, is missing.
        ValueError: it is damaged, or holds nothing; the message names the line.
    """
    if source.is_dir():
        records = _folder(source)
    elif source.suffix == ".csv":
        with open(source, encoding="utf-8", newline="") as text:
            reader = csv.DictReader(text)
            records = [_record(source, n, row) for n, row in enumerate(reader, 2)]
    elif source.suffix in (".jsonl", ".ndjson"):
        records = []
        for n, line in enumerate(source.read_text(encoding="utf-8").splitlines(), 1):
            if line.strip():
                try:
                    row = json.loads(line)
                except ValueError as error:
                    raise ValueError(f"{source}, line {n} is not valid JSON: {error}") from error
                records.append(_record(source, n, row))
    else:
        source.stat()  # tells of a missing file
        raise ValueError(f"{source} is not a folder, a .csv file or a .jsonl file")
    if not records:
        raise ValueError(
            f"{source} holds no samples: pictures are .{', .'.join(PICTURES)}, videos .{', .'.join(VIDEOS)}"
        )
    return records


@dataclass(frozen=True)
class Packer:
    """Makes the samples of records.

    Attributes:
        check: pictures are decoded, and videos opened, before they go in.
        select: parameters of a selection that is made of every HEVC or H.264 video and stored beside it; None for none.
            A record's own selection goes before it.
        skipped: (file, reason) of what was left out; grows while samples are taken.
    """

    check: bool
    select: dict[str, Any] | None
    skipped: list[tuple[Path, str]]

    def samples(self, records: list[Record]) -> Iterator[tuple[str, dict[str, bytes]]]:
        """Key and members of every record that can be read; keys are numbers and the names of the files."""
        for number, record in enumerate(records):
            stem = re.sub(r"[^A-Za-z0-9_-]+", "_", record.file.stem)[:40]
            try:
                members = self._members(record)
            except _UNREADABLE as error:
                self.skipped.append((record.file, reason_of(error)))
                continue
            yield f"{number:08}-{stem}", members

    def _members(self, record: Record) -> dict[str, bytes]:
        suffix = record.file.suffix[1:].lower()
        data = record.file.read_bytes()
        members = {suffix: data, LABELS: json.dumps({"labels": list(record.labels)}).encode()}
        if suffix in PICTURES and self.check:
            with Image.open(io.BytesIO(data)) as picture:
                picture.convert("RGB")
        if suffix in VIDEOS:
            if record.selection is not None:
                members[SELECTION] = record.selection.read_bytes()
                Selection.load(record.selection)
            elif self.select is not None:
                out = io.BytesIO()
                ove_codec.select(data, **self.select).save(out)
                members[SELECTION] = out.getvalue()
            elif self.check and not len(ove_codec.open(data)):
                raise ValueError("it holds no picture")
        return members


def _folder(source: Path) -> list[Record]:
    files = sorted(
        file for file in source.rglob("*") if file.is_file() and file.suffix[1:].lower() in (*PICTURES, *VIDEOS)
    )
    sidecars = [file.with_suffix(f".{LABELS}").is_file() for file in files]
    if any(sidecars):
        if not all(sidecars):
            missing = files[sidecars.index(False)]
            raise ValueError(
                f"{missing} has no {missing.stem}.{LABELS} with labels beside it, though other files have one"
            )
        records = []
        for file in files:
            beside = file.with_suffix(f".{LABELS}")
            try:
                row = {**json.loads(beside.read_text(encoding="utf-8")), "file": str(file.resolve())}
            except (ValueError, TypeError) as error:
                raise ValueError(f"{beside} is not a JSON object: {error}") from error
            records.append(_record(beside, 1, row))
        return records
    loose = [file for file in files if file.parent == source]
    if loose:
        raise ValueError(
            f"{loose[0]} has no labels: put it into a class folder (CLASS/FILE), or put a {loose[0].stem}.{LABELS} "
            "beside it"
        )
    classes = sorted({file.relative_to(source).parts[0] for file in files})
    numbers = {name: number for number, name in enumerate(classes)}
    return [Record(file, (numbers[file.relative_to(source).parts[0]],)) for file in files]


def _record(source: Path, line: int, row: dict[str, Any]) -> Record:
    where = f"{source}, line {line}"
    try:
        labels, name = row["labels"], row["file"]
        numbers = [int(x) for x in (labels.split() if isinstance(labels, str) else labels)]
        if not isinstance(labels, str) and numbers != list(labels):
            raise ValueError("labels must be whole numbers")
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{where} must have a file, and whole numbers as labels: {error!r}") from error
    if not numbers or min(numbers) < 0:
        raise ValueError(f"{where}: labels must be one or more numbers, none of them negative, not {numbers}")
    file = source.parent / name
    selection = source.parent / row["selection"] if row.get("selection") else None
    for path in (file, selection):
        if path is not None and not path.is_file():
            raise FileNotFoundError(f"{where} names {path}, which does not exist")
    if file.suffix[1:].lower() not in (*PICTURES, *VIDEOS):
        raise ValueError(f"{where}: {file.name} does not have the suffix of a picture or video")
    return Record(file, tuple(numbers), selection)
