"""Drawings as SVG that takes the colours and the type of the page it stands in.

Marks have classes, which ``docs/assets/site.css`` colours for light and dark pages; see `Drawing.write`.
"""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from pathlib import Path


class Drawing:
    """Marks on a plane of `width` x `height` units, y downwards; a unit is a CSS pixel where there is room."""

    def __init__(self, width: float, height: float) -> None:
        self.width = width
        self.height = height
        self._parts: list[str] = []

    def rect(self, x: float, y: float, width: float, height: float, kind: str, *, round: float = 0) -> None:
        corner = f' rx="{_number(round)}"' if round else ""
        self._parts.append(
            f'<rect class="{kind}" x="{_number(x)}" y="{_number(y)}" width="{_number(width)}" '
            f'height="{_number(height)}"{corner}/>'
        )

    def line(self, points: Iterable[tuple[float, float]], kind: str) -> None:
        path = " ".join(f"{_number(x)},{_number(y)}" for x, y in points)
        self._parts.append(f'<polyline class="line {kind}" points="{path}"/>')

    def arc(self, start: tuple[float, float], end: tuple[float, float], lift: float, kind: str) -> None:
        """A curve that bulges by `lift` units upwards."""
        middle = ((start[0] + end[0]) / 2, (start[1] + end[1]) / 2 - 2 * lift)
        points = " ".join(f"{_number(x)},{_number(y)}" for x, y in (middle, end))
        self._parts.append(f'<path class="line {kind}" d="M{_number(start[0])},{_number(start[1])} Q{points}"/>')

    def dot(self, x: float, y: float, radius: float, kind: str) -> None:
        self._parts.append(f'<circle class="{kind}" cx="{_number(x)}" cy="{_number(y)}" r="{_number(radius)}"/>')

    def text(self, x: float, y: float, text: str, kind: str = "", *, anchor: str = "start") -> None:
        classes = f' class="{kind}"' if kind else ""
        self._parts.append(
            f'<text{classes} x="{_number(x)}" y="{_number(y)}" text-anchor="{anchor}">{escape(text)}</text>'
        )

    def write(self, path: Path) -> None:
        """Writes the file; the page that includes it adds the text that stands for it."""
        size = f'viewBox="0 0 {_number(self.width)} {_number(self.height)}"'
        body = "\n".join(self._parts)
        path.write_text(
            f'<svg xmlns="http://www.w3.org/2000/svg" class="drawing" {size} style="max-width:{_number(self.width)}px" '
            f'role="img">\n{body}\n</svg>\n',
            encoding="utf-8",
        )


def _number(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")
