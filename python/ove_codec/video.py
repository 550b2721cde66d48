"""Videos as their codec sees them: motion, residual, quantiser and bits of every picture."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator
from functools import cached_property
from typing import Any

import numpy as np

from ove_codec import _core
from ove_codec._backend import backend_for
from ove_codec._source import Loss, SourceVideo, is_fetched, position
from ove_codec._source import Source as Source
from ove_codec.cuda import is_cpu
from ove_codec.limits import Limits
from ove_codec.motion_only import MotionIndex, MotionVideo, decoded_index

_LONG = 1000  # pictures; of a shorter video a selection needs most of what its index reads
_KEPT = 256 << 20  # bytes of a file from elsewhere, while a long video is opened
_MOST = 1 / 8  # share of the pictures of a long video for which its index is read in parts


def reads_codec(codec: str) -> bool:
    """Whether ``Video`` reads all that streams of the codec of this name (``stream_info``'s) have: motion, residual,
    quantisers, bits and references."""
    return _core.decodes(codec)


class Video(SourceVideo):
    """An HEVC or H.264 video. Iterating gives every picture in display order, decoded in C++ without the GIL.

    Every iteration begins at the start of the video. After damage, the pictures before it in decoding order are given,
    then the error is raised. If the resolution changes, iteration continues with pictures of the new size.

    With ``on_damage="skip"`` damaged pictures are left out, and `lost` lists them.

    A video can be pickled if its source is a path or bytes. Its index is not pickled, but read again when needed.
    """

    def _all(self) -> Iterator[_core.Picture]:
        if self.on_damage == "skip":
            return self._pictures(index=self.index, frame_ids=list(range(len(self))))
        return self._pictures()

    @property
    def lost(self) -> tuple[Loss, ...]:
        """The losses in a video opened with ``on_damage="skip"`` (reads the index); otherwise empty."""
        return tuple(map(Loss._make, self.index.lost)) if self.on_damage == "skip" else ()

    def _pictures(self, **options: Any) -> _core.PictureIterator:
        pictures = _core.PictureIterator(self._readable, threads=self.threads, limits=self.limits.as_dict(), **options)
        self._check_unchanged(pictures.info)
        return pictures

    @cached_property
    def index(self) -> _core.VideoIndex:
        """The pictures in display order by their headers alone; reads the video once, without its slice data. Where
        damage is skipped, all pictures are decoded once to find it."""
        return _core.VideoIndex(self._readable, limits=self.limits.as_dict(), skip_damage=self.on_damage == "skip")

    @cached_property
    def _tables(self) -> _core.PictureTable | None:
        """The container's tables of a long video, if they tell its pictures."""
        if self.on_damage == "skip" or self.info["frame_count"] < _LONG or not reads_codec(self.info["codec"]):
            return None
        if "444" in self.info["pixel_format"]:  # the first packet may tell how the others are to be read
            return None
        source = self._inner
        if is_fetched(source):  # index, arrays and pixels are read one after the other
            self._kept = _core.KeptReads(source, _KEPT)
        return _core.PictureTable.read(self._readable)

    @property
    def _table(self) -> Any:
        return self.pixel_index if "index" in vars(self) or self._tables is None else self._tables

    def _index_of(self, frame_ids: Iterable[int]) -> _core.VideoIndex:
        if "index" in vars(self) or self._tables is None:
            return self.index
        wanted = {int(i) for i in frame_ids}
        ids, known = vars(self).get("_known", (frozenset(), None))
        if known is None or not wanted <= ids:
            ids |= wanted
            if len(ids) > len(self._tables) * _MOST:
                return self.index
            known = self._tables.index(self._readable, sorted(ids), limits=self.limits.as_dict())
            if known is None:
                return self.index
            vars(self)["_known"] = ids, known
        return known

    @cached_property
    def pixel_index(self) -> _core.VideoIndex | MotionIndex:
        """The pictures in display order that pixels can be had of, of any codec that libavcodec knows."""
        native = reads_codec(self.info["codec"])
        return self.index if native else decoded_index(self.source, self.limits, self.threads)

    def read(self, frame_ids: Iterable[int], *, residual: bool = True) -> Iterator[_core.Picture]:
        """Gives the pictures of some display indices, each once, in ascending order.

        Only what they need is decoded; without `residual`, no residual is. If the container can seek, groups of
        pictures that are not needed are skipped. Raises IndexError for an index that is not in the video.
        """
        wanted = sorted({int(i) for i in frame_ids})
        index = self._index_of(wanted)
        return self._read(wanted, index if index.counts_from_start else self.index, residual)

    def _scorable(self, frame_ids: Iterable[int], residual: bool) -> Iterator[_core.Picture]:
        wanted = sorted({int(i) for i in frame_ids})
        return self._read(wanted, self._index_of(wanted), residual)

    def _read(self, wanted: list[int], index: _core.VideoIndex, residual: bool) -> Iterator[_core.Picture]:
        return self._backend.pictures(self._pictures(residual=residual, index=index, frame_ids=wanted))

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


def open(
    source: Source, threads: int = 0, limits: Limits | None = None, *, device: Any = None, on_damage: str = "raise"
) -> Video:
    """Opens an HEVC or H.264 video: a path, bytes (a uint8 array or tensor too), or a binary file object.

    File objects that cannot seek, and named pipes, are read to their end first. Several threads may read one file
    object.

    Of a long MP4 or MOV file, only the container's tables and the requested groups of pictures are read, if the tables
    give their places. The whole file is read for ``index``; for ``sampling="bits"``, which needs the type of every
    picture; for ``read`` and ``seek`` in groups that begin without an IDR picture, whose POCs count from the start; and
    for other containers: fragmented MP4, Matroska, whose cues do not count pictures, transport streams. For a long file
    object that is neither in memory nor a local file, up to 256 MiB of the data read stay in memory as long as the
    video.

    MPEG-4, MPEG-2 and MPEG-1 give a ``MotionVideo``, whose pictures have only motion vectors; ``has`` tells what is
    available. The annotated type is always ``Video``.

    With ``on_damage="skip"`` damage does not end reading: the pictures up to the next random access point are left
    out, and ``lost`` lists them. Everything that reads the video, such as ``select`` and ``tokenize``, sees only the
    other pictures. To find the damage, the whole video is decoded once, when the index is first used.

    `threads` is the number of decoding threads, including the caller's; 0 uses all cores. With a GPU as `device` (as
    for ``select``) the arrays of its pictures are CUDA tensors, copied to the GPU on first use. Reading raises
    UnsupportedStreamError if the stream exceeds the `limits` (``Limits()`` if None). Raises DecodeError if nothing can
    be read, UnsupportedStreamError for other codecs, RuntimeError if the device cannot be used, and ValueError for
    ``on_damage="skip"`` with a ``MotionVideo``.
    """
    check_damage(on_damage)
    video: Any = Video(source, threads, limits)
    codec = video.info["codec"]
    if not reads_codec(codec):
        if not _core.exports_motion(codec):
            _core.PictureIterator(video.source)  # raises, with the remedy
        if on_damage == "skip":
            raise ValueError(
                f"{video.name}: damage can be skipped in HEVC and H.264, not in {codec}: transcode it first"
            )
        video = MotionVideo(video.source, threads, limits, video.info)
    video.on_damage = on_damage
    return video if is_cpu(device) else video._on(backend_for(device))


def check_damage(on_damage: str) -> None:
    if on_damage not in ("raise", "skip"):
        raise ValueError(f"on_damage must be 'raise' or 'skip', not {on_damage!r}")


def check_opened(video: Any, on_damage: str) -> None:
    """Raises ValueError where damage is to be skipped in a video that was opened otherwise."""
    check_damage(on_damage)
    if on_damage == "skip" != video.on_damage:
        raise ValueError(f"{video.name}: this video was opened already: pass on_damage='skip' to ove_codec.open")


def framecrc(source: Source, threads: int = 0, limits: Limits | None = None) -> Iterator[dict[str, int | str]]:
    """Gives, for every coded picture in decoding order, checksums of its motion, residual and quantiser.

    Fields are pictures of their own, and MBAFF frames come as they are stored: `structure` is "frame", "mbaff", "top"
    or "bottom". `motion_crc32` is the CRC-32 of an int32 little-endian array (h4, w4, 7): pred, then x, y, POC of list
    0, then of list 1; `residual_crc32` that of `residual` as little-endian int16; `qp_crc32` that of an int8 array with
    the luma quantiser of every macroblock (H.264) or smallest coding block (H.265). All as eight hexadecimal digits.
    """
    limits = limits or Limits()
    for picture in _core.PictureIterator(source, threads=threads, decoding_order=True, limits=limits.as_dict()):
        motion = np.empty((*picture.pred.shape, 7), "<i4")
        motion[..., 0] = picture.pred
        for i in range(2):
            motion[..., 1 + 3 * i : 3 + 3 * i] = picture.mv[:, :, i]
            motion[..., 3 + 3 * i] = picture.ref_poc[:, :, i]
        unit = picture.block_unit // 4
        arrays = {
            "motion": motion,
            "residual": np.ascontiguousarray(picture.residual, "<i2"),
            "qp": np.ascontiguousarray(picture.qp[::unit, ::unit]),
        }
        yield {
            "poc": picture.poc,
            "structure": picture.structure,
            "width": picture.coded_width,
            "height": picture.coded_height,
            **{f"{name}_crc32": f"{zlib.crc32(array.data):08x}" for name, array in arrays.items()},
        }
