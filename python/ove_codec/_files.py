"""Files that appear whole or not at all."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(path: str | os.PathLike[str], *, nameless: bool = False) -> Iterator[Path]:
    """A file to write, which takes the place of `path` if all goes well and vanishes otherwise.

    With `nameless` it has no name in its folder until it is complete, where the system knows such files: nothing is
    left even where the process is killed.

    It lies in the same folder, so that the disk is the same and a missing folder is told at once. Devices and pipes are
    written directly. A disk that fills up is told as an OSError with the name of `path` and the remedy.
    """
    target = Path(os.path.realpath(path))
    if target.is_dir():
        raise IsADirectoryError(f"{os.fspath(path)} is a directory; name a file in it")
    if target.exists() and not target.is_file():
        with _told_of(path):
            yield target
        return
    part = target.with_name(f".{target.stem}.{os.getpid()}.part{target.suffix}")
    file = _open_nameless(target.parent) if nameless else None
    if file is not None:
        try:
            with _told_of(path):
                yield Path(f"/proc/self/fd/{file}")
                os.link(f"/proc/self/fd/{file}", part, src_dir_fd=file, follow_symlinks=True)
                part.replace(target)
        finally:
            os.close(file)
            part.unlink(missing_ok=True)
        return
    try:
        try:
            part.open("xb").close()
        except OSError as error:
            raise OSError(error.errno, error.strerror, os.fspath(path)) from None
        with _told_of(path):
            yield part
            part.replace(target)
    finally:
        part.unlink(missing_ok=True)


def _open_nameless(folder: Path) -> int | None:
    """A descriptor of a new file without a name; None where there can be none, or the folder cannot be written to."""
    if not hasattr(os, "O_TMPFILE") or not os.path.isdir("/proc/self/fd"):
        return None
    try:
        return os.open(folder, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o666)
    except OSError:
        return None


@contextmanager
def _told_of(path: str | os.PathLike[str]) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise
        said = f"{os.strerror(error.errno)}: make room, or name a file on another disk, and run again"
        raise OSError(error.errno, said, os.fspath(path)) from error
