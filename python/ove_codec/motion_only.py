"""Videos of MPEG-4, MPEG-2 and MPEG-1: motion vectors without transcoding, as libavcodec exports them.

Vectors are in quarter luma samples; list 0 is the past, list 1 the future. What libavcodec does not export is not
there: residuals, quantisers, bits, and which picture a vector refers to, so that how far it reaches in time is unknown.
Of interlaced video, vectors of fields count as if they were of frames.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt

from ove_codec import _core
from ove_codec._drawing import draw_picture, png
from ove_codec._source import Source, SourceVideo, position
from ove_codec.limits import Limits
from ove_codec.plots import plot_picture


@dataclass(frozen=True, eq=False)
class MotionPicture:
    """Motion of one picture. Arrays cover the coded picture and are read-only; h4, w4: its sides over 4, rounded up.

    Attributes are those of ``Picture``; ``residual``, ``ref_poc``, ``qp``, ``cu_size``, ``skip``, ``bits``, ``slices``
    and ``ctb_size`` raise UnsupportedStreamError.

    Attributes:
        index: number in display order.
        pts: seconds.
        type: "I", "P" or "B".
        packet: number of its packet in the video stream, -1 if unknown.
        packet_bytes: size of the packet.
        random_access: whether the container marks its packet as a key frame.
        coded_width, coded_height: in luma samples.
        window: (x, y, width, height) of the displayed part.
        rotation: clockwise degrees to turn it by for display.
        mirrored: whether left and right are exchanged for display, before it is turned.
        bit_depth: of luma.
        mv: (h4, w4, 2, 2) int16, [list, (x, y)] in quarter luma samples, 0 where the list is unused.
        pred: (h4, w4) uint8: 0 intra, 1 list 0, 2 list 1, 3 both.
        motion_only: True.
        poc: None, as order counts are not exported.
    """

    index: int
    pts: float
    type: str
    packet: int
    packet_bytes: int
    random_access: bool
    coded_width: int
    coded_height: int
    window: tuple[int, int, int, int]
    rotation: int
    mirrored: bool
    bit_depth: int
    mv: npt.NDArray[np.int16]
    pred: npt.NDArray[np.uint8]
    name: str = ""
    codec: str = ""
    motion_only: bool = True
    poc: None = None

    def __repr__(self) -> str:
        return f"MotionPicture({self.index}: {self.type}, {self.pts:.3f} s, {self.coded_width}x{self.coded_height})"

    def plot(self, kind: str = "motion", *, axes: Any = None) -> Any:
        """Draws the motion; see ``Picture.plot``."""
        return plot_picture(self, kind, axes)

    def _repr_png_(self) -> bytes:
        """The motion, which notebooks show."""
        return png(draw_picture(self, "motion").image)

    @property
    def width(self) -> int:
        """Luma samples shown, before rotation."""
        return self.window[2]

    @property
    def height(self) -> int:
        """Luma samples shown, before rotation."""
        return self.window[3]

    def _lacks(self, what: str) -> NoReturn:
        raise _core.UnsupportedStreamError(lacking(self.name, self.codec, what))

    @property
    def residual(self) -> NoReturn:
        self._lacks("residual")

    @property
    def ref_poc(self) -> NoReturn:
        self._lacks("ref_poc")

    @property
    def qp(self) -> NoReturn:
        self._lacks("qp")

    @property
    def cu_size(self) -> NoReturn:
        self._lacks("cu_size")

    @property
    def skip(self) -> NoReturn:
        self._lacks("skip")

    @property
    def bits(self) -> NoReturn:
        self._lacks("bits")

    @property
    def slices(self) -> NoReturn:
        self._lacks("slices")

    @property
    def ctb_size(self) -> NoReturn:
        self._lacks("ctb_size")


def lacking(name: str, codec: str, what: str, remedy: str = "") -> str:
    """What is said where something is asked for that is not exported; `remedy` does without it."""
    remedy = f"{remedy}, or " if remedy else ""
    return (
        f"{name}: its codec is {codec}, for which libavcodec exports motion vectors only, not {what}; {remedy}convert "
        f"it to HEVC first: ove_codec.transcode, or ove-codec transcode IN OUT.mp4"
    )


@dataclass(frozen=True, eq=False)
class MotionIndex:
    """The N pictures of a video in display order: what ``VideoIndex`` tells, without order counts.

    packet (N,) int64, packet_bytes (N,) int64, pts (N,) float64 seconds, type (N,) str, random_access (N,) bool.
    """

    packet: npt.NDArray[np.int64]
    packet_bytes: npt.NDArray[np.int64]
    pts: npt.NDArray[np.float64]
    type: npt.NDArray[np.str_]
    random_access: npt.NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.pts)

    def window(self, frame_ids: Any) -> None:
        """No window that these pictures share is told: they are read one by one."""


def decoded_index(source: Source, limits: Limits, threads: int = 1) -> MotionIndex:
    """The pictures that libavcodec gives out for a video of any codec; decodes the video once.

    Packets and time stamps do not tell how many there are: VP8 and VP9 have packets without a picture, MPEG-4 has
    pictures that are not coded, and of a stream that begins in the middle of a group the first may not be decodable.
    Raises DecodeError for a damaged video.
    """
    pictures = list(
        _core.ExportedMotion(source, vectors=False, threads=threads, max_luma_samples=limits.max_luma_samples)
    )
    return MotionIndex(
        np.array([p["packet"] for p in pictures], np.int64),
        np.array([p["packet_bytes"] for p in pictures], np.int64),
        np.array([p["pts"] for p in pictures], np.float64),
        np.array([p["type"] for p in pictures], "U1"),
        np.array([p["random_access"] for p in pictures], bool),
    )


class MotionVideo(SourceVideo):
    """Like ``Video``, for codecs whose motion libavcodec exports.

    Iterating gives every picture in display order, decoded in C++ without the GIL, in one thread; after damage, the
    pictures decoded before it are given, then the error is raised. Reading always begins at the start of the video,
    and the index needs a full pass.
    """

    motion_only = True
    _signals = frozenset({"motion"})

    @cached_property
    def index(self) -> MotionIndex:
        """The pictures in display order; decodes the video once."""
        return decoded_index(self.source, self.limits)

    def _all(self) -> Iterator[MotionPicture]:
        facts = {
            "rotation": self.info["rotation"],
            "mirrored": self.info["mirrored"],
            "bit_depth": self.info["bit_depth"],
            "name": self.name,
            "codec": self.info["codec"],
        }
        limit = self.limits.max_luma_samples
        pictures = _core.ExportedMotion(self.source, vectors=True, max_luma_samples=limit)
        for number, picture in enumerate(pictures):
            yield MotionPicture(index=number, **picture, **facts)

    def read(self, frame_ids: Iterable[int], *, residual: bool = False) -> Iterator[MotionPicture]:
        """Gives the pictures of some display indices, each once, in ascending order.

        Raises IndexError for an index that is not in the video, and UnsupportedStreamError with `residual`.
        """
        if residual:
            message = lacking(self.name, self.info["codec"], "residual", "read with residual=False")
            raise _core.UnsupportedStreamError(message)
        wanted = sorted({int(i) for i in frame_ids})
        if wanted and not 0 <= wanted[0] <= wanted[-1] < len(self):
            out = wanted[0] if wanted[0] < 0 else wanted[-1]
            raise IndexError(f"picture {out} is not in the video, which has {len(self)} pictures")
        return self._backend.pictures(self._chosen(wanted))

    def _chosen(self, wanted: list[int]) -> Iterator[MotionPicture]:
        chosen = set(wanted)
        for picture in self._all():
            if picture.index in chosen:
                yield picture
                chosen.remove(picture.index)
            if not chosen:
                return

    def seek(
        self, *, index: int | None = None, pts: float | None = None, residual: bool = False
    ) -> Iterator[MotionPicture]:
        """Gives a picture and all that follow it in display order; see ``Video.seek``."""
        return self.read(range(position(self.index.pts, index, pts), len(self)), residual=residual)
