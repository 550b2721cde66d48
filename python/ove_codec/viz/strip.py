"""The panels one below the other, at some times from left to right."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from ove_codec._drawing import Pixels, colors
from ove_codec.selection import Selection
from ove_codec.viz.panels import Panels, PanelSet
from ove_codec.viz.sheet import FAINT, INK, Sheet, font

_MARGIN, _GAP = 20, 8


def busy_slots(selection: Selection, steps: int) -> list[int]:
    """Slots of at most `steps` sampled pictures over the whole clip: of equal parts of it, the one with most heat."""
    heat = selection.scores.sum(axis=(1, 2))
    parts = np.array_split(np.arange(len(heat)), min(steps, len(heat)))
    return [int(part[np.argmax(heat[part])]) for part in parts]


def save_strip(panels: Panels, path: str | os.PathLike[str], steps: int = 6) -> tuple[int, int]:
    """Writes the panels as a PNG or SVG file, by its suffix, and returns its size in pixels.

    The columns are `steps` times: the picture with most heat in each of as many equal parts of the clip. Above each
    stand its time and the number of its tokens.
    """
    columns = list(panels.at(busy_slots(panels.selection, steps)))
    titles = panels.captions()
    rows = [_row(columns, title) for title, _ in titles]
    gutter = 24 + max(round(max(font(13).getlength(about), font(20).getlength(title))) for title, about in titles)
    left, top = _MARGIN + gutter, _MARGIN + 58
    heading, about = panels.heading()
    width = left + len(columns) * (panels.width + _GAP) - _GAP + _MARGIN
    width = max(width, 2 * _MARGIN + round(max(font(18).getlength(heading), font(13).getlength(about))))
    sheet = Sheet(width, top + sum(row[0].shape[0] + _GAP for row in rows) - _GAP + _MARGIN)
    sheet.text(_MARGIN, _MARGIN + 12, heading, 18, INK)
    sheet.text(_MARGIN, _MARGIN + 30, about)
    for column, panel_set in enumerate(columns):
        x = left + column * (panels.width + _GAP) + panels.width // 2
        sheet.text(x, top - 10, panels.label(panel_set.t), anchor="m")
    y = top
    for row, (title, about) in zip(rows, titles, strict=True):
        height = row[0].shape[0]
        middle = y + height // 2
        sheet.text(_MARGIN, middle - 4, title, 20, INK)
        sheet.text(_MARGIN, middle + 18, about)
        if title == "Heat":
            color_bar(sheet, _MARGIN, middle + 32)
        for column, pixels in enumerate(row):
            inset = (panels.width - pixels.shape[1]) // 2
            sheet.image(left + column * (panels.width + _GAP) + inset, y, pixels)
        y += height + _GAP
    return sheet.save(path, Path(path).suffix)


def color_bar(sheet: Sheet, x: int, y: int, length: int = 120) -> None:
    """What the colours of the heat mean, 0 to 1."""
    sheet.image(x, y, colors(np.tile(np.linspace(0, 1, length), (10, 1))).astype(np.uint8))
    sheet.text(x, y + 24, "0", color=FAINT)
    sheet.text(x + length, y + 24, "1", color=FAINT, anchor="r")


def _row(columns: list[PanelSet], title: str) -> list[Pixels]:
    return [panel_set[title] for panel_set in columns]
