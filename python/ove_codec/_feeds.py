"""Bytes of a source that is not complete yet: a pipe, a socket, a file that grows. Reading waits, but not for ever."""

from __future__ import annotations

import os
import queue
import select
import socket
import stat
import threading
import time
from os import PathLike
from typing import Any

_CHUNK = 1 << 16
_POLL = 0.05  # seconds between looks at a file that grows


class _Descriptor:
    """A file, pipe, terminal or socket by its descriptor, which is closed with this."""

    def __init__(self, fd: int, name: str, timeout: float | None, follow: bool) -> None:
        self._fd, self.name, self._timeout = fd, name, timeout
        self._grows = follow and stat.S_ISREG(os.fstat(fd).st_mode)

    def read(self, size: int) -> bytes:
        """Some bytes, none at the end."""
        end = None if self._timeout is None else time.monotonic() + self._timeout
        while True:
            left = None if end is None else max(0.0, end - time.monotonic())
            if not select.select([self._fd], [], [], left)[0]:
                raise TimeoutError(f"{self.name}: no data arrived for {self._timeout:g} seconds")
            try:
                chunk = os.read(self._fd, min(size, _CHUNK))
            except BlockingIOError:
                continue
            if chunk or not self._grows or (left is not None and left <= 0):
                return chunk
            time.sleep(_POLL if left is None else min(_POLL, left))

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
        self._fd = -1


class _FileObject:
    """A binary file object, read in a thread of its own, so that waiting for it can end."""

    def __init__(self, file: Any, timeout: float | None) -> None:
        name = getattr(file, "name", None)
        self.name = name if isinstance(name, str) else "<file object>"
        self._timeout = timeout
        self._chunks: queue.Queue[bytes | BaseException] = queue.Queue(maxsize=16)
        self._rest = b""
        self._ended = self._closed = False
        self._thread = threading.Thread(target=self._run, args=(file,), daemon=True, name="ove_codec feed")
        self._thread.start()

    def _run(self, file: Any) -> None:
        read = getattr(file, "read1", file.read)
        try:
            while not self._closed:
                chunk = read(_CHUNK)
                if not isinstance(chunk, bytes | bytearray | memoryview):
                    raise TypeError(f"the file object must be binary and block: read() gave {type(chunk).__name__}")
                self._put(bytes(chunk))
                if not chunk:
                    return
        except BaseException as error:  # raised where it is read
            self._put(error)

    def _put(self, item: bytes | BaseException) -> None:
        while not self._closed:
            try:
                return self._chunks.put(item, timeout=_POLL)
            except queue.Full:
                continue

    def read(self, size: int) -> bytes:
        if not self._rest and not self._ended:
            try:
                item = self._chunks.get(timeout=self._timeout)
            except queue.Empty:
                raise TimeoutError(f"{self.name}: no data arrived for {self._timeout:g} seconds") from None
            if isinstance(item, BaseException):
                raise item
            self._rest, self._ended = item, not item
        chunk, self._rest = self._rest[:size], self._rest[size:]
        return chunk

    def close(self) -> None:
        self._closed = True


def feed_of(source: Any, timeout: float | None, follow: bool) -> Any:
    """An object with `read`, `close` and `name` over a path (of a file, pipe, device or socket), "-" for standard
    input, a socket or a binary file object. Reading raises TimeoutError after `timeout` seconds without a byte; with
    `follow`, a regular file ends only then."""
    if timeout is not None and not 0 < timeout <= threading.TIMEOUT_MAX:
        raise ValueError(f"timeout must be a positive number of seconds, or None, not {timeout}")
    if isinstance(source, socket.socket):
        return _Descriptor(os.dup(source.fileno()), "<socket>", timeout, follow)
    if not isinstance(source, str | PathLike):
        if not hasattr(source, "read"):
            raise TypeError(f"a stream must be a path, a socket or a file object, not {type(source).__name__}")
        return _FileObject(source, timeout)
    name = os.fspath(source)
    if name == "-":
        return _Descriptor(os.dup(0), "<standard input>", timeout, follow)
    if stat.S_ISSOCK(os.stat(name).st_mode):
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(timeout)
            connection.connect(name)
            return _Descriptor(os.dup(connection.fileno()), name, timeout, follow)
    # Opening a named pipe would wait for somebody who writes to it, for ever.
    return _Descriptor(os.open(name, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), name, timeout, follow)
