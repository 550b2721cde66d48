"""The panels one below the other, at some times from left to right."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from ove_codec._drawing import colors
from ove_codec.selection import Selection
from ove_codec.viz.panels import Panels
from ove_codec.viz.sheet import INK, Sheet, font, text_size

_MARGIN, _GAP = 20, 8
_LEAST = 360  # the least width, which the texts need


def busy_slots(selection: Selection, steps: int) -> list[int]:
    """Slots of at most `steps` sampled pictures over the whole clip: of equal parts of it, the one with most heat."""
    heat = selection.scores.sum(axis=(1, 2))
    parts = np.array_split(np.arange(len(heat)), min(steps, len(heat)))
    return [int(part[np.argmax(heat[part])]) for part in parts]


def save_strip(panels: Panels, path: str | os.PathLike[str], steps: int = 6) -> tuple[int, int]:
    """Writes the panels as a PNG or SVG file, by its suffix, and returns its size in pixels.

    The columns are `steps` times: the picture with most heat in each of as many equal parts of the clip. Above each
    stand its time and the number of its tokens. Texts grow with the width, so that they are readable on a phone, too.
    """
    columns = list(panels.at(busy_slots(panels.selection, steps)))
    width = max(_LEAST, 2 * _MARGIN + len(columns) * (panels.width + _GAP) - _GAP)
    plain = text_size(width)
    inner = width - 2 * _MARGIN
    heading, about = panels.heading()
    sheet = Sheet(width, 0)
    y = sheet.paragraph(_MARGIN, _MARGIN, heading, round(1.4 * plain), inner, INK)
    y = sheet.paragraph(_MARGIN, y, about, plain, inner)
    lowest = y
    for column, panel_set in enumerate(columns):
        middle, below = _left(column, panels) + panels.width // 2, y + plain // 2
        for part in panels.label(panel_set.t).split(", "):
            below = sheet.paragraph(middle, below, part, plain, panels.width, INK, "m")
        lowest = max(lowest, below)
    y = lowest
    for title, about in panels.captions():
        y += plain // 2
        size = round(1.2 * plain)
        start = _MARGIN + 1.15 * font(size).getlength(title) + plain
        sheet.text(_MARGIN, y + size, title, size, INK)
        room = width - _MARGIN - start
        if title == "Heat":
            color_bar(sheet, width - _MARGIN - 6 * plain, round(y + 0.5 * plain), plain)
            room -= 8 * plain
        y = sheet.paragraph(start, y + size - plain, about, plain, room)
        row = [panel_set[title] for panel_set in columns]
        for column, pixels in enumerate(row):
            inset = (panels.width - pixels.shape[1]) // 2
            sheet.image(_left(column, panels) + inset, round(y) + _GAP, pixels)
        y = round(y) + _GAP + row[0].shape[0]
    sheet.height = round(y) + _MARGIN
    return sheet.save(path, Path(path).suffix)


def color_bar(sheet: Sheet, x: int, y: int, size: int) -> None:
    """What the colours of the heat mean, 0 to 1, between figures of this size; 5 times as long."""
    sheet.image(x, y, colors(np.tile(np.linspace(0, 1, 5 * size), (size // 2, 1))).astype(np.uint8))
    sheet.text(x - size // 2, y + 0.6 * size, "0", size, anchor="r")
    sheet.text(x + 5.5 * size, y + 0.6 * size, "1", size)


def _left(column: int, panels: Panels) -> int:
    return _MARGIN + column * (panels.width + _GAP)
