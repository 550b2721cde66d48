"""Charts of measured figures, as SVG: `python bench/charts.py` draws all of them again from what was recorded.

The figures are those of the tables in ``docs/measurements.md`` and of the files in ``bench/results``. A chart is as
wide as a phone's screen, so that its text can be read there.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
RESULTS = HERE / "results"
MEASUREMENTS = HERE.parent / "docs" / "measurements.md"
WIDTH = 4.8  # inches
OVER_PYAV = "time over PyAV's full decode"
_MARKERS = (("o", "tab:blue"), ("D", "tab:cyan"), ("s", "tab:green"), ("x", "tab:red"), ("^", "tab:purple"))

Row = dict[str, str]  # a row of a table: column to cell


@dataclass(frozen=True)
class Chart:
    """Values of some rows, a dot each; the rows from top to bottom, a panel for each of several titles."""

    rows: Sequence[str]
    panels: Mapping[str, Mapping[str, Sequence[float | None]]]  # title, label of the dots, a value for every row
    axis: str
    log: bool = False
    line: float | None = None  # a vertical line here
    shared: bool = True  # one scale for all panels


def pyplot() -> Any:
    """matplotlib.pyplot, set to keep text as text, and to depend neither on the time nor on chance."""
    import_module("matplotlib").use("svg")
    plt = import_module("matplotlib.pyplot")
    plt.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "ove_codec", "font.family": "sans-serif"})
    plt.rcParams.update({"font.size": 9, "axes.titlesize": 9})
    return plt


def save(figure: Any, path: Path) -> None:
    figure.savefig(path, metadata={"Date": None, "Creator": None})
    pyplot().close(figure)


def draw(chart: Chart, path: Path) -> None:
    labels = list(dict.fromkeys(label for panel in chart.panels.values() for label in panel))
    legend_rows = -(-len(labels) // 2)
    height = (0.25 + 0.19 * len(chart.rows) + 0.2) * len(chart.panels) + 0.4 + 0.2 * legend_rows
    figure, all_axes = pyplot().subplots(
        len(chart.panels), 1, figsize=(WIDTH, height), sharex=chart.shared, squeeze=False, layout="constrained"
    )
    for (title, panel), axes in zip(chart.panels.items(), all_axes[:, 0], strict=True):
        if chart.line is not None:
            axes.axvline(chart.line, color="black", linewidth=1)
        for label, values in panel.items():
            marker, color = _MARKERS[labels.index(label)]
            known = [(value, i) for i, value in enumerate(values) if value is not None]
            axes.scatter([x for x, _ in known], [y for _, y in known], s=24, color=color, marker=marker, label=label)
        if title:
            axes.set_title(title)
        axes.set_yticks(range(len(chart.rows)), chart.rows)
        axes.set_ylim(len(chart.rows) - 0.5, -0.5)
        if chart.log:
            axes.set_xscale("log")
            axes.xaxis.set_major_locator(import_module("matplotlib.ticker").LogLocator(subs=(1, 2, 5)))
            axes.xaxis.set_major_formatter("{x:g}")
            axes.xaxis.set_minor_formatter("")
        else:
            axes.set_xlim(left=0)
        axes.grid(axis="both", color="0.9")
        axes.set_axisbelow(True)
    all_axes[-1, 0].set_xlabel(chart.axis)
    shown = {label: handle for axes in all_axes[:, 0] for handle, label in zip(*axes.get_legend_handles_labels())}  # noqa: B905
    figure.legend(shown.values(), shown.keys(), loc="outside upper center", ncols=2, frameon=False)
    save(figure, path)


def tables(page: str, name: str) -> list[list[Row]]:
    """The Markdown tables between the marks of this name."""
    found = re.search(f"<!-- {name} -->\n(.*?)<!-- /{name} -->", page, re.DOTALL)
    if not found:
        raise ValueError(f"docs/measurements.md has no marks <!-- {name} --> and <!-- /{name} -->")
    made = []
    for lines in re.findall(r"(?:^\|.*\n)+", found[1], re.MULTILINE):
        head, _, *rows = [[cell.strip() for cell in line.strip("| \n").split(" | ")] for line in lines.splitlines()]
        made.append([dict(zip(head, cells, strict=True)) for cells in rows])
    return made


def number(cell: str) -> float | None:
    """The first number of a cell; None where it has none."""
    found = re.search(r"\d[\d,]*(?:\.\d+)?", cell)
    return float(found[0].replace(",", "")) if found else None


def _bracket(cell: str) -> float:
    """The number in a cell's brackets."""
    ratio = number(cell.split("(")[1])
    assert ratio is not None, cell
    return ratio


def h264(page: str) -> Chart:
    rows = tables(page, "h264")[0]
    # The ratios of one run's times, of which the table has the median, rather than ratios of medians.
    read = [1 / _bracket(row["motion + residual (speed over PyAV)"]) for row in rows]
    select = [_bracket(row["select (share of motion + residual)"]) for row in rows]
    both = [_bracket(row["select + tokenize (share of PyAV)"]) for row in rows]
    dots = {
        "motion + residual": read,
        "select": [share * of_read for share, of_read in zip(select, read, strict=True)],
        "select + tokenize": both,
    }
    names = [row["clip"].removeprefix("H.264 ") for row in rows]
    return Chart(names, {"one thread": dots}, OVER_PYAV, line=1)


def routes(page: str) -> Chart:
    rows = tables(page, "routes")[0]
    columns = {"select": "select, s", "PyAV's full decode": "PyAV's full decode, s"}
    dots = {label: [number(row[column]) for row in rows] for label, column in columns.items()}
    return Chart([f"{row['codec']}, {row['route']}" for row in rows], {"": dots}, "CPU seconds", log=True)


def canvases(page: str) -> Chart:
    rows = [row for row in tables(page, "canvases")[0] if row["cores"] == "1" and row["program"] != "libavcodec"]
    names = list(dict.fromkeys(_canvas_row(row) for row in rows))
    panels = {}
    for title, column in (("CPU seconds", "of the processor"), ("peak memory, MiB", "MiB")):
        values = {(_canvas_row(row), row["program"]): number(row[column]) for row in rows}
        programs = list(dict.fromkeys(row["program"] for row in rows))
        panels[title] = {program: [values.get((name, program)) for name in names] for program in programs}
    return Chart(names, panels, "from file to JPEG files, one core", log=True, shared=False)


def _canvas_row(row: Row) -> str:
    clip = row["clip"].removesuffix(".mp4").removesuffix("-10s").replace("-medium", "").replace("-b", "")
    return f"{clip}, {number(row['pixels of a canvas']) or 0:,.0f} pixels"


def encoder(page: str) -> Chart:
    rows = tables(page, "encoder")[0]
    columns = ("packed tokens", "all patches embedded, eager attention")
    dots = {column: [number(row[column]) for row in rows] for column in columns}
    names = [f"{row['tokens a clip']} tokens" for row in rows]
    return Chart(names, {"": dots}, "tokens per second")


def loss(result: dict[str, Any]) -> Chart:
    found = result["loss"]
    sizes = sorted({(row["centres"], row["width"], row["batch"]) for row in found})
    ways = list(dict.fromkeys(row["variant"] for row in found))
    seconds = {(row["centres"], row["width"], row["batch"], row["variant"]): row.get("seconds") for row in found}
    dots = {way: [seconds.get((*size, way)) for size in sizes] for way in ways}
    names = [f"{centres / 1e6:g} M centres x {width}, {batch}" for centres, width, batch in sizes]
    return Chart(names, {"": dots}, "seconds per step", log=True)


OF_TABLES: dict[str, Callable[[str], Chart]] = {
    "h264": h264, "routes": routes, "canvases": canvases, "encoder": encoder,
}  # fmt: skip


def main() -> None:
    import motion_report
    import report

    page = MEASUREMENTS.read_text(encoding="utf-8")
    for name, make in OF_TABLES.items():
        draw(make(page), RESULTS / f"{name}.svg")
    draw(loss(_result("training-cpu")), RESULTS / "loss.svg")
    draw(report.decoders(_result("cpu")), RESULTS / "decoders.svg")
    report.plot(_result("cpu"), RESULTS / "cpu.svg")
    motion_report.plot(_result("motion"), RESULTS / "motion.svg")


def _result(name: str) -> dict[str, Any]:
    result: dict[str, Any] = json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))
    return result


if __name__ == "__main__":
    main()
