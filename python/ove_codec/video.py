"""Videos as their codec sees them: motion, residual, quantiser and bits of every picture."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Iterator
from functools import cached_property
from os import PathLike
from typing import TYPE_CHECKING, Any, BinaryIO, Literal, overload

import numpy as np
import numpy.typing as npt

from ove_codec import _core
from ove_codec.cuda import is_cpu
from ove_codec.limits import Limits

if TYPE_CHECKING:
    from ove_codec._device_pictures import DeviceVideo
    from ove_codec.motion_only import MotionVideo

Source = str | PathLike[str] | bytes | bytearray | memoryview | BinaryIO


class Video:
    """An HEVC video. Iterating gives every picture in display order, decoded in C++ without the GIL.

    Every iteration begins at the start of the video. After damage, the pictures that precede it in decoding order are
    given, then the error is raised; where the resolution changes, iteration goes on with pictures of the new size.

    A video can be pickled if its source is a path or bytes. Its index is left out and read again where it is needed.
    """

    motion_only = False

    def __init__(self, source: Source, threads: int = 0, limits: Limits | None = None) -> None:
        if threads < 0:
            raise ValueError(f"threads must be 0 (all cores) or more, not {threads}")
        stream: Any = source
        if hasattr(stream, "read") and not stream.seekable():
            source = stream.read()
        self.source: Source = source
        self.threads = threads
        self.limits = limits or Limits()
        self.info: dict[str, Any] = _core.stream_info(source)

    def __iter__(self) -> Iterator[_core.Picture]:
        return iter(_core.Reader(self.source, threads=self.threads, limits=self.limits.as_dict()))

    def __getstate__(self) -> dict[str, Any]:
        if not isinstance(self.source, str | PathLike | bytes | bytearray):
            raise TypeError(
                f"a video whose source is a {type(self.source).__name__} cannot be pickled: open it by its path, or "
                f"from bytes"
            )
        return {name: value for name, value in vars(self).items() if name != "index"}

    def __len__(self) -> int:
        return len(self.index)

    @cached_property
    def index(self) -> _core.VideoIndex:
        """The pictures in display order by their headers alone; reads the video once, without its slice data."""
        return _core.VideoIndex(self.source, limits=self.limits.as_dict())

    def read(self, frame_ids: Iterable[int], *, residual: bool = True) -> Iterator[_core.Picture]:
        """Gives the pictures of some display indices, each once, in ascending order.

        Nothing is decoded that they do not need; without `residual`, no residual is. Where the container can seek,
        reading leaves out the groups of pictures between those that they need. Raises IndexError for an index that is
        not in the video.
        """
        return self._read(frame_ids, residual=residual)

    def _read(self, frame_ids: Iterable[int], *, residual: bool, coefficients: bool = False) -> Iterator[_core.Picture]:
        """``read``; or, for a GPU, with the coefficients of residuals instead, which only it reconstructs."""
        wanted = sorted({int(i) for i in frame_ids})
        return iter(
            _core.Reader(
                self.source,
                threads=self.threads,
                residual=residual,
                coefficients=coefficients,
                limits=self.limits.as_dict(),
                index=self.index,
                frame_ids=wanted,
            )
        )

    def _progress(self, total: int) -> Callable[[int], object] | None:
        """What is told now and then how many of `total` pictures are scored."""
        return None

    def seek(
        self, *, index: int | None = None, pts: float | None = None, residual: bool = True
    ) -> Iterator[_core.Picture]:
        """Gives a picture and all that follow it in display order, as iterating over the video would.

        The picture is that of display index `index`, or the one shown at `pts` seconds: the last that is not later, the
        first one before its time. Reading begins at the nearest random access point from which it can be decoded; where
        the container can seek, nothing before that is read. The video itself has no position: every call gives an
        iterator of its own. Raises IndexError for an index that is not in the video, ValueError for other arguments
        than one of both.
        """
        return self.read(range(position(self.index.pts, index, pts), len(self)), residual=residual)


def position(times: npt.NDArray[np.float64], index: int | None, pts: float | None) -> int:
    """The display index that ``seek`` is asked for, of pictures shown at these seconds; raises as ``Video.seek``."""
    if (index is None) == (pts is None) or pts != pts:
        raise ValueError(f"seek takes index or pts, a number of pictures or of seconds, not {index} and {pts}")
    if pts is not None:
        later = np.flatnonzero(times > pts)
        index = max(0, int(later[0]) - 1) if len(later) else len(times) - 1
    assert index is not None
    if not 0 <= index < len(times):
        raise IndexError(f"picture {index} is not in the video, which has {len(times)} pictures")
    return index


@overload
def open(
    source: Source, threads: int = ..., limits: Limits | None = ..., *, device: Literal["cpu"] | None = ...
) -> Video: ...
@overload
def open(source: Source, threads: int = ..., limits: Limits | None = ..., *, device: Any) -> DeviceVideo: ...
def open(
    source: Source, threads: int = 0, limits: Limits | None = None, *, device: Any = None
) -> Video | MotionVideo | DeviceVideo:
    """Opens an HEVC video: a path, bytes, or a binary file object (read whole if it cannot seek).

    H.264, MPEG-4, MPEG-2 and MPEG-1 give a ``MotionVideo``, whose pictures have motion vectors alone
    (``picture.motion_only``); type checkers, which cannot know, are told a ``Video``.

    `threads` is the number of decoding threads with the caller's, 0 for all cores. With a GPU as `device` (as for
    ``select``) the arrays of its pictures are CUDA tensors, each of which goes up when it is asked for. Reading what
    exceeds the `limits` (those of ``Limits()`` where None) raises UnsupportedStreamError. Raises DecodeError where
    nothing can be read, UnsupportedStreamError where the video is of yet another codec, and RuntimeError where nothing
    can be done on the device.
    """
    video: Any = Video(source, threads, limits)
    codec = video.info["codec"]
    if codec != "hevc" and _core.exports_motion(codec):
        from ove_codec.motion_only import MotionVideo

        video = MotionVideo(video.source, threads, limits, video.info)
    elif codec != "hevc":
        _core.Reader(video.source)  # raises, with the remedy
    if is_cpu(device):
        return video
    from ove_codec._device_pictures import DeviceVideo

    return DeviceVideo(video, device)


def framecrc(source: Source, threads: int = 0, limits: Limits | None = None) -> Iterator[dict[str, int | str]]:
    """Gives, for every picture in decoding order, checksums of its motion and residual.

    `motion_crc32` is the CRC-32 of an int32 little-endian array (h4, w4, 7): pred, then x, y, POC of list 0, then of
    list 1; `residual_crc32` that of `residual` as little-endian int16. Both as eight hexadecimal digits.
    """
    limits = limits or Limits()
    for picture in _core.Reader(source, threads=threads, decoding_order=True, limits=limits.as_dict()):
        motion = np.empty((*picture.pred.shape, 7), "<i4")
        motion[..., 0] = picture.pred
        for i in range(2):
            motion[..., 1 + 3 * i : 3 + 3 * i] = picture.mv[:, :, i]
            motion[..., 3 + 3 * i] = picture.ref_poc[:, :, i]
        residual = np.ascontiguousarray(picture.residual, "<i2")
        yield {
            "poc": picture.poc,
            "width": picture.coded_width,
            "height": picture.coded_height,
            "motion_crc32": f"{zlib.crc32(motion.data):08x}",
            "residual_crc32": f"{zlib.crc32(residual.data):08x}",
        }
