"""Where clips and results lie: files of this machine, or any URL that fsspec knows."""

from __future__ import annotations

import glob
import os
import posixpath
import re
from collections.abc import Iterator
from importlib import import_module
from typing import Any, BinaryIO

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*(::[A-Za-z][A-Za-z0-9+.-]*)*://")


def is_url(place: str) -> bool:
    """Whether it is a URL, other than of a local file."""
    return _URL.match(place) is not None


def local(place: str | os.PathLike[str]) -> str:
    """The place without `file://`."""
    text = os.fspath(place)
    return text.removeprefix("file://") if text.startswith("file://") else text


def filesystem(url: str) -> tuple[Any, str]:
    """fsspec's file system of a URL, and the path in it."""
    try:
        core = import_module("fsspec.core")
    except ImportError as error:
        raise ImportError(f"{url} needs fsspec: pip install 'ove_codec[dataset]'") from error
    fs, path = core.url_to_fs(url)
    return fs, path


def join(folder: str, name: str) -> str:
    """A place from its folder on; `name` may be a place of its own."""
    if is_url(name) or os.path.isabs(name):
        return name
    return posixpath.join(folder, name) if is_url(folder) else os.path.join(folder, name)


def parent(place: str) -> str:
    return posixpath.dirname(place) if is_url(place) else os.path.dirname(place)


def is_folder(place: str) -> bool:
    if not is_url(place):
        return os.path.isdir(place)
    fs, path = filesystem(place)
    return bool(fs.isdir(path))


def stamp(place: str) -> tuple[int, str]:
    """Size, and what changes when the content does; -1 and "" where that is unknown. OSError where it is gone."""
    if not is_url(place):
        status = os.stat(place)
        return status.st_size, str(status.st_mtime_ns)
    fs, path = filesystem(place)
    info = fs.info(path)
    known = (
        info.get(name) for name in ("ETag", "etag", "mtime", "LastModified", "last_modified", "updated", "created")
    )
    size = info.get("size")
    return (-1 if size is None else int(size)), str(next((value for value in known if value is not None), ""))


def open_binary(place: str) -> BinaryIO:
    if not is_url(place):
        return open(place, "rb")
    fs, path = filesystem(place)
    file: BinaryIO = fs.open(path, "rb")
    return file


def read_range(place: str, offset: int, size: int) -> bytes:
    """Bytes [offset, offset + size); fewer where the file ends before."""
    if not is_url(place):
        with open(place, "rb") as file:
            file.seek(offset)
            return file.read(size)
    fs, path = filesystem(place)
    data: bytes = fs.cat_file(path, start=offset, end=offset + size)
    return data


def files_below(folder: str) -> Iterator[tuple[str, str]]:
    """Every file of a folder and its folders, in the order of their names: the name from the folder on, and the place.

    Folders that cannot be read raise OSError.
    """
    if is_url(folder):
        fs, root = filesystem(folder)
        root = root.rstrip("/")
        for path in sorted(fs.find(root)):
            yield path[len(root) :].lstrip("/"), fs.unstrip_protocol(path)
        return

    def refuse(error: OSError) -> None:
        raise error

    found = []
    for path, _, names in os.walk(folder, onerror=refuse, followlinks=True):
        found += [(os.path.relpath(os.path.join(path, name), folder), os.path.join(path, name)) for name in names]
    yield from sorted(found)


def matching(pattern: str) -> list[str]:
    """The places that fit a pattern with `*`, `?`, `[...]` and `**`, sorted."""
    if not is_url(pattern):
        return sorted(glob.glob(pattern, recursive=True))
    fs, path = filesystem(pattern)
    return sorted(fs.unstrip_protocol(found) for found in fs.glob(path))


def printable(name: str) -> str:
    """The name with `\\xNN` for bytes that are not UTF-8, as file names may have them."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
