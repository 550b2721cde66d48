"""The results of a run: shards that are there whole or not at all, and which clips each of them finishes."""

from __future__ import annotations

import fcntl
import hashlib
import io
import json
import os
import re
import shutil
import tarfile
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, BinaryIO

from ove_codec import _tar
from ove_codec.datasets import places
from ove_codec.datasets.arrow import arrow
from ove_codec.datasets.clips import Failure
from ove_codec.datasets.job import Job, Result
from ove_codec.datasets.tables import failure_table, selection_table

MANIFESTS = "_manifest"
SETTINGS = f"{MANIFESTS}/job.json"
RUNS = f"{MANIFESTS}/runs.jsonl"
SUFFIX = {"parquet": ".parquet", "webdataset": ".tar", "reference": ""}
_MANIFEST = re.compile(r"part-\d{6}\.jsonl")
# Bytes, of a clip or more. Small ones cost little, and a loader that reads clips in random order reads few in vain.
_ROW_GROUP = 1 << 20
_FACTS = ("codec", "pictures", "width", "height")
FAILURES = "failures.parquet"


class Folder:
    """A folder of this machine, or at a URL of fsspec. Files appear in it whole, and take the place of others.

    It is made where it is missing, or with `make` False left as it is.
    """

    def __init__(self, place: str, make: bool = True) -> None:
        self.place = place
        self._fs: Any = None
        root = place
        if places.is_url(place):
            self._fs, root = places.filesystem(place)
        self._root = root.rstrip("/") or "/"
        if not make:
            return
        if self._fs is None:
            os.makedirs(place, exist_ok=True)
        else:
            self._fs.makedirs(self._root, exist_ok=True)

    @property
    def local(self) -> bool:
        return self._fs is None

    def path(self, name: str) -> str:
        return f"{self._root}/{name}"

    def names(self, folder: str = "") -> list[str]:
        """Names of files and folders directly in it."""
        where = self.path(folder) if folder else self._root
        if self._fs is None:
            return sorted(os.listdir(where)) if os.path.isdir(where) else []
        if not self._fs.isdir(where):
            return []
        return sorted(path.rstrip("/").rpartition("/")[2] for path in self._fs.ls(where, detail=False, refresh=True))

    def read(self, name: str) -> bytes:
        if self._fs is None:
            return Path(self.path(name)).read_bytes()
        data: bytes = self._fs.cat_file(self.path(name))
        return data

    def open(self, name: str) -> BinaryIO:
        """A file in it to read from, anywhere."""
        if self._fs is None:
            return open(self.path(name), "rb")
        file: BinaryIO = self._fs.open(self.path(name), "rb")
        return file

    def remove(self, name: str) -> None:
        if self._fs is not None:
            self._fs.rm(self.path(name), recursive=True)
        elif os.path.isdir(self.path(name)):
            shutil.rmtree(self.path(name))
        else:
            os.unlink(self.path(name))

    def part(self, name: str) -> str:
        """A local path to write what is to become `name`: beside it, or where it is sent from."""
        if self._fs is not None:
            return os.path.join(tempfile.mkdtemp(prefix="ove_codec-"), os.path.basename(name))
        part = self.path(f"{os.path.dirname(name) or '.'}/.{os.path.basename(name)}.part")
        os.makedirs(os.path.dirname(part), exist_ok=True)
        return part

    def keep(self, part: str, name: str) -> None:
        """Makes what was written to `part` appear as `name`, once it is safe on the disk."""
        if self._fs is None:
            descriptor = os.open(part, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            os.replace(part, self.path(name))
            return
        sending = self.path(f"{os.path.dirname(name) or '.'}/.{os.path.basename(name)}.part").replace("/./", "/")
        self._fs.makedirs(os.path.dirname(sending), exist_ok=True)
        self._fs.put_file(part, sending)
        if self._fs.exists(self.path(name)):
            self._fs.rm_file(self.path(name))
        self._fs.mv(sending, self.path(name))
        self.drop(part)

    def drop(self, part: str) -> None:
        """Takes away what `part` gave."""
        if os.path.isdir(part):
            shutil.rmtree(part)
        elif os.path.exists(part):
            os.unlink(part)
        if self._fs is not None:
            shutil.rmtree(os.path.dirname(part), ignore_errors=True)

    def write(self, name: str, data: bytes) -> None:
        part = self.part(name)
        try:
            Path(part).write_bytes(data)
            self.keep(part, name)
        except BaseException:
            self.drop(part)
            raise


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
            if before != json.loads(json.dumps(self._settings)):
                changed = sorted(
                    name
                    for name in before.keys() | self._settings.keys()
                    if before.get(name) != json.loads(json.dumps(self._settings.get(name)))
                )
                raise ValueError(
                    f"{self.folder.place} holds results of other settings ({', '.join(changed)}): choose another "
                    f"folder, or the settings in {SETTINGS}"
                )
        elif foreign := [name for name in existing if not name.startswith(".") and name != MANIFESTS]:
            raise ValueError(
                f"{self.folder.place} holds other files, {foreign[0]} for one: choose a folder that is empty or new"
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
                    f"{self.folder.place}: another run is at work in this folder; wait for it, or end it"
                ) from None

    def _read_manifests(self) -> set[str]:
        shards = set()
        for name in self.folder.names(MANIFESTS):
            if not _MANIFEST.fullmatch(name):
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
        if self.job.format == "reference":
            for result, entry in zip(results, entries, strict=True):
                entry["folder"] = next(file.partition("/")[0] for file in result.files if file)
                entry["line"] = result.files[""].decode()
                self._keep_folder(entry["folder"], result.files)
        else:
            part = self.folder.part(name)
            try:
                (_write_parquet if self.job.format == "parquet" else _write_tar)(part, results, self._settings)
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
        """failures.parquet; no file where there is none."""
        _, pq = arrow()
        listed = sorted(failures, key=lambda failure: (failure.name, failure.where))
        if listed:
            out = io.BytesIO()
            pq.write_table(failure_table(listed), out)
            self.folder.write(FAILURES, out.getvalue())
        elif FAILURES in self.folder.names():
            self.folder.remove(FAILURES)

    def write_lists(self) -> None:
        """What tells of all shards at once: sizes.json (samples of each tar file) or data.jsonl, the reference's."""
        if self.job.format == "webdataset":
            self.folder.write("sizes.json", json.dumps(self._sizes, indent=1, sort_keys=True).encode() + b"\n")
        elif self.job.format == "reference":
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


def read_manifests(place: str) -> tuple[dict[str, Any], dict[str, list[int]]]:
    """What tells of an output: its settings, and the number of patches of each clip, by the names of finished shards.

    Raises:
        FileNotFoundError: it is no output of a run. ValueError, KeyError, TypeError: the files are damaged.
    """
    try:
        with places.open_binary(places.join(place, SETTINGS)) as file:
            settings = json.load(file)
    except (FileNotFoundError, NotADirectoryError):
        raise FileNotFoundError(
            f"{places.printable(place)} is no output of select-dataset: there is no {SETTINGS} in it"
        ) from None
    shards = {}
    for name, manifest in places.files_below(places.join(place, MANIFESTS)):
        if _MANIFEST.fullmatch(name):
            with places.open_binary(manifest) as file:
                entries = [json.loads(line) for line in file]
            shards[name.removesuffix(".jsonl") + SUFFIX[settings["format"]]] = [int(e["tokens"]) for e in entries]
    return settings, shards


def _member(where: str) -> str:
    """What tells a clip from others in the same file: its name there, for members of tar files."""
    return where.partition("::")[2] if "::" in where else ""


def _write_parquet(path: str, results: list[Result], settings: dict[str, Any]) -> None:
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


def _write_tar(path: str, results: list[Result], settings: dict[str, Any]) -> None:
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar:
        for result in results:
            _tar.add_sample(tar, sample_key(result.facts["name"], result.facts["key"]), result.files)


def sample_key(name: str, key: str) -> str:
    """The key of a sample in tar shards: its name as far as that can be one, and its content."""
    stem = re.sub(r"[^A-Za-z0-9_-]+", "_", os.path.splitext(name)[0])[-48:]
    return f"{stem}-{key[:12]}-{hashlib.sha256(name.encode()).hexdigest()[:6]}"
