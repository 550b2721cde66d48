"""Tables of measured figures, as Markdown, from what the commands in ``bench/`` wrote."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import report

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "bench" / "results"

Column = tuple[str, Callable[[dict[str, Any]], str]]


def table(name: str) -> str:
    """The table that a page asks for by ``<!-- figures: NAME -->``: one of ``TABLES``, or a part of
    ``docs/measurements.md``."""
    if name in TABLES:
        return TABLES[name]()
    page = (ROOT / "docs" / "measurements.md").read_text(encoding="utf-8")
    found = re.search(f"<!-- {re.escape(name)} -->\n(.*?)<!-- /{re.escape(name)} -->", page, re.DOTALL)
    if not found:
        raise ValueError(f"no figures are called {name!r}: there are {', '.join(TABLES)}, and marks of measurements.md")
    # Pictures lie elsewhere in the site, and pages show them by themselves.
    return re.sub(r"^!\[.*?\]\(.*?\)\n+", "", found[1], flags=re.MULTILINE)


def _speed(columns: tuple[Column, ...]) -> str:
    """Columns of the benchmark of the CPU path, a row a clip."""
    clips = _result("cpu.json")["clips"]
    return _table([name for name, _ in columns], [[show(clip) for _, show in columns] for clip in clips])


def _cell(key: str, column: str = "", sign: str = "") -> Callable[[dict[str, Any]], str]:
    return lambda clip: report.cell(clip, key, column, sign).replace(" ", "\N{NO-BREAK SPACE}")


_CLIP: tuple[Column, ...] = (
    ("clip", lambda clip: f"{clip['clip']}, {clip['kbit_per_second'] / 1000:.1f} Mbit/s"),
    ("PyAV's decode", _cell("pyav decode 1")),
)
_READING: tuple[Column, ...] = (
    *_CLIP,
    ("motion + residual (speed over PyAV)", _cell("ove read 1", "read", "x")),
    ("on 2 threads (speed over 1)", _cell("ove read 2", "read 2", "x")),
    ("select (share of motion + residual)", _cell("ove select 1", "select 1")),
)
_TOKENS: tuple[Column, ...] = (
    *_CLIP,
    ("select + tokenize (share of PyAV)", _cell("ove tokens 1", "tokens 1")),
    ("torchcodec, 64 frames (speed of ours over it)", _cell("torchcodec uniform 1", "uniform 1", "x")),
    ("ours on 2 threads (share of PyAV's 2)", _cell("ove tokens 2", "tokens 2")),
)
_DECODERS: tuple[Column, ...] = (
    *_CLIP,
    *((report.NAMES[name], _cell(f"{name} decode 1", name)) for name in report.NAMES if name not in ("ove", "pyav")),
)


def _targets() -> str:
    rows = [
        [target["text"], target["worst"], target["clip"] or "-", "met" if target["met"] else "**missed**"]
        for target in _result("cpu.json")["targets"]
    ]
    return _table(["target", "worst", "clip", ""], rows)


def _machine() -> str:
    result = _result("cpu.json")
    facts, versions = result["machine"], result["versions"]
    libraries = "; ".join(f"{report.NAMES[name]} {versions[name]}" for name in report.NAMES if name in versions)
    machine = f"{facts['cpu']}, {facts['cores']} cores, {facts['system']}, Python {facts['python']}"
    return f"{machine}: {libraries}. Medians of {result['runs']} interleaved runs after a warm-up."


def _loss() -> str:
    """Time and memory of one step of the loss by variant, and of a whole step of an encoder."""
    result = _result("training-cpu.json")
    ways = list(dict.fromkeys(row["variant"] for row in result["loss"]))
    sizes = sorted({(row["centres"], row["width"], row["batch"]) for row in result["loss"]})
    cells = {(row["centres"], row["width"], row["batch"], row["variant"]): _cost(row) for row in result["loss"]}
    rows = [[*(f"{number:,}" for number in size), *(cells.get((*size, way), "-") for way in ways)] for size in sizes]
    step = result["step"]
    head = f"{result['device']}; PyTorch {result['torch']}; a share of {result['rate']} of the centres is drawn.\n\n"
    foot = (
        f"\nA whole step of {step['model']}, forwards, backwards and update, on {step['clips']} x {step['tokens']} "
        f"tokens: {step['seconds']:.2f} s, {step['peak_bytes'] / 1e6:.0f} MB.\n"
    )
    return head + _table(["centres", "width", "samples", *(f"`{way}`" for way in ways)], rows) + foot


def _cost(row: dict[str, Any]) -> str:
    if "error" in row:
        return "out of memory" if "memory" in row["error"] else "failed"
    return f"{row['seconds']:.3f} s, {row['peak_bytes'] / 1e6:.0f} MB".replace(" ", "\N{NO-BREAK SPACE}", 1)


TABLES: dict[str, Callable[[], str]] = {
    "machine": _machine,
    "reading": lambda: _speed(_READING),
    "tokens": lambda: _speed(_TOKENS),
    "decoders": lambda: _speed(_DECODERS),
    "targets": _targets,
    "loss": _loss,
}


def _result(name: str) -> dict[str, Any]:
    result: dict[str, Any] = json.loads((RESULTS / name).read_text(encoding="utf-8"))
    return result


def _table(head: list[str], rows: list[list[str]]) -> str:
    return "\n".join(report.row(cells) for cells in [head, ["---"] * len(head), *rows]) + "\n"
