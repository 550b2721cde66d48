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
from ove_codec.viz.sheet import INK, LINE, Sheet

_MARGIN, _GAP, _ACROSS = 20, 16, 4


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
    titles = panels.captions()
    rows = -(-len(titles) // _ACROSS)
    top, bottom, head = _MARGIN + 44, 40, 44  # above the first row, below the last, of captions
    step = head + panels.height + _GAP
    width = 2 * _MARGIN + _ACROSS * panels.width + (_ACROSS - 1) * _GAP
    height = top + rows * step - _GAP + bottom
    sheet = Sheet(width + width % 2, height + height % 2)  # even, as video codecs want it
    heading, about = panels.heading()
    sheet.text(_MARGIN, _MARGIN + 10, heading, 18, INK)
    sheet.text(_MARGIN, _MARGIN + 28, about)
    for number, (title, about) in enumerate(titles):
        x = _MARGIN + number % _ACROSS * (panels.width + _GAP)
        y = top + number // _ACROSS * step
        sheet.text(x, y + 16, title, 16, INK)
        sheet.text(x, y + 34, about)
        pixels = panel_set[title]
        inset = (panels.width - pixels.shape[1]) // 2, (panels.height - pixels.shape[0]) // 2
        sheet.image(x + inset[0], y + head + inset[1], pixels)
    y = height - bottom + 24
    start, stop = _MARGIN, width - _MARGIN - 150
    reached = start + round((stop - start) * panel_set.t / max(1, len(panels) - 1))
    sheet.line(start, y - 5, stop, y - 5, LINE)
    sheet.line(start, y - 5, reached, y - 5, INK)
    sheet.text(width - _MARGIN, y, panels.label(panel_set.t), anchor="r")
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
