"""Entries of JSON and CSV files with the lines that they stand on, so that bad ones can be named."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

_SPACE = re.compile(r"[ \t\r\n]*")
_CLOCK = re.compile(r"(\d+):([0-5]\d):([0-5]\d(?:\.\d*)?)")


def json_list(path: Path) -> Iterator[tuple[str, Any]]:
    """The entries of a JSON list, with where they stand; ValueError where the file holds none."""
    return ((where, value) for where, _, value in _json_entries(path, "[]", "a list"))


def json_object(path: Path) -> Iterator[tuple[str, str, Any]]:
    """The members of a JSON object, with where they stand; ValueError where the file holds none."""
    return _json_entries(path, "{}", "an object")


def _json_entries(path: Path, brackets: str, what: str) -> Iterator[tuple[str, str, Any]]:
    text = path.read_text(encoding="utf-8-sig")
    decoder = json.JSONDecoder()
    line, counted, number = 1, 0, 0

    def after_space(at: int) -> int:
        match = _SPACE.match(text, at)
        assert match is not None
        return match.end()

    def wrong(at: int) -> ValueError:
        return ValueError(
            f"{path}: line {1 + text.count(chr(10), 0, at)}: the JSON is broken here; check that the file is complete"
        )

    at = after_space(0)
    if text[at : at + 1] != brackets[0]:
        raise ValueError(f"{path}: the file must hold {what} of JSON")
    at = after_space(at + 1)
    try:
        while text[at : at + 1] != brackets[1]:
            line, counted, number = line + text.count("\n", counted, at), at, number + 1
            key = ""
            if brackets == "{}":
                key, at = decoder.raw_decode(text, at)
                at = after_space(at)
                if text[at : at + 1] != ":":
                    raise wrong(at)
                at = after_space(at + 1)
            value, at = decoder.raw_decode(text, at)
            yield f"line {line}, entry {number}", key, value
            at = after_space(at)
            if text[at : at + 1] == ",":
                at = after_space(at + 1)
            elif text[at : at + 1] != brackets[1]:
                raise wrong(at)
    except (json.JSONDecodeError, RecursionError) as error:
        raise wrong(error.pos if isinstance(error, json.JSONDecodeError) else at) from None


def csv_rows(path: Path, columns: Sequence[str]) -> Iterator[tuple[str, dict[str, str] | str]]:
    """The rows of a CSV file by the names of its first line, or what is wrong with one, with where they stand.

    Raises ValueError where the file lacks one of the `columns`, or cannot be read on.
    """
    with path.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.reader(file)
        names: list[str] = []
        while True:
            try:
                cells = next(reader, None)
            except (csv.Error, UnicodeDecodeError) as error:
                raise ValueError(f"{path}: line {reader.line_num}: {error}") from None
            if not names:
                names = [cell.strip() for cell in cells or ()]
                missing = [name for name in columns if name not in names]
                if missing:
                    raise ValueError(
                        f"{path}: line 1: it must name the columns, but these are missing: {', '.join(missing)}"
                    )
            elif cells is None:
                return
            elif len(cells) == len(names):
                yield f"line {reader.line_num}", dict(zip(names, cells, strict=True))
            elif cells:
                yield f"line {reader.line_num}", f"it has {len(cells)} columns, but the first line names {len(names)}"


def clock_seconds(text: str) -> float:
    """Seconds of a time "hours:minutes:seconds"; ValueError for other texts."""
    match = _CLOCK.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{text!r} is not a time such as 00:00:00.000")
    hours, minutes, seconds = match.groups()
    return 3600 * int(hours) + 60 * int(minutes) + float(seconds)
