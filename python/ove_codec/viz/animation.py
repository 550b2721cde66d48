"""The panels side by side over time."""

from __future__ import annotations

import os
from collections.abc import Iterable
from fractions import Fraction
from importlib import import_module
from itertools import chain
from pathlib import Path
from typing import Any

from PIL import Image

from ove_codec.viz.panels import Panels, PanelSet
from ove_codec.viz.sheet import INK, LINE, Sheet, text_size

_MARGIN, _GAP, _ACROSS = 20, 16, 4
_LEAST = 640  # the least width, which the texts need


def save_animation(panel_sets: Iterable[PanelSet], path: str | os.PathLike[str], panels: Panels) -> tuple[int, int]:
    """Writes the panels side by side over time as MP4, GIF, WebP or APNG, by the suffix; returns the size.

    `panel_sets` is what iterating over `panels` gives. Raises ModuleNotFoundError for MP4 without PyAV.
    """
    images = (_side_by_side(panel_set, panels).render() for panel_set in panel_sets)
    first = next(images)
    durations = panels.durations()
    if Path(path).suffix == ".mp4":
        _save_mp4(chain([first], images), path, first.size, Fraction(len(durations) / sum(durations)))
        return first.size
    options: dict[str, Any] = {"format": "PNG"} if Path(path).suffix == ".apng" else {}
    milliseconds = [max(20, round(1000 * seconds)) for seconds in durations]  # browsers slow down what is faster
    first.save(path, save_all=True, append_images=list(images), duration=milliseconds, loop=0, **options)
    return first.size


def _side_by_side(panel_set: PanelSet, panels: Panels) -> Sheet:
    """The panels, four in a row, with captions above and the time below."""
    across = panels.width + _GAP
    width = max(_LEAST, 2 * _MARGIN + _ACROSS * across - _GAP)
    width += width % 2  # even, as video codecs want it
    plain = text_size(width)
    inner = width - 2 * _MARGIN
    heading, about = panels.heading()
    sheet = Sheet(width, 0)
    y = sheet.paragraph(_MARGIN, _MARGIN, heading, round(1.2 * plain), inner, INK)
    y = sheet.paragraph(_MARGIN, y, about, plain, inner)
    titles = panels.captions()
    for first in range(0, len(titles), _ACROSS):
        top = y + _GAP
        for column, (title, about) in enumerate(titles[first : first + _ACROSS]):
            x = _MARGIN + column * across
            below = sheet.paragraph(x, top, title, round(1.2 * plain), panels.width, INK)
            y = max(y, sheet.paragraph(x, below, about, plain, panels.width))
        for column, (title, _) in enumerate(titles[first : first + _ACROSS]):
            pixels = panel_set[title]
            inset = (panels.width - pixels.shape[1]) // 2, (panels.height - pixels.shape[0]) // 2
            sheet.image(_MARGIN + column * across + inset[0], round(y) + _GAP // 2 + inset[1], pixels)
        y = round(y) + _GAP // 2 + panels.height
    y += 1.5 * plain
    start, stop = _MARGIN, width - _MARGIN - 11 * plain
    reached = start + round((stop - start) * panel_set.t / max(1, len(panels) - 1))
    sheet.line(start, y - plain // 3, stop, y - plain // 3, LINE)
    sheet.line(start, y - plain // 3, reached, y - plain // 3, INK)
    sheet.text(width - _MARGIN, y, panels.label(panel_set.t), plain, anchor="r")
    height = round(y) + _MARGIN
    sheet.height = height + height % 2
    return sheet


def _save_mp4(
    images: Iterable[Image.Image], path: str | os.PathLike[str], size: tuple[int, int], rate: Fraction
) -> None:
    av = pyav()
    with av.open(os.fspath(path), "w", format="mp4") as container:
        codec = "libx264" if "libx264" in av.codecs_available else "mpeg4"
        stream = container.add_stream(codec, rate=rate.limit_denominator(1000))
        stream.width, stream.height = size
        stream.pix_fmt = "yuv420p"
        for image in images:
            container.mux(stream.encode(av.VideoFrame.from_image(image)))
        container.mux(stream.encode(None))


def pyav() -> Any:
    """The module of PyAV, which writes MP4."""
    try:
        return import_module("av")
    except ModuleNotFoundError:
        raise ModuleNotFoundError(
            "writing MP4 needs PyAV: pip install 'ove_codec[video]', or write a .webp or .gif"
        ) from None
