"""The images and codec videos that messages name, in the manner of qwen-vl-utils."""

from __future__ import annotations

import base64
import io
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from PIL import Image

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*(::[A-Za-z][A-Za-z0-9+.-]*)*://")
_DATA_URL = re.compile(r"data:[^,]*;base64,")
_IMAGE_KEYS = ("image", "url", "path", "image_url")
_VIDEO_KEYS = ("video", "url", "path", "video_url")
# Of the released preprocessor; they say where it keeps its files, and change no canvas.
_WITHOUT_EFFECT = frozenset({"cache_root", "timeout_seconds", "spatial_mask_mode", "dcvc"})
_ENGINES = ("hevc", "cv-preinfer")


class Canvases(Protocol):
    """Codec canvases of a video, as `ove_codec.canvases.codec_canvases` makes them.

    Attributes:
        images: (n, H, W, 3) uint8 R'G'B'.
        src_positions: (n*h*w, 3) integers, source frame, patch row and column, in raster order of each canvas; -1 for
            padding.
        fps: frames a second of the source.
    """

    @property
    def images(self) -> Any: ...
    @property
    def src_positions(self) -> Any: ...
    @property
    def fps(self) -> float: ...


def canvases_of(video: Any) -> Canvases | None:
    """The video itself where it is what `Canvases` describes, or a mapping of these names; None for others."""
    names = ("images", "src_positions", "fps")
    if isinstance(video, Mapping):
        return (
            SimpleNamespace(**{name: video[name] for name in names}) if all(name in video for name in names) else None
        )
    found: Canvases | None = video if all(hasattr(video, name) for name in names) else None
    return found


def is_source(video: Any) -> bool:
    """Whether it is to be read: a path, URL, bytes, a file object or an opened Video."""
    return isinstance(video, str | os.PathLike | bytes | bytearray | memoryview) or hasattr(video, "read")


def video_source(element: Mapping[str, Any]) -> Any:
    """The video of a message's part; ValueError where it has none."""
    return _named(element, _VIDEO_KEYS, "video")


def make_canvases(source: Any, settings: Mapping[str, Any]) -> Canvases:
    """The canvases of a path, URL, bytes or file object, by the settings of `ove_codec.canvases.codec_canvases`.

    Settings of the released preprocessor that change no canvas (`cache_root`, `timeout_seconds`, `spatial_mask_mode`,
    `dcvc`) are left out.

    Raises:
        ValueError: `engine` is another than "hevc" or "cv-preinfer", or see `codec_canvases`.
    """
    given = {name: value for name, value in settings.items() if name not in _WITHOUT_EFFECT}
    engine = given.pop("engine", _ENGINES[0])
    if engine not in _ENGINES:
        raise ValueError(f"engine must be {' or '.join(map(repr, _ENGINES))}, got {engine!r}")
    from ove_codec.canvases import codec_canvases

    return codec_canvases(opened(source), **given)


def fetch_codec_video(element: Mapping[str, Any] | Any, **codec_config: Any) -> Any:
    """The canvases that a message's video stands for.

    Args:
        element: {"type": "video", "video": source} with, on request, `video_start` and `video_end` (seconds), `fps`
            (frames to sample a second) and `max_pixels` (of a canvas); or the source alone: a path, URL, bytes, file
            object, or canvases, which are returned as they are.
        codec_config: settings of `ove_codec.canvases.codec_canvases`; the element's own go before.

    Raises:
        ValueError: the element has no video, or see `ove_codec.canvases.codec_canvases`.
    """
    if not isinstance(element, Mapping) or canvases_of(element) is not None:
        element = {"video": element}
    source = video_source(element)
    if canvases_of(source) is not None:
        return source
    settings = dict(codec_config)
    if element.get("max_pixels") is not None:
        settings["max_pixels"] = element["max_pixels"]
    if element.get("fps") is not None:
        settings |= {"sampling": "fps", "sample_fps": _number(element, "fps")}
    for name in ("start", "end"):
        if element.get(f"video_{name}") is not None:
            settings[name] = _number(element, f"video_{name}")
    return make_canvases(source, settings)


def _number(element: Mapping[str, Any], name: str) -> float:
    try:
        return float(element[name])
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name} of a video must be a number, not {element[name]!r}") from error


def fetch_image(element: Mapping[str, Any] | Any) -> Image.Image:
    """The image that a message's part stands for, in RGB, upright by its EXIF orientation.

    Args:
        element: {"type": "image", "image": source}, or the source alone: a path, URL (also `data:`), bytes, file
            object, Pillow image, or uint8 array.

    Raises:
        ValueError: the element has no image, or an array is of another shape or type.
        OSError: the file is missing or no image that Pillow knows.
    """
    from PIL import Image, ImageOps

    from ove_codec.models.images import to_rgb

    source = _named(element, _IMAGE_KEYS, "image") if isinstance(element, Mapping) else element
    source = opened(source)
    if isinstance(source, bytes | bytearray | memoryview):
        source = io.BytesIO(source)
    if not isinstance(source, str | os.PathLike) and not hasattr(source, "read"):
        return to_rgb(source)
    with Image.open(source) as image:
        return to_rgb(ImageOps.exif_transpose(image))


def process_video_info(
    conversations: Sequence[Any], **codec_config: Any
) -> tuple[list[Image.Image] | None, list[Any] | None]:
    """All images and codec videos of messages, in their order, for a processor's `images` and `videos`.

    Args:
        conversations: messages {"role", "content"}, or several conversations of them.
        codec_config: settings of `ove_codec.canvases.codec_canvases` for all videos; a part's own go before, see
            `fetch_codec_video`.

    Returns:
        The images and the canvases; None where there are none.

    Raises:
        ValueError, OSError: see `fetch_image` and `fetch_codec_video`.
    """
    parts = list(visual_parts(conversations))
    images = [fetch_image(part) for kind, part in parts if kind == "image"]
    videos = [fetch_codec_video(part, **codec_config) for kind, part in parts if kind == "video"]
    return images or None, videos or None


def visual_parts(conversations: Sequence[Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The parts of messages that are images or videos, with "image" or "video"."""
    for item in conversations:
        if not isinstance(item, Mapping):
            yield from visual_parts(item)
            continue
        content = item.get("content")
        for part in content if isinstance(content, list | tuple) else ():
            for kind in ("image", "video"):
                if part.get("type") in (kind, f"{kind}_url") or ("type" not in part and kind in part):
                    yield kind, part


def opened(source: Any) -> Any:
    """What a URL names: the content of `data:`, a path of `file://`, else bytes by fsspec; other sources as they are.

    Raises:
        ImportError: a URL needs fsspec, which is not installed.
    """
    if not isinstance(source, str):
        return source
    if match := _DATA_URL.match(source):
        return base64.b64decode(source[match.end() :], validate=True)
    if source.startswith("file://"):
        return source.removeprefix("file://")
    if _URL.match(source) is None:
        return source
    try:
        fsspec = import_module("fsspec")
    except ImportError as error:
        raise ImportError(f"{source} needs fsspec: pip install 'ove_codec[dataset]'") from error
    with fsspec.open(source, "rb") as file:
        content: bytes = file.read()
    return content


def _named(element: Mapping[str, Any], keys: Sequence[str], kind: str) -> Any:
    for key in keys:
        if (value := element.get(key)) is not None:
            return value["url"] if isinstance(value, Mapping) and "url" in value else value
    raise ValueError(f"a message part of type {kind} must have a {kind!r}, got the keys {sorted(element)}")
