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
    """Reads a video that is still being written, and gives its windows as they are complete.

    The video must be in a container that can be read from front to end, such as MPEG-TS, Matroska, FLV or fragmented
    MP4, or raw. No more of it is held than the window needs, and reading waits as long as nobody takes the windows.

    A new window begins where the size of the pictures changes. It also does where the container begins anew, or changes
    its codec: where a transport stream's tables tell another video stream, in FLV, or with another header in FLV,
    Matroska and fragmented MP4. Pictures and packets are then counted from 0 again. A raw stream keeps its codec.

    Args:
        source: a path of a file, named pipe, device or Unix socket; "-" for standard input; a socket; or a binary file
            object, which a thread reads.
        timeout: seconds after which a source that gives no byte is given up; None waits for ever.
        follow: whether a regular file may still grow: it ends when it has not grown for `timeout` seconds.
        window, stride, preset, pixels, device, threads, limits, avoid_keyframes, params: as for ``Stream``.

    Raises:
        TimeoutError: the source gave no byte for `timeout` seconds; after the windows up to there.
        DecodeError: the source cannot be read, or ends in the middle; after the windows up to there.
        UnsupportedStreamError: the codec is not one that is read.
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
            f"{part.name}: its codec is {codec}, which streams are not read of; convert it on the way: "
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
