"""Charts as inline SVG: text is text, colours are the page's, and every mark tells its value when pointed at."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from ove_codec.datasets.report.text import escape, number

Format = Callable[[float], str]
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 12, 12, 38  # room around the plot for ticks and titles


def percent(value: float) -> str:
    """A share 0..1 for people."""
    shown = f"{100 * value:.1f}"
    return f"{shown.removesuffix('.0')} %"


def ticks(low: float, high: float, most: int = 5) -> list[float]:
    """Round values in low..high, at equal distances of 1, 2 or 5 times a power of ten."""
    span = high - low
    if not span > 0:
        return [low]
    power = 10.0 ** math.floor(math.log10(span / most))
    step = next(power * factor for factor in (1, 2, 5, 10) if span / (power * factor) <= most)
    first = math.ceil(low / step - 1e-9)
    return [step * n for n in range(first, math.floor(high / step + 1e-9) + 1)]


@dataclass
class Chart:
    """A plot with both axes; marks are added in data units, and `svg` gives the whole.

    title: what it shows, for those who do not see it. x, y: ranges. x_label, y_label: titles of the axes. x_format,
    y_format: of the numbers at their ticks.
    """

    title: str
    x: tuple[float, float]
    y: tuple[float, float]
    x_label: str = ""
    y_label: str = ""
    x_format: Format = number
    y_format: Format = number
    width: int = 400
    height: int = 220
    marks: list[str] = field(default_factory=list)

    def at(self, x: float, y: float) -> tuple[float, float]:
        """A place in the plot, in units of the picture."""
        return self.across(x), self.up(y)

    def across(self, x: float) -> float:
        low, high = self.x
        return _LEFT + (self.width - _LEFT - _RIGHT) * (x - low) / ((high - low) or 1)

    def up(self, y: float) -> float:
        low, high = self.y
        return self.height - _BOTTOM - (self.height - _TOP - _BOTTOM) * (y - low) / ((high - low) or 1)

    def line(self, xs: Sequence[float], ys: Sequence[float], kind: str = "line", label: str = "") -> None:
        self.marks.append(f'<path class="{kind}" d="{self._path(xs, ys)}">{_told(label)}</path>')

    def band(self, xs: Sequence[float], low: Sequence[float], high: Sequence[float], label: str = "") -> None:
        there = self._path(xs, high)
        back = self._path(list(xs)[::-1], list(low)[::-1]).replace("M", "L", 1)
        self.marks.append(f'<path class="band" d="{there}{back}Z">{_told(label)}</path>')

    def bars(self, edges: Sequence[float], heights: Sequence[float], labels: Sequence[str], kind: str = "bar") -> None:
        """A bar from each edge to the next."""
        for left, right, value, label in zip(edges, edges[1:], heights, labels, strict=False):
            if not value > 0:
                continue
            x0, y0 = self.at(left, value)
            x1, y1 = self.at(right, self.y[0])
            gap = 1 if x1 - x0 > 3 else 0
            size = f'width="{max(0.5, x1 - x0 - gap):.1f}" height="{max(0.5, y1 - y0):.1f}"'
            self.marks.append(f'<rect class="{kind}" x="{x0:.1f}" y="{y0:.1f}" {size}>{_told(label)}</rect>')

    def dot(self, x: float, y: float, label: str = "") -> None:
        cx, cy = self.at(x, y)
        self.marks.append(f'<circle class="dot" cx="{cx:.1f}" cy="{cy:.1f}" r="4.5">{_told(label)}</circle>')

    def rule(self, x: float, kind: str = "rule", label: str = "") -> None:
        """A vertical line through the plot."""
        at = self.across(x)
        ends = f'x1="{at:.1f}" x2="{at:.1f}" y1="{_TOP}" y2="{self.height - _BOTTOM}"'
        self.marks.append(f'<line class="{kind}" {ends}>{_told(label)}</line>')

    def svg(self) -> str:
        right, bottom = self.width - _RIGHT, self.height - _BOTTOM
        axes = []
        for value in ticks(*self.y, most=4):
            y = self.up(value)
            axes.append(f'<line class="grid" x1="{_LEFT}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}"/>')
            axes.append(
                f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{escape(self.y_format(value))}</text>'
            )
        for value in ticks(*self.x):
            x, shown = self.across(value), escape(self.x_format(value))
            axes.append(f'<text x="{x:.1f}" y="{bottom + 15}" text-anchor="middle">{shown}</text>')
        axes.append(f'<line class="axis" x1="{_LEFT}" x2="{right}" y1="{bottom}" y2="{bottom}"/>')
        middle = (_LEFT + right) / 2
        axes.append(f'<text class="label" x="{middle}" y="{self.height - 5}" text-anchor="middle">'
                    f"{escape(self.x_label)}</text>")  # fmt: skip
        return (
            f'<svg viewBox="0 0 {self.width} {self.height}" role="img" aria-label="{escape(self.title)}">'
            f"{''.join(axes)}{''.join(self.marks)}</svg>"
        )

    def _path(self, xs: Sequence[float], ys: Sequence[float]) -> str:
        points = (self.at(x, y) for x, y in zip(xs, ys, strict=True))
        return "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points)


def figure(chart: Chart, caption: str, note: str = "", rows: Sequence[Sequence[str]] = ()) -> str:
    """A chart under its caption (text), with a note (HTML) and the numbers behind it, the first row their titles."""
    numbers = ""
    if rows:
        head = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in rows[0])
        body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows[1:])
        numbers = (f"<details><summary>Numbers</summary><div class=scroll><table><thead><tr>{head}</tr>"
                   f"</thead><tbody>{body}</tbody></table></div></details>")  # fmt: skip
    about = f"<p class=note>{note}</p>" if note else ""
    unit = f"<span class=unit>{escape(chart.y_label)}</span>" if chart.y_label else ""
    return f"<figure class=chart><figcaption>{escape(caption)}{unit}</figcaption>{chart.svg()}{about}{numbers}</figure>"


def _told(label: str) -> str:
    return f"<title>{escape(label)}</title>" if label else ""
