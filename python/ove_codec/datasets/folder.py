"""A folder of results, on this machine or at a URL, in which files appear whole."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import Any, BinaryIO

from ove_codec.datasets import places


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
