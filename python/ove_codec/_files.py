"""Files that appear whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A file to write, which takes the place of `path` if all goes well and vanishes otherwise.

    It lies in the same folder, so that the disk is the same and a missing folder is told at once. Devices and pipes are
    written directly.
    """
    target = Path(os.path.realpath(path))
    if target.is_dir():
        raise IsADirectoryError(f"{os.fspath(path)} is a directory; name a file in it")
    if target.exists() and not target.is_file():
        yield target
        return
    part = target.with_name(f".{target.stem}.{os.getpid()}.part{target.suffix}")
    try:
        try:
            part.open("xb").close()
        except OSError as error:
            raise OSError(error.errno, error.strerror, os.fspath(path)) from None
        yield part
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)
