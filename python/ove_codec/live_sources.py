"""Live streams that are read: pipes, sockets and files that are still being written."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from typing_extensions import Unpack

from ove_codec import _core
from ove_codec._feeds import feed_of
from ove_codec._parts import Parts
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
    fragmented MP4. Only what the window needs is kept in memory, and reading pauses while no window is taken.

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
        DecodeError: the source cannot be read, or is cut off; raised after the windows before.
        UnsupportedStreamError: the codec is neither HEVC nor H.264.
        ValueError, TypeError: as for ``Stream``.
    """
    options: dict[str, Any] = {
        "window": window, "stride": stride, "preset": preset, "pixels": pixels, "device": device, "threads": threads,
        "limits": limits, "avoid_keyframes": avoid_keyframes, **params,
    }  # fmt: skip
    Stream("hevc", **options)  # raises at once for what it does not know
    return _windows(feed_of(source, timeout, follow), options)


def _windows(feed: Any, options: dict[str, Any]) -> Generator[Window, None, None]:
    parts = Parts(feed)
    try:
        while parts.next():
            yield from _windows_of(parts, options)
    finally:
        feed.close()


def _windows_of(part: Any, options: dict[str, Any]) -> Generator[Window, None, None]:
    packets = _core.Packets(part)
    info, extradata = packets.info, packets.extradata
    codec = info["codec"]
    if not _core.decodes(codec):
        raise _core.UnsupportedStreamError(
            f"{part.name}: its codec is {codec}, but a stream must be HEVC or H.264; convert it on the fly: "
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
