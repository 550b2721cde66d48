"""The results of a run: shards that are there whole or not at all, and which clips each of them finishes."""

from __future__ import annotations

import fcntl
import io
import json
import os
import shutil
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ove_codec.datasets import places
from ove_codec.datasets.arrow import arrow
from ove_codec.datasets.clips import Failure
from ove_codec.datasets.folder import Folder
from ove_codec.datasets.job import Job, Result
from ove_codec.datasets.layout import FAILURES, MANIFEST, MANIFESTS, OLD_FAILURES, RUNS, SETTINGS, SUFFIX
from ove_codec.datasets.shard_files import write_parquet, write_tar
from ove_codec.datasets.tables import failure_table
from ove_codec.presets import COMMON

_FACTS = ("codec", "pictures", "width", "height")


class Output:
    """What is finished in a folder, and the shard at work.

    Beside the shards lies `_manifest`: the settings, for every finished shard a file that names its clips, and
    runs.jsonl, what each run was and did. A shard without a file in it is left over from a run that was ended, and is
    taken away.

    Raises:
        ValueError: the folder holds results of other settings, or other files.
        BlockingIOError: another run is at work.
    """

    def __init__(self, place: str, job: Job, shard_clips: int, shard_bytes: int) -> None:
        arrow()
        self.folder = Folder(places.local(place))
        self.job = job
        self._settings = job.as_dict()
        self._shard_clips, self._shard_bytes = shard_clips, shard_bytes
        self._lock: Any = None
        self._begin()
        self.finished: dict[str, list[dict[str, Any]]] = {}  # by name
        self.shards = 0
        self._sizes: dict[str, int] = {}
        self._lines: list[tuple[str, str]] = []
        shards = self._read_manifests()
        self._sweep(shards)
        self._run: dict[str, Any] = {"began": round(time.time(), 3)}
        self._runs = ""
        self._number = 1 + max((int(name[5:11]) for name in shards), default=-1)
        self._waiting: list[Result] = []

    # What is there.

    def _begin(self) -> None:
        existing = self.folder.names()
        if MANIFESTS in existing and "job.json" in self.folder.names(MANIFESTS):
            before = json.loads(self.folder.read(SETTINGS))
            # Parameters that are newer than the folder had these values.
            newer = {name: COMMON[name] for name in self._settings["params"] if name in COMMON}
            before["params"] = {**newer, **before.get("params", {})}
            if before != json.loads(json.dumps(self._settings)):
                changed = sorted(
                    name
                    for name in before.keys() | self._settings.keys()
                    if before.get(name) != json.loads(json.dumps(self._settings.get(name)))
                )
                raise ValueError(
                    f"{self.folder.place} holds results with other settings ({', '.join(changed)}): choose another "
                    f"folder, or use the settings in {SETTINGS}"
                )
        elif foreign := [name for name in existing if not name.startswith(".") and name != MANIFESTS]:
            raise ValueError(
                f"{self.folder.place} holds other files, such as {foreign[0]}: choose an empty or new folder"
            )
        else:
            self.folder.write(SETTINGS, json.dumps(self._settings, indent=1, sort_keys=True).encode() + b"\n")
        if self.folder.local:
            self._lock = open(self.folder.path(f"{MANIFESTS}/lock"), "w")  # noqa: SIM115 (held until close)
            try:
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                self._lock.close()
                raise BlockingIOError(
                    f"{self.folder.place}: another run is using this folder; wait for it, or stop it"
                ) from None

    def _read_manifests(self) -> set[str]:
        shards = set()
        for name in self.folder.names(MANIFESTS):
            if not MANIFEST.fullmatch(name):
                continue
            shard = name.removesuffix(".jsonl")
            entries = [json.loads(line) for line in self.folder.read(f"{MANIFESTS}/{name}").splitlines()]
            shards.add(shard)
            self._note(shard, entries)
        return shards

    def _note(self, shard: str, entries: list[dict[str, Any]]) -> None:
        self.shards += 1
        self._sizes[shard + SUFFIX[self.job.format]] = len(entries)
        for entry in entries:
            entry.pop("statistics", None)  # of no use here, and most of it
            self.finished.setdefault(entry["name"], []).append(entry)
            if "line" in entry:
                self._lines.append((entry["name"], entry["line"]))

    def _sweep(self, shards: set[str]) -> None:
        """Takes away what an ended run left."""
        suffix = SUFFIX[self.job.format]
        kept = {entry["folder"] for entries in self.finished.values() for entry in entries if "folder" in entry}
        for name in self.folder.names():
            part = name.startswith(".") and name.endswith(".part")
            shard = suffix and name.startswith("part-") and name.endswith(suffix) and name[: -len(suffix)] not in shards
            sample = not suffix and name.startswith("sample_") and name not in kept
            if part or shard or sample:
                self.folder.remove(name)
        for name in self.folder.names(MANIFESTS):
            if name.startswith(".") and name.endswith(".part"):
                self.folder.remove(f"{MANIFESTS}/{name}")

    def keys(self, name: str) -> tuple[str, ...]:
        """Keys of what is finished under the printable name of a clip."""
        return tuple(entry["key"] for entry in self.finished.get(name, ()))

    def has(self, name: str, where: str, size: int, stamp: str) -> bool:
        """Whether a clip of this name, size and stamp is finished: it need not be read to know."""
        return any(
            entry["size"] == size >= 0 and entry["stamp"] == stamp != "" and entry["member"] == _member(where)
            for entry in self.finished.get(name, ())
        )

    # What comes in.

    def add(self, result: Result) -> bool:
        """Takes a result; false where the same content is there under this name. May end the shard at work."""
        name, key = result.facts["name"], result.facts["key"]
        if key in self.keys(name) or any(r.facts["name"] == name and r.facts["key"] == key for r in self._waiting):
            return False
        self._waiting.append(result)
        if len(self._waiting) >= self._shard_clips or sum(r.num_bytes for r in self._waiting) >= self._shard_bytes:
            self.flush()
        return True

    def flush(self) -> None:
        """Ends the shard at work."""
        if not self._waiting:
            return
        results, self._waiting = self._waiting, []
        shard = f"part-{self._number:06}"
        name = shard + SUFFIX[self.job.format]
        entries = [
            {
                "name": r.facts["name"],
                "key": r.facts["key"],
                "where": r.facts["where"],
                "member": _member(r.facts["where"]),
                "size": r.size,
                "stamp": r.stamp,
                "tokens": r.facts["tokens"],
                "run": self._run["began"],
                "statistics": {name: r.facts[name] for name in _FACTS} | r.statistics,
            }
            for r in results
        ]
        if not SUFFIX[self.job.format]:
            for result, entry in zip(results, entries, strict=True):
                entry["folder"] = next(file.partition("/")[0] for file in result.files if file)
                entry["line"] = result.files[""].decode()
                self._keep_folder(entry["folder"], result.files)
        else:
            part = self.folder.part(name)
            try:
                (write_parquet if self.job.format == "parquet" else write_tar)(part, results, self._settings)
                self.folder.keep(part, name)
            except BaseException:
                self.folder.drop(part)
                raise
        lines = "".join(json.dumps(entry) + "\n" for entry in entries)
        self.folder.write(f"{MANIFESTS}/{shard}.jsonl", lines.encode())
        self._number += 1
        self._note(shard, entries)

    def _keep_folder(self, name: str, files: dict[str, bytes]) -> None:
        """The files of one clip: written beside, then moved; without a line in a manifest they are left-overs."""
        if not self.folder.local:
            for file, data in files.items():
                if file:
                    self.folder.write(file, data)
            return
        part = self.folder.part(name)
        shutil.rmtree(part, ignore_errors=True)
        try:
            os.makedirs(part)
            for file, data in files.items():
                if file:
                    Path(part, file.partition("/")[2]).write_bytes(data)
            if name in self.folder.names():
                self.folder.remove(name)
            os.replace(part, self.folder.path(name))
        except BaseException:
            shutil.rmtree(part, ignore_errors=True)
            raise

    def write_failures(self, failures: Iterable[Failure]) -> None:
        """_failures.parquet; no file where there is none."""
        _, pq = arrow()
        listed = sorted(failures, key=lambda failure: (failure.name, failure.where))
        if listed:
            out = io.BytesIO()
            pq.write_table(failure_table(listed), out)
            self.folder.write(FAILURES, out.getvalue())
        for name in {OLD_FAILURES} if listed else {OLD_FAILURES, FAILURES}:
            if name in self.folder.names():
                self.folder.remove(name)

    def write_lists(self) -> None:
        """What tells of all shards at once: sizes.json (samples of each tar file) or data.jsonl, a line a clip."""
        if self.job.format == "webdataset":
            self.folder.write("sizes.json", json.dumps(self._sizes, indent=1, sort_keys=True).encode() + b"\n")
        elif not SUFFIX[self.job.format]:
            self.folder.write("data.jsonl", "".join(f"{line}\n" for _, line in sorted(self._lines)).encode())

    def write_run(self, facts: dict[str, Any], *, first: bool = False) -> None:
        """What this run is and did, as a line of runs.jsonl: once when it begins (`first`), and again when it ends."""
        if first and RUNS.rpartition("/")[2] in self.folder.names(MANIFESTS):
            self._runs = self.folder.read(RUNS).decode(errors="replace")
        self._run |= facts
        self.folder.write(RUNS, f"{self._runs}{json.dumps(self._run)}\n".encode())

    def close(self) -> None:
        if self._lock is not None:
            self._lock.close()


def _member(where: str) -> str:
    """What tells a clip from others in the same file: its name there, for members of tar files."""
    return where.partition("::")[2] if "::" in where else ""
