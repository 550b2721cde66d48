"""A sheet of texts and pictures, which becomes pixels or an SVG file."""

from __future__ import annotations

import base64
import os
from dataclasses import dataclass, field
from html import escape
from typing import Any

from PIL import Image, ImageDraw, ImageFont

from ove_codec._drawing import Pixels, png

PAPER, INK, FAINT, LINE = (255, 255, 255), (24, 26, 32), (112, 116, 128), (208, 211, 219)
Color = tuple[int, int, int]
_ANCHORS = {"l": "start", "m": "middle", "r": "end"}


def font(size: int) -> Any:
    """The font of all texts, `size` pixels high."""
    return ImageFont.load_default(size)


def text_size(width: int) -> int:
    """The size of plain text on a sheet of this width: about 9 pixels where a phone shows the sheet 390 pixels wide."""
    return max(13, round(width / 44))


def wrapped(text: str, size: int, width: float) -> list[str]:
    """The lines of a text in `width` pixels, broken at spaces. Fonts of browsers may be 15 % wider than ours."""
    lines: list[str] = []
    for word in text.split(" "):
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and 1.15 * font(size).getlength(longer) <= width:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines


@dataclass
class Sheet:
    """Texts, pictures and lines on white, in pixels from the top left corner."""

    width: int
    height: int
    _texts: list[tuple[float, float, str, int, Color, str]] = field(default_factory=list)
    _images: list[tuple[int, int, Pixels]] = field(default_factory=list)
    _lines: list[tuple[float, float, float, float, Color]] = field(default_factory=list)

    def text(self, x: float, y: float, text: str, size: int = 13, color: Color = FAINT, anchor: str = "l") -> None:
        """A text whose base line is at `y`; `x` is its left end (l), middle (m) or right end (r)."""
        self._texts.append((x, y, text, size, color, anchor))

    def paragraph(
        self, x: float, y: float, text: str, size: int, width: float, color: Color = FAINT, anchor: str = "l"
    ) -> float:
        """A text of as many lines as it takes in `width` pixels, from `y` down; returns where the next begins."""
        for line in wrapped(text, size, width):
            y += 1.3 * size
            self.text(x, y - 0.3 * size, line, size, color, anchor)
        return y

    def image(self, x: int, y: int, pixels: Pixels) -> None:
        self._images.append((x, y, pixels))

    def line(self, x0: float, y0: float, x1: float, y1: float, color: Color = LINE) -> None:
        self._lines.append((x0, y0, x1, y1, color))

    def render(self) -> Image.Image:
        """The sheet in pixels."""
        image = Image.new("RGB", (self.width, self.height), PAPER)
        draw = ImageDraw.Draw(image)
        for x0, y0, x1, y1, color in self._lines:
            draw.line((x0, y0, x1, y1), color, 2)
        for left, top, pixels in self._images:
            image.paste(Image.fromarray(pixels), (left, top))
        for x, y, text, size, color, anchor in self._texts:
            draw.text((x, y), text, color, font(size), anchor=f"{anchor}s")
        return image

    def svg(self) -> str:
        """The sheet as an SVG file that refers to nothing outside itself."""
        parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{self.width}" height="{self.height}" '
            f'viewBox="0 0 {self.width} {self.height}" font-family="sans-serif">',
            f'<rect width="100%" height="100%" fill="{_hex(PAPER)}"/>',
        ]
        parts += [
            f'<path d="M{x0} {y0}L{x1} {y1}" stroke="{_hex(color)}" stroke-width="2"/>'
            for x0, y0, x1, y1, color in self._lines
        ]
        for left, top, pixels in self._images:
            data = base64.b64encode(png(pixels)).decode()
            height, width = pixels.shape[:2]
            parts.append(
                f'<image x="{left}" y="{top}" width="{width}" height="{height}" href="data:image/png;base64,{data}"/>'
            )
        parts += [
            f'<text x="{x}" y="{y}" font-size="{size}" fill="{_hex(color)}" text-anchor="{_ANCHORS[anchor]}">'
            f"{escape(text)}</text>"
            for x, y, text, size, color, anchor in self._texts
        ]
        return "\n".join([*parts, "</svg>", ""])

    def save(self, path: str | os.PathLike[str], suffix: str) -> tuple[int, int]:
        """Writes a PNG or SVG file, as `suffix` says, and returns the size in pixels."""
        if suffix == ".svg":
            with open(path, "w", encoding="utf-8") as out:
                out.write(self.svg())
        else:
            self.render().save(path, "PNG", optimize=True)
        return self.width, self.height


def _hex(color: Color) -> str:
    return "#" + "".join(f"{value:02x}" for value in color)
