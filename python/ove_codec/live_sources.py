"""Live streams that are read: pipes, sockets and files that are still being written."""

from __future__ import annotations

import os
from collections.abc import Generator
from os import PathLike
from typing import Any

from typing_extensions import Unpack

from ove_codec import _core
from ove_codec._feeds import feed_of
from ove_codec._parts import Parts, tables_follow
from ove_codec._window import Window
from ove_codec.limits import Limits
from ove_codec.live import Stream
from ove_codec.presets import Parameters, with_parameters


@with_parameters
def stream(
    source: Any,
    *,
    timeout: float | None = None,
    follow: bool = False,
    window: float = 4.0,
    stride: float | None = None,
    preset: str = "paper",
    pixels: bool = True,
    device: Any = None,
    threads: int = 1,
    limits: Limits | None = None,
    avoid_keyframes: bool = False,
    **params: Unpack[Parameters],
) -> Generator[Window, None, None]:
    """Reads a video that is still being written, and gives each window when it is complete.

    The video must be raw, or in a container that can be read sequentially, such as MPEG-TS, Matroska, FLV or
    fragmented MP4. A complete file may also be an MP4 whose tables follow the pictures. Only what the window needs is
    kept in memory, and reading pauses while no window is taken.

    A new window begins if the size of the pictures changes. It also begins if the container starts again or changes its
    codec: another video stream in the tables of a transport stream, another codec in FLV, or another header in FLV,
    Matroska and fragmented MP4. Pictures and packets then count from 0 again. A raw stream keeps its codec.

    Args:
        source: a path of a file, named pipe, device or Unix socket; "-" for standard input; a socket; or a binary file
            object, which a thread reads.
        timeout: seconds after which a source that gives no byte is given up; None waits for ever.
        follow: whether a regular file may still grow: it ends when it has not grown for `timeout` seconds.
        window, stride, preset, pixels, device, threads, limits, avoid_keyframes, params: as for ``Stream``.

    Raises:
        TimeoutError: no data arrived for `timeout` seconds; raised after the windows before.
        DecodeError: the source cannot be read, or is cut off, or its last pictures are lost; raised after the windows
            before.
        UnsupportedStreamError: the codec is neither HEVC nor H.264.
        ValueError, TypeError: as for ``Stream``.
    """
    options: dict[str, Any] = {
        "window": window, "stride": stride, "preset": preset, "pixels": pixels, "device": device, "threads": threads,
        "limits": limits, "avoid_keyframes": avoid_keyframes, **params,
    }  # fmt: skip
    Stream("hevc", **options)  # raises at once for what it does not know
    feed = feed_of(source, timeout, follow)
    return _windows(feed, None if follow else _to_seek(source), options)


def _to_seek(source: Any) -> str | None:
    """The path of a file that cannot be read in sequence."""
    if not isinstance(source, str | PathLike) or not os.path.isfile(source):
        return None
    with open(source, "rb") as file:
        return os.fspath(source) if tables_follow(file) else None


class _InSequence:
    """A part, for a reader that does not go back."""

    def __init__(self, parts: Parts) -> None:
        self.name, self._parts = parts.name, parts

    def read(self, size: int) -> bytes:
        chunk = self._parts.read(size)
        if self._parts.tables_follow:
            raise _core.DecodeError(
                f"{self.name}: an MP4 or MOV whose tables (moov) follow the pictures can be read only from a complete "
                "file; send it in fragments: ffmpeg -i IN -c copy -movflags frag_keyframe+empty_moov -f mp4 -"
            )
        return chunk


def _windows(feed: Any, path: str | None, options: dict[str, Any]) -> Generator[Window, None, None]:
    began, lost = False, []
    try:
        if path is not None:
            live = yield from _windows_of(path, feed.name, options)
            began, lost = live.began, [*live.lost]
        else:
            parts = Parts(feed)
            while parts.next():
                live = yield from _windows_of(_InSequence(parts), feed.name, options)
                began |= live.began
                lost += live.lost
    finally:
        feed.close()
    if lost:
        packets = ", ".join(f"{loss.packet} to {loss.end - 1} ({loss.reason})" for loss in lost)
        raise _core.DecodeError(f"{feed.name}: the last pictures are lost, with packets {packets}")
    if not began:
        raise _core.DecodeError(f"{feed.name}: it ended before the first picture that can be decoded by itself")


def _windows_of(part: Any, name: str, options: dict[str, Any]) -> Generator[Window, None, Stream]:
    packets = _core.Packets(part)
    info, extradata = packets.info, packets.extradata
    codec = info["codec"]
    if not _core.decodes(codec):
        raise _core.UnsupportedStreamError(
            f"{name}: its codec is {codec}, but a stream must be HEVC or H.264; convert it on the fly: "
            "ffmpeg -i IN -c:v libx265 -crf 23 -f mpegts pipe:"
        )
    (rate, seconds), aspect = info["frame_rate"], info["sample_aspect_ratio"]
    facts = {"frame_rate": rate / seconds if rate > 0 and seconds > 0 else None, "sample_aspect_ratio": aspect}
    live = Stream(codec, extradata, rotation=info["rotation"], mirrored=info["mirrored"], **facts, **options)
    numerator, denominator = info["time_base"]
    try:
        for packet in packets:
            if packet["extradata"] is not None and packet["extradata"] != extradata:
                extradata = packet["extradata"]
                yield from live.change(codec, extradata)
            pts = None if packet["pts"] is None else packet["pts"] * numerator / denominator
            yield from live._push(packet["data"], pts, packet["corrupt"])
    except (TimeoutError, _core.DecodeError):
        yield from live.flush()
        raise
    yield from live.flush()
    return live
