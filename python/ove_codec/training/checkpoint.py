"""Checkpoints of a training run: written aside, whole or not at all, readable by any number of ranks.

A checkpoint is a directory `step-00001000`: tensors as safetensors, by `torch.distributed.checkpoint`, each rank its
own part; `state.json` with everything that is no tensor; and `complete.json`, the sizes and CRC-32 of all files,
written last, before the directory gets its name. No file is a pickle. A lock in the folder keeps other runs away.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import re
import shutil
import threading
import warnings
import zlib
from collections.abc import Mapping
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import torch
import torch.distributed.checkpoint as dcp
from torch import Tensor
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor import DTensor, Shard

from ove_codec.training.ranks import Ranks

STATE_FILE = "state.json"
COMPLETE_FILE = "complete.json"
LOCK_FILE = "lock"
_NAME = re.compile(r"step-(\d{8,})")
_DAMAGED = ".damaged"
logger = logging.getLogger("ove_codec.training")


def sharded(local: Tensor, rows: int, mesh: DeviceMesh) -> DTensor:
    """This rank's rows (see `Ranks.shard`) as part of a tensor with `rows` rows; shares their memory."""
    shape = torch.Size([rows, *local.shape[1:]])
    stride = torch.empty(shape, device="meta").stride()
    return DTensor.from_local(local, mesh, [Shard(0)], run_check=False, shape=shape, stride=stride)


def complete(folder: Path) -> list[Path]:
    """The whole checkpoints of a run, oldest first."""
    if not folder.is_dir():
        return []
    found = [path for path in folder.iterdir() if _NAME.fullmatch(path.name) and (path / COMPLETE_FILE).is_file()]
    return sorted(found, key=_step)


def _step(checkpoint: Path) -> int:
    return int(checkpoint.name[5:])


def read_state(checkpoint: Path) -> dict[str, Any]:
    """The content of `state.json`.

    Raises:
        FileNotFoundError: the directory is no checkpoint.
        ValueError: it is damaged: a file is missing or has another size than when it was written.
    """
    if not (checkpoint / COMPLETE_FILE).is_file():
        raise FileNotFoundError(f"{checkpoint} is not a complete checkpoint: it has no {COMPLETE_FILE}")
    try:
        sizes = json.loads((checkpoint / COMPLETE_FILE).read_text(encoding="utf-8"))["files"]
        for name, size in sizes.items():
            file = checkpoint / Path(name).name
            if not file.is_file() or file.stat().st_size != size:
                raise ValueError(f"{file} is missing, or does not have {size} bytes")
        state = json.loads((checkpoint / STATE_FILE).read_text(encoding="utf-8"))
        if not isinstance(state, dict):
            raise ValueError(f"{STATE_FILE} holds no object")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"the checkpoint {checkpoint} is damaged: {error}") from error
    return state


def check(checkpoint: Path) -> None:
    """Reads every file of a checkpoint, and compares it with the checksums that it was written with.

    Raises:
        FileNotFoundError, ValueError: as `read_state`.
    """
    read_state(checkpoint)
    facts = json.loads((checkpoint / COMPLETE_FILE).read_text(encoding="utf-8"))
    for name, expected in facts.get("crc32", {}).items():  # older checkpoints have none
        file = checkpoint / Path(name).name
        if _crc32(file) != expected:
            raise ValueError(f"the checkpoint {checkpoint} is damaged: {file.name} has changed since it was written")


def newest_whole(folder: Path) -> Path | None:
    """The newest checkpoint whose files are what was written; None where there are no checkpoints.

    Newer ones that are damaged are renamed, so that they neither count nor are lost.

    Raises:
        ValueError: there are checkpoints, and all are damaged.
    """
    damaged: list[tuple[Path, str]] = []
    for path in reversed(complete(folder)):
        try:
            check(path)
        except (ValueError, OSError) as error:
            damaged.append((path, str(error)))
            continue
        for bad, reason in damaged:
            aside = bad.with_name(bad.name + _DAMAGED)
            shutil.rmtree(aside, ignore_errors=True)
            bad.rename(aside)
            logger.warning("%s; it is renamed to %s, and training resumes from %s", reason, aside.name, path)
        return path
    if damaged:
        raise ValueError(
            f"{damaged[0][1]}; no checkpoint in {folder} is complete: restore one from a backup, or use a new "
            "output.folder"
        )
    return None


def load_tensors(checkpoint: Path, tensors: Mapping[str, Tensor], group: Any = None, *, alone: bool = False) -> None:
    """Reads tensors in place, by name; each rank of the group what it holds of them, or this process `alone`.

    Raises:
        ValueError: one is missing, or has another shape.
    """
    try:
        reader = dcp.HuggingFaceStorageReader(str(checkpoint))
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "torch.distributed is disabled")  # so it is, with `alone`
            dcp.load(dict(tensors), storage_reader=reader, process_group=group, no_dist=alone)
    except dcp.api.CheckpointException as error:
        reasons = {" ".join(str(e[0] if isinstance(e, tuple) else e).split()) for e in error.failures.values()}
        raise ValueError(
            f"{checkpoint} does not fit this recipe: {'; '.join(sorted(reasons))}; use a new output.folder"
        ) from error


class Checkpoints:
    """Writes the checkpoints of a run, one at a time, in the background, and keeps the newest.

    Args:
        folder: of the run.
        keep: how many stay.
        ranks: the processes; all of them call every method, in the same order.
        keep_every: checkpoints of steps that it divides stay too.

    Raises:
        BlockingIOError: another run is at work in the folder.
    """

    def __init__(self, folder: Path, keep: int, ranks: Ranks, keep_every: int | None = None) -> None:
        self.folder, self.keep, self.ranks, self.keep_every = folder, keep, ranks, keep_every
        self.pending: Future[Any] | None = None
        self.failure: BaseException | None = None
        self.finished = threading.Event()
        self.finished.set()
        self._lock: Any = None
        if ranks.rank == 0:
            folder.mkdir(parents=True, exist_ok=True)
            self._lock = _locked(folder)
            for left in folder.glob(".step-*.partial"):
                shutil.rmtree(left)
        ranks.barrier()

    def save(self, step: int, tensors: Mapping[str, Tensor], state: Mapping[str, Any], *, wait: bool = False) -> None:
        """Begins to write a checkpoint. Tensors are copied before it returns, so training may change them.

        Raises:
            OSError: the previous one could not be written.
        """
        self.wait()
        part = self.folder / f".step-{step:08}.partial"
        if self.ranks.rank == 0:
            shutil.rmtree(part, ignore_errors=True)
            part.mkdir(parents=True)
            _write(part / STATE_FILE, state)
        self.ranks.barrier()
        writer = dcp.HuggingFaceStorageWriter(str(part), save_distributed=True)
        self.finished.clear()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            future: Any = dcp.async_save(dict(tensors), storage_writer=writer, process_group=self.ranks.background)
        self.pending = getattr(future, "upload_completion", future)
        assert self.pending is not None
        self.pending.add_done_callback(lambda done: self._finish(done, part, step))
        if wait:
            self.wait()

    def wait(self) -> None:
        """Returns when what was begun is written, on all ranks."""
        if self.pending is None:
            return
        self.finished.wait()
        self.pending = None
        if self.failure is not None:
            failure, self.failure = self.failure, None
            raise OSError(f"the checkpoint could not be written: {failure}") from failure
        self.ranks.barrier()

    def close(self) -> None:
        """Lets other runs into the folder."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def _finish(self, done: Future[Any], part: Path, step: int) -> None:
        """When all ranks have written: completes the directory. Runs in the writing thread."""
        try:
            done.result()
            if self.ranks.rank == 0:
                files = {file.name: file.stat().st_size for file in sorted(part.iterdir())}
                checksums = {name: _crc32(part / name) for name in files}
                _write(part / COMPLETE_FILE, {"step": step, "files": files, "crc32": checksums})
                final = self.folder / f"step-{step:08}"
                shutil.rmtree(final, ignore_errors=True)
                part.rename(final)
                _sync(self.folder)
                for old in complete(self.folder)[: -self.keep]:
                    if self.keep_every is not None and _step(old) % self.keep_every == 0:
                        continue
                    # Without its mark it is no checkpoint any more, however far the removal gets.
                    (old / COMPLETE_FILE).unlink()
                    shutil.rmtree(old)
        except BaseException as error:
            self.failure = error
        finally:
            self.finished.set()


def _locked(folder: Path) -> Any:
    """A file in the folder that this process locks until it is closed; processes that are forked do not hold it."""
    file = open(folder / LOCK_FILE, "a")  # noqa: SIM115 (held until close)
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        raise BlockingIOError(
            f"{folder}: another run is using this folder; wait for it, stop it, or choose another output.folder"
        ) from None
    return file


def _crc32(file: Path) -> str:
    value = 0
    with open(file, "rb") as content:
        while block := content.read(1 << 22):
            value = zlib.crc32(block, value)
    return f"{value:08x}"


def _write(file: Path, values: Mapping[str, Any]) -> None:
    with open(file, "w", encoding="utf-8") as out:
        json.dump(values, out, indent=1, sort_keys=True)
        out.flush()
        os.fsync(out.fileno())


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
