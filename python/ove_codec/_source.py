"""Where a video comes from, and what its readers share, whatever decodes it."""

from __future__ import annotations

import copy
import io
import operator
import os
import stat
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from html import escape
from os import PathLike
from typing import Any, BinaryIO, ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt
from typing_extensions import Self

from ove_codec import _core
from ove_codec._backend import CPU, Backend
from ove_codec.limits import Limits


@dataclass(frozen=True)
class VideoStream:
    """One of several video streams of a source. Pass it in place of the source: ``select(VideoStream(path, 2))``.

    Without it, libavformat chooses: a stream marked as the default, then one with more pictures or a higher bit rate.

    Attributes:
        file: a path, bytes, or a binary file object.
        stream_index: number of the stream among all streams of the container, sound too, from 0; as ffprobe counts.

    Reading raises DecodeError if it is not a video stream; the message lists the video streams.
    """

    file: str | PathLike[str] | bytes | bytearray | memoryview | BinaryIO
    stream_index: int

    def __post_init__(self) -> None:
        if not 0 <= operator.index(self.stream_index) < 1 << 31:
            raise ValueError(f"stream_index must be 0 or more, not {self.stream_index}")


Source = str | PathLike[str] | bytes | bytearray | memoryview | BinaryIO | VideoStream
_CHUNK = 1 << 20

# What a video may have of its pictures; "references" are the pictures that each of them needs to be decoded.
SIGNALS = frozenset({"motion", "ref_poc", "residual", "qp", "cu_size", "skip", "bits", "slices", "references"})


def rereadable(source: Any) -> Any:
    """The source, or, where its bytes can be read only once, all of them: of a file object that cannot seek, or of a
    pipe or device that a path names. A named pipe is waited for until somebody writes to it."""
    if isinstance(source, VideoStream):
        return replace(source, file=rereadable(source.file))
    if isinstance(source, str | PathLike):
        try:
            mode = os.stat(source).st_mode
        except (OSError, ValueError):
            return source  # reading it tells why
        if not (stat.S_ISFIFO(mode) or stat.S_ISCHR(mode) or stat.S_ISSOCK(mode)):
            return source
        with open(source, "rb", buffering=0) as pipe:
            return _read_all(pipe)
    return _read_all(source) if hasattr(source, "read") and not _seekable(source) else source


def _seekable(file: Any) -> bool:
    if hasattr(file, "seekable"):
        return bool(file.seekable())
    try:  # an object with read and seek alone
        file.seek(0, os.SEEK_END)
    except (AttributeError, OSError):
        return False
    return True


def is_fetched(source: Any) -> bool:
    """Whether this is a file object whose bytes are neither in memory nor in a local file."""
    if not hasattr(source, "read") or isinstance(source, io.BytesIO):
        return False
    try:
        source.fileno()
    except (AttributeError, OSError):
        return True
    return False


def _read_all(file: Any) -> bytes:
    chunks = []
    while chunk := file.read(_CHUNK):
        if isinstance(chunk, str):
            raise TypeError("the file object is not binary: open it with mode 'rb'")
        chunks.append(chunk)
    if chunk is None:
        raise ValueError("the file object does not block: read() returned None")
    return b"".join(chunks)


class Loss(NamedTuple):
    """Packets whose pictures are lost, up to the next random access point.

    Attributes:
        packet: number of the first, counted from 0 over all packets of the stream.
        end: number of the packet after the last.
        pts: seconds of the first packet; None if it has no time.
        reason: what was wrong with it.
    """

    packet: int
    end: int
    pts: float | None
    reason: str


_INDICES = (
    "_opened",
    "index",
    "pixel_index",
    "_tables",
    "_known",
)  # attributes that are read again where they are needed


class SourceVideo(ABC):
    """A video that is read from its source again for every iteration; see ``Video``."""

    motion_only = False
    on_damage = "raise"  # or "skip": what damage costs is left out
    index: Any
    _signals: ClassVar[frozenset[str]] = SIGNALS

    def __init__(self, source: Source, threads: int = 0, limits: Limits | None = None, info: Any = None) -> None:
        if threads < 0:
            raise ValueError(f"threads must be 0 (all cores) or more, not {threads}")
        source = rereadable(source)
        self.source: Source = source
        self.threads = threads
        self.limits = limits or Limits()
        if info is None:
            self._opened = _core.OpenedSource(source)
            info = self._opened.info
        self.info: dict[str, Any] = info
        self._backend: Backend = CPU

    @property
    def name(self) -> str:
        """What messages call it."""
        inner = self._inner
        return os.fspath(inner) if isinstance(inner, str | os.PathLike) else "<bytes>"

    @property
    def _readable(self) -> Any:
        """The source, as the functions of _core open it fastest."""
        return vars(self).get("_opened", self.source)

    @property
    def _inner(self) -> Any:
        """The source without a choice of its stream."""
        return self.source.file if isinstance(self.source, VideoStream) else self.source

    def _check_unchanged(self, info: dict[str, Any]) -> None:
        """Raises DecodeError where what the source is now is not what it was when the video was opened."""
        for fact in ("codec", "width", "height", "pixel_format", "time_base"):
            if info[fact] != self.info[fact]:
                raise _core.DecodeError(
                    f"{self.name}: its {fact} is {info[fact]}, but was {self.info[fact]} when the video was opened: "
                    "the source has changed; open it again"
                )

    def has(self, name: str) -> bool:
        """Whether pictures have "motion", "ref_poc", "residual", "qp", "cu_size", "skip", "bits" or "slices", and the
        index their "references": the other pictures that each needs. Raises ValueError for other names."""
        if name not in SIGNALS:
            raise ValueError(f"a video has no {name!r}; choose from {', '.join(sorted(SIGNALS))}")
        return name in self._signals

    @property
    def on_cpu(self) -> Self:
        """The video whose pictures have NumPy arrays, whatever device it was opened for."""
        return self if self._backend.is_cpu else self._on(CPU)

    def _on(self, backend: Backend) -> Self:
        """The same video with the arrays of its pictures on the backend's device."""
        video = copy.copy(self)
        video._backend = backend
        return video

    def __len__(self) -> int:
        return len(self._table)

    def __iter__(self) -> Iterator[Any]:
        return self._backend.pictures(self._all())

    def __getitem__(self, key: int | slice) -> Any:
        """`video[i]`: the picture of display index `i`, from the end where it is negative; `video[i:j:k]`: a list.

        Decodes what these pictures need, each time; a list holds all of them in memory. Raises IndexError for an index
        that is not in the video.
        """
        count = len(self)
        signals = {"residual": self.has("residual")}
        if isinstance(key, slice):
            wanted = range(count)[key]
            pictures = list(self.read(wanted, **signals))
            return pictures[::-1] if wanted.step < 0 else pictures
        number = operator.index(key)
        if not -count <= number < count:
            raise IndexError(f"picture {number} is not in the video, which has {count} pictures")
        picture = next(self.read([number % count], **signals), None)
        if picture is None:
            raise _core.DecodeError(f"{self.name}: it ended before picture {number % count}")
        return picture

    def __repr__(self) -> str:
        info = self.info
        turned = f" turned by {info['rotation']} degrees" if info["rotation"] else ""
        if "index" in vars(self):  # what is not read yet is not read for this
            length = f", {len(self)} pictures"
        else:
            length = f", {info['frame_count']} pictures" if info["frame_count"] else ""
        name = self.name if len(self.name) < 80 else f"...{self.name[-76:]}"
        return f"{type(self).__name__}({name!r}: {info['codec']} {info['width']}x{info['height']}{turned}{length})"

    def _repr_html_(self) -> str:
        """A table of facts, which notebooks show."""
        info = self.info
        numerator, denominator = info["frame_rate"]
        facts = {
            "video": self.name,
            "codec": f"{info['codec']} {info['profile']}",
            "size": f"{info['width']} x {info['height']}, {info['pixel_format']}",
            "rotation": f"{info['rotation']} degrees",
            "frame rate": f"{numerator / denominator:.3f} /s" if denominator else "unknown",
            "has": ", ".join(sorted(self._signals)),
        }
        return _cells(facts)

    @abstractmethod
    def _all(self) -> Iterator[Any]:
        """Every picture in display order, with NumPy arrays."""

    @abstractmethod
    def read(self, frame_ids: Iterable[int], *, residual: bool = True) -> Iterator[Any]:
        """Gives the pictures of some display indices, each once, in ascending order."""

    def _scorable(self, frame_ids: Iterable[int], residual: bool) -> Iterator[Any]:
        """What ``read`` gives, for those who ask only for the distances between POCs."""
        return self.read(frame_ids, residual=residual)

    @property
    def _table(self) -> Any:
        """Its pts, packet and packet_bytes are those of ``index``, whatever tells them."""
        return self.index

    def _index_of(self, frame_ids: Iterable[int]) -> Any:
        """An index that knows these pictures; ``index`` is one."""
        return self.index

    def __getstate__(self) -> dict[str, Any]:
        if not isinstance(self._inner, str | PathLike | bytes | bytearray):
            raise TypeError(
                f"a video read from a {type(self._inner).__name__} cannot be pickled: open it from a path or from bytes"
            )
        return {name: value for name, value in vars(self).items() if name not in _INDICES}


def _cells(facts: dict[str, Any]) -> str:
    """A table of names and values in HTML."""
    rows = (f"<tr><th>{escape(name)}</th><td>{escape(str(value))}</td></tr>" for name, value in facts.items())
    return f"<table>{''.join(rows)}</table>"


def position(times: npt.NDArray[np.float64], index: int | None, pts: float | None) -> int:
    """The display index that ``seek`` is asked for, of pictures shown at these seconds; raises as ``Video.seek``."""
    if (index is None) == (pts is None) or pts != pts:
        raise ValueError(f"seek takes either index, a display index, or pts, a time in seconds, not {index} and {pts}")
    if pts is not None:
        later = np.flatnonzero(times > pts)
        index = max(0, int(later[0]) - 1) if len(later) else len(times) - 1
    assert index is not None
    if not 0 <= index < len(times):
        raise IndexError(f"picture {index} is not in the video, which has {len(times)} pictures")
    return index
