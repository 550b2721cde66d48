"""Lists of labelled clips, as CSV, JSON Lines, or a folder with a folder a class."""

from __future__ import annotations

import csv
import json
import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ove_codec._renames import renamed
from ove_codec.datasets.clips import SUFFIXES

Segment = tuple[float | None, float | None]
WHOLE: Segment = (None, None)
_TOLD = 10  # bad lines that an error names


@dataclass(frozen=True)
class LabelledClip:
    """A labelled clip.

    Attributes:
        path: of the video.
        name: of the video in the manifest.
        label: class.
        line: of the manifest.
        segment: the part of the video that is the clip: shown from the first time on and before the second, in seconds
            of the video's time stamps; None where there is no bound.
    """

    path: Path
    name: str
    label: int
    line: int
    segment: Segment = WHOLE

    @property
    def key(self) -> str:
        """Tells the clip from others of the manifest: its name, and its times where it is a part of a video."""
        if self.segment == WHOLE:
            return self.name
        start, end = ("" if time is None else repr(time) for time in self.segment)
        return f"{self.name}#t={start},{end}"


def read_manifest(
    file: str | os.PathLike[str],
    num_classes: int,
    *,
    classes: Sequence[str] | None = None,
    root: str | os.PathLike[str] | None = None,
    split: str | None = None,
) -> list[LabelledClip]:
    """Reads the clips of a manifest, in its order.

    CSV: a line of column names (`path`, `label`, with splits `split`, and for parts of videos `start` and `end`; others
    are left aside), then a clip a line; without the names the columns are path and label. JSON Lines (`.jsonl`,
    `.ndjson`, `.json`): an object a line with these keys. A label is a number from 0, or one of the names in `classes`.
    `start` and `end` are seconds; empty ones set no bound. A clip may be listed more than once.

    A folder: every folder in it is a class, with its videos anywhere below. Classes are numbered as `classes` lists
    them, else in the order of their names. It has no splits.

    Args:
        file: UTF-8, or the folder.
        num_classes: labels lie below.
        classes: names of the classes, in the order of their numbers.
        root: folder that relative paths start from; that of the manifest where None.
        split: only the clips whose `split` has this value.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: a line is not as it should be, or there is no clip; names the lines.
    """
    path = Path(file)
    if classes is not None and len(classes) != num_classes:
        raise ValueError(f"classes must hold {num_classes} names, got {len(classes)}")
    numbers = {name: number for number, name in enumerate(classes or ())}
    base = path.parent if root is None else Path(root)
    if path.is_dir():
        if split is not None:
            raise ValueError(f"{path} is a folder of classes, which has no splits: give one folder per split")
        numbers = numbers or {name: number for number, name in enumerate(class_folders(path))}
        rows, base = _folder_rows(path), path
    else:
        rows = _json_rows(path) if path.suffix in (".jsonl", ".ndjson", ".json") else _csv_rows(path)
    samples: list[LabelledClip] = []
    wrong: list[str] = []
    splits: set[str] = set()
    for line, row in rows:
        try:
            if isinstance(row, str):
                raise ValueError(row)
            if split is not None:
                found = _text(row, "split")
                splits.add(found)
                if found != split:
                    continue
            name = _text(row, "path")
            label = _label(row.get("label"), numbers, num_classes)
            samples.append(LabelledClip(base / name, name, label, line, _segment(row)))
        except ValueError as error:
            wrong.append(f"line {line}: {error}")
    if wrong:
        more = f"; and {len(wrong) - _TOLD} more" if len(wrong) > _TOLD else ""
        raise ValueError(f"{path}: {'; '.join(wrong[:_TOLD])}{more}")
    if not samples:
        of = "" if split is None else f" of split {split!r}; there are {', '.join(sorted(splits)) or 'none'}"
        raise ValueError(f"{path} lists no clips{of}")
    return samples


def read_classes(file: str | os.PathLike[str]) -> list[str]:
    """Names of classes, one a line, in the order of their numbers; ValueError where one is empty or comes twice."""
    names = [line.strip() for line in Path(file).read_text(encoding="utf-8").splitlines()]
    seen: dict[str, int] = {}
    for number, name in enumerate(names, 1):
        if not name or name in seen:
            what = f"repeats {name!r} of line {seen[name]}" if name else "is empty"
            raise ValueError(f"{os.fspath(file)}: line {number} {what}; it must hold one class per line")
        seen[name] = number
    return names


def class_folders(folder: str | os.PathLike[str]) -> list[str]:
    """Names of the folders in a folder of classes, sorted; hidden ones are left out."""
    return sorted(entry.name for entry in Path(folder).iterdir() if entry.is_dir() and entry.name[0] not in "._")


def _folder_rows(folder: Path) -> Iterator[tuple[int, dict[str, Any] | str]]:
    """Numbers from 1 with a row for every video of a folder of classes, in the order of their names."""
    number = 0
    for name in class_folders(folder):
        for file in sorted((folder / name).rglob("*")):
            if file.suffix[1:].lower() in SUFFIXES and file.is_file():
                number += 1
                yield number, {"path": file.relative_to(folder).as_posix(), "label": name}


def _csv_rows(path: Path) -> Iterator[tuple[int, dict[str, Any] | str]]:
    """Line numbers with a row by column names, or with what is wrong."""
    with path.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.reader(file, strict=True)
        names: list[str] | None = None
        while True:
            try:
                cells = next(reader, None)
            except (csv.Error, UnicodeDecodeError) as error:
                raise ValueError(f"{path}: line {reader.line_num}: {error}") from None
            if cells is None:
                return
            if not any(cell.strip() for cell in cells):
                continue
            cells = [cell.strip() for cell in cells]
            if names is None:
                if "path" in cells and "label" in cells:
                    names = cells
                    continue
                names = ["path", "label"]
            if len(cells) == len(names):
                yield reader.line_num, dict(zip(names, cells, strict=True))
            else:
                yield reader.line_num, f"{len(cells)} columns, expected {len(names)} ({', '.join(names)})"


def _json_rows(path: Path) -> Iterator[tuple[int, dict[str, Any] | str]]:
    """Line numbers with an object, or with what is wrong."""
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except ValueError as error:
                yield number, f"no JSON: {error}"
                continue
            yield number, row if isinstance(row, dict) else "no JSON object"


def _text(row: dict[str, Any], name: str) -> str:
    value = row.get(name)
    if not isinstance(value, str) or not value:
        raise ValueError(f"it has no {name}" if value in (None, "") else f"{name} must be text, not {value!r}")
    return value


def _segment(row: dict[str, Any]) -> Segment:
    start, end = _seconds(row, "start"), _seconds(row, "end")
    if start is not None and end is not None and not start < end:
        raise ValueError(f"end must be after start, got {start:g} to {end:g}")
    return start, end


def _seconds(row: dict[str, Any], name: str) -> float | None:
    value = row.get(name)
    if value is None or value == "":
        return None
    try:
        if isinstance(value, bool):
            raise ValueError
        seconds = float(value)
    except (TypeError, ValueError):
        raise ValueError(f"{name} must be seconds, not {value!r}") from None
    if not math.isfinite(seconds):
        raise ValueError(f"{name} must be finite, not {value!r}")
    return seconds


def _label(value: Any, numbers: dict[str, int], count: int) -> int:
    if isinstance(value, str) and value in numbers:
        return numbers[value]
    number = value
    if isinstance(value, str) and value.isascii() and value.isdigit():
        number = int(value)
    if isinstance(number, bool) or not isinstance(number, int):
        known = f"a class name or a number from 0 to {count - 1}" if numbers else f"a number from 0 to {count - 1}"
        raise ValueError("it has no label" if value in (None, "") else f"label must be {known}, not {value!r}")
    if not 0 <= number < count:
        raise ValueError(f"label {number} is outside the {count} classes (0 to {count - 1})")
    return number


__getattr__ = renamed(__name__, Sample="LabelledClip")
