"""What lies in the output of ``select_dataset``, read piece by piece, and told by name where it is damaged."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from ove_codec.datasets import places
from ove_codec.datasets.arrow import arrow
from ove_codec.datasets.folder import Folder
from ove_codec.datasets.job import FORMATS
from ove_codec.datasets.layout import FAILURES, MANIFESTS, OLD_FAILURES, RUNS, SETTINGS, SUFFIX

_AGAIN = "and run select-dataset again, which selects its clips again"
_FAILURE_COLUMNS = ("name", "where", "error", "reason", "position", "attempts")
_BATCH = 1024
_AT_LEAST = 3  # failures shown of each kind
_TAR_END = 1024  # zeros, at least, at the end of a tar file


@dataclass(frozen=True)
class Failures:
    """How many clips failed, by the kind of error, and the first of them."""

    count: int = 0
    kinds: Counter[str] = field(default_factory=Counter)
    rows: list[dict[str, Any]] = field(default_factory=list)


class Results:
    """The output of ``select_dataset`` in a folder, or at a URL of one.

    Attributes:
        settings: of the run, as ``Job.as_dict`` gave them.
        format: of the shards.
        place, shown: the folder, and its name for people.

    Raises:
        FileNotFoundError: there is no such folder.
        ValueError: it is none that ``select_dataset`` wrote, or a file in it is damaged; here or later, when that file
            is read.
    """

    def __init__(self, place: str) -> None:
        self.place = places.local(place)
        self.shown = shown = places.printable(self.place).rstrip("/") or "/"
        if not places.is_folder(self.place):
            raise FileNotFoundError(f"{shown}: there is no such folder; give the one that select-dataset wrote")
        self.folder = Folder(self.place, make=False)
        if "job.json" not in self.folder.names(MANIFESTS):
            raise ValueError(
                f"{shown} is not an output of select-dataset: {SETTINGS} is missing; give the folder that it wrote, "
                "with _manifest in it"
            )  # fmt: skip
        settings = self._json(SETTINGS, self.folder.read(SETTINGS), "restore it, or select into a new folder")
        self.settings: dict[str, Any] = settings if isinstance(settings, dict) else {}
        self.format = str(self.settings.get("format"))
        if self.format not in FORMATS or not isinstance(self.settings.get("params"), dict):
            raise ValueError(f"{self.named(SETTINGS)} does not hold the settings of a run: restore it, or select into "
                             "a new folder")  # fmt: skip

    def named(self, name: str) -> str:
        """A file in the folder, for people."""
        return f"{self.shown}/{name}"

    def remedy(self, shard: str) -> str:
        """What to do about a shard that cannot be read."""
        shown = f"{shard}{SUFFIX[self.format]} and " if SUFFIX[self.format] else ""
        return f"remove {shown}{MANIFESTS}/{shard}.jsonl, {_AGAIN}"

    def shards(self) -> list[str]:
        """Names of the finished shards, without suffix.

        Raises ValueError where the file of one is missing.
        """
        names = (name.removesuffix(".jsonl") for name in self.folder.names(MANIFESTS))
        shards = [name for name in names if re.fullmatch(r"part-\d{6,}", name)]
        if SUFFIX[self.format]:
            there = set(self.folder.names())
            for shard in shards:
                if (file := shard + SUFFIX[self.format]) not in there:
                    raise ValueError(
                        f"{self.named(file)} is missing, though {MANIFESTS}/{shard}.jsonl lists its clips: restore it, "
                        f"or {self.remedy(shard)}"
                    )  # fmt: skip
        return shards

    def entries(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Shard and line of its manifest, of every clip that is finished; one manifest at a time is in memory."""
        for shard in self.shards():
            name = f"{MANIFESTS}/{shard}.jsonl"
            lines = self.folder.read(name).splitlines()
            self._check(shard, len(lines))
            remedy = self.remedy(shard)
            for number, line in enumerate(lines, 1):
                entry = self._json(f"{name}, line {number},", line, remedy)
                if wrong := _wrong_entry(entry):
                    raise ValueError(f"{self.named(name)}, line {number}, is damaged, {wrong}: {remedy}")
                yield shard, entry

    def _check(self, shard: str, clips: int) -> None:
        """Raises ValueError where a shard is cut off, or does not hold so many clips; its clips are not read."""
        if not SUFFIX[self.format]:
            return
        pa, pq = arrow()
        file = shard + SUFFIX[self.format]
        try:
            with self.folder.open(file) as data:
                if self.format == "parquet":
                    if (rows := pq.ParquetFile(data).metadata.num_rows) != clips:
                        raise ValueError(f"it holds {rows} clips, but its manifest lists {clips}")
                elif data.seek(0, 2) < _TAR_END or data.seek(-_TAR_END, 2) % 512 or any(data.read(_TAR_END)):
                    raise ValueError("it is cut off")
        except (pa.ArrowException, OSError, ValueError) as error:
            said = " ".join(str(error).split())
            raise ValueError(f"{self.named(file)} is damaged, {said}: {self.remedy(shard)}") from error

    def runs(self) -> list[dict[str, Any]]:
        """What runs.jsonl tells of the runs, in their order; a line that is damaged is left out."""
        if RUNS.rpartition("/")[2] not in self.folder.names(MANIFESTS):
            return []
        runs = []
        for line in self.folder.read(RUNS).splitlines():
            try:
                run = json.loads(line)
            except ValueError:
                continue
            if isinstance(run, dict) and _is_number(run.get("began")):
                runs.append(run)
        return runs

    def failures(self, limit: int) -> Failures:
        """The failures of the last run, of which the first `limit` are kept, and some of every kind."""
        there = self.folder.names()
        name = next((name for name in (FAILURES, OLD_FAILURES) if name in there), None)
        if name is None:
            return Failures()
        pa, pq = arrow()
        found = Failures()
        count = 0
        try:
            with self.folder.open(name) as file:
                for batch in pq.ParquetFile(file).iter_batches(_BATCH, columns=list(_FAILURE_COLUMNS)):
                    if missing := [name for name in _FAILURE_COLUMNS if name not in batch.schema.names]:
                        raise ValueError(f"it lacks the column {missing[0]}")
                    for row in batch.to_pylist():
                        count += 1
                        kind = str(row["error"])
                        found.kinds[kind] += 1
                        few = found.kinds[kind] <= _AT_LEAST and len(found.rows) < 2 * limit
                        if len(found.rows) < limit or few:
                            found.rows.append(row)
        except (pa.ArrowException, OSError, ValueError) as error:
            said = " ".join(str(error).split())
            raise ValueError(
                f"{self.named(name)} is damaged, {said}: remove it, and run select-dataset again, which writes it"
            ) from None
        return Failures(count, found.kinds, found.rows)

    def _json(self, name: str, data: bytes, remedy: str) -> Any:
        try:
            return json.loads(data)
        except ValueError as error:
            raise ValueError(f"{self.named(name)} is damaged, {error}: {remedy}") from None


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _wrong_entry(entry: Any) -> str:
    """What is wrong with a line of a manifest; "" for nothing."""
    if not isinstance(entry, dict):
        return "it is not a JSON object"
    for name in ("name", "key", "where", "member"):
        if not isinstance(entry.get(name), str):
            return f"{name} is not text"
    if not isinstance(entry.get("tokens"), int) or entry["tokens"] < 0:
        return "tokens is not a count"
    facts = entry.setdefault("statistics", {})
    if not isinstance(facts, dict):
        return "statistics is not an object"
    for name in ("patches", "pictures", "width", "height", "seconds", "ended", "kept"):
        value = facts.get(name)
        if value is not None and not (_is_number(value) and value >= 0):
            return f"{name} is not a number"
    for name in ("heat", "curve"):
        values = facts.get(name)
        if values is not None and not (isinstance(values, list) and all(map(_is_number, values))):
            return f"{name} is not a list of numbers"
    return ""
