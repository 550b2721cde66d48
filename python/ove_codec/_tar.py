"""Tar files in the layout of webdataset: a sample is the neighbouring members whose names agree up to the first dot."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Mapping
from typing import BinaryIO

Entry = tuple[str, dict[str, tuple[int, int]]]


class TruncatedError(tarfile.ReadError):
    """The file ends before its last member does."""


def split_name(name: str) -> tuple[str, str]:
    """Key and suffix of a member: `a/7.left.MP4` is `a/7` and `left.mp4`."""
    folder, _, base = name.rpartition("/")
    stem, _, suffix = base.partition(".")
    return (f"{folder}/{stem}" if folder else stem), suffix.lower()


def index(file: BinaryIO) -> list[Entry]:
    """Key, and by suffix offset and size of each member, of all samples. Reads headers only.

    Raises tarfile.TarError where it is no uncompressed tar file or a header is damaged, TruncatedError where the last
    member is cut off.
    """
    entries: list[Entry] = []
    size = file.seek(0, io.SEEK_END)
    file.seek(0)
    with tarfile.open(fileobj=file, mode="r:", encoding="utf-8", errors="surrogateescape") as tar:
        for member in tar:
            if not member.isfile():
                continue
            key, suffix = split_name(member.name)
            if member.offset_data + member.size > size:
                raise TruncatedError(f"cut off inside {member.name}, at byte {size}")
            if not entries or entries[-1][0] != key:
                entries.append((key, {}))
            entries[-1][1][suffix] = (member.offset_data, member.size)
    return entries


def add_sample(tar: tarfile.TarFile, key: str, members: Mapping[str, bytes]) -> None:
    """Appends a sample. Neither dates nor owners are written: the same sample gives the same bytes."""
    for suffix, data in members.items():
        info = tarfile.TarInfo(f"{key}.{suffix}")
        info.size = len(data)
        tar.addfile(info, io.BytesIO(data))
