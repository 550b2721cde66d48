"""The sections of the page that tell of the whole data set."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import datetime, timezone
from itertools import pairwise
from typing import Any

import numpy as np

from ove_codec.datasets.report.charts import Chart, figure, percent
from ove_codec.datasets.report.clip_section import budget_chart
from ove_codec.datasets.report.folder import Failures
from ove_codec.datasets.report.samples import Shown
from ove_codec.datasets.report.text import duration, escape, number
from ove_codec.datasets.report.totals import Totals
from ove_codec.datasets.statistics import BUDGETS

_BINS = 25
_LISTED = 12


def table(head: Sequence[str], rows: Sequence[Sequence[str]], caption: str, options: str = "") -> str:
    """A table of text, which scrolls in itself where it is too wide."""
    named = escape(caption)
    titles = "".join(f'<th scope="col">{escape(title)}</th>' for title in head)
    body = []
    for row in rows:
        cells = zip(head, row, strict=True)
        body.append("".join(f'<td data-label="{escape(t)}"><bdi>{escape(cell)}</bdi></td>' for t, cell in cells))
    lines = "".join(f"<tr>{cells}</tr>" for cells in body)
    return (
        f'<div class=scroll role=group aria-label="{named}"><table {options}><caption>{named}</caption>'
        f"<thead><tr>{titles}</tr></thead><tbody>{lines}</tbody></table></div>"
    )


def tiles(totals: Totals, failures: Failures) -> str:
    """The figures at the top of the page."""
    shown = [("clips selected", number(totals.clips), "")]
    tried = totals.clips + failures.count
    shown.append(("failed", number(failures.count), percent(failures.count / tried) + " of all" if tried else ""))
    shown.append(
        ("tokens", number(totals.tokens), f"{number(totals.tokens / totals.clips)} a clip" if totals.clips else "")
    )
    if totals.fractions:
        mean = float(np.mean(totals.fractions))
        shown.append(("of the patches kept", percent(mean), "mean of the clips"))
    if totals.shares:
        shown.append(("of the heat kept", percent(float(np.median(totals.shares))), "median of the clips"))
    if totals.spans:
        seconds = sum(max(span.ended) - run for run, span in totals.spans.items())
        rate = sum(len(span.ended) for span in totals.spans.values()) / max(seconds, 1e-3)
        shown.append(("clips a second", number(rate), f"in {duration(seconds)} of work"))
    cells = "".join(
        f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd><dd class=unit>{escape(about)}</dd></div>"
        for name, value, about in shown
    )
    return f"<dl class=tiles>{cells}</dl>"


def data_set(totals: Totals, sampled: Sequence[Shown]) -> str:
    """Budget curves, distributions, and what the clips are."""
    if not totals.clips:
        return "<p>No clip is finished yet.</p>"
    parts = []
    if totals.unknown:
        parts.append(
            f"<p class=warning>{totals.unknown} of {totals.clips} clips were selected by an older version, which "
            "recorded no figures per clip. They are counted, but not in the charts. Select into a new folder to "
            "include them.</p>"
        )
    charts = []
    if totals.shares:
        charts.append(_budget_curves(totals, sampled))
        none = f"{totals.without_heat} clips have no heat." if totals.without_heat else ""
        charts.append(
            _distribution("Heat kept", "share of the heat in the patches kept", np.array(totals.shares), none)
        )
    if totals.fractions:
        charts.insert(1, _distribution("Patches kept", "share of the patches kept", np.array(totals.fractions)))
    parts.append(f"<div class=charts>{''.join(charts)}</div>")
    parts.append("<div class=tables>")
    if totals.codecs:
        rows = [
            (name, number(count), percent(count / totals.clips)) for name, count in totals.codecs.most_common(_LISTED)
        ]
        parts.append(table(("codec", "clips", "share"), rows, "Codecs"))
        rows = [(f"{w} x {h}", number(n), percent(n / totals.clips)) for (w, h), n in totals.sizes.most_common(_LISTED)]
        more = len(totals.sizes) - _LISTED
        parts.append(table(("size", "clips", "share"), rows, "Sizes" + (f", and {more} others" if more > 0 else "")))
    if totals.clips > 1:
        for name, clips in (("Least heat", totals.calmest), ("Most heat", totals.busiest)):
            if clips:
                parts.append(table(("clip", "mean heat"), [(clip, number(heat)) for heat, clip in clips], name))
    return "".join([*parts, "</div>"])


def _budget_curves(totals: Totals, sampled: Sequence[Shown]) -> str:
    chart = budget_chart("The share of the heat in the hottest patches, over their share of all: median of the clips.")
    low, middle, high = (totals.curve(quantile).tolist() for quantile in (0.1, 0.5, 0.9))
    chart.band(BUDGETS, low, high, "8 of 10 clips")
    for shown in sampled:
        curve = shown.entry["statistics"].get("curve")
        if curve and len(curve) == len(BUDGETS):
            chart.line(BUDGETS, curve, "line faint", shown.entry["name"])
    chart.line(BUDGETS, middle, label="median of the clips")
    fraction, share = float(np.median(totals.fractions)), float(np.median(totals.shares))
    chart.dot(fraction, share, f"kept: {percent(fraction)} of the patches, {percent(share)} of the heat")
    note = (
        "The line is the median of the clips, the band holds 8 of 10; the faint lines are the sampled ones. The dot is "
        f"what was kept: {escape(percent(fraction))} of the patches, with {escape(percent(share))} of the heat. "
        "It is below the line if patches are kept regardless of their heat, as those of a whole first picture are."
    )
    rows = [("patches kept", "1 in 10 below", "median", "1 in 10 above")]
    rows += [
        (percent(b), percent(x), percent(y), percent(z)) for b, x, y, z in zip(BUDGETS, low, middle, high, strict=True)
    ]
    return figure(chart, "Heat over budget", note, rows)


def _distribution(caption: str, label: str, values: np.ndarray[Any, Any], extra: str = "") -> str:
    top = float(values.max())
    ceiling = next(limit for limit in (0.02, 0.05, 0.1, 0.2, 0.5, 1.0) if top <= limit)
    edges = np.linspace(0, ceiling, _BINS + 1)
    counts = np.histogram(values, edges)[0]
    median = float(np.median(values))
    title = f"Clips by {label}: {percent(float(values.min()))} to {percent(top)}, median {percent(median)}."
    chart = Chart(title, (0, ceiling), (0, 1.08 * int(counts.max())), label, "clips", percent)
    names = [f"{percent(a)} to {percent(b)}" for a, b in pairwise(edges)]
    chart.bars(edges.tolist(), counts.tolist(), [f"{name}: {n} clips" for name, n in zip(names, counts, strict=True)])
    chart.rule(median, label=f"median: {percent(median)}")
    note = f"Median {percent(median)}, from {percent(float(values.min()))} to {percent(top)}. {extra}".strip()
    rows = [(label, "clips"), *((name, str(n)) for name, n in zip(names, counts, strict=True) if n)]
    return figure(chart, caption, escape(note), rows)


def throughput(totals: Totals, runs: Sequence[dict[str, Any]]) -> str:
    """Clips and tokens a second over time, by worker, and the runs."""
    parts = []
    if totals.spans:
        edges, clips, tokens, borders = totals.throughput()
        unit, scale = ("minutes at work", 60.0) if edges[-1] > 300 else ("seconds at work", 1.0)
        charts = []
        for name, rates in (("Clips a second", clips), ("Tokens a second", tokens)):
            x = (edges / scale).tolist()
            chart = Chart(f"{name}, {number(rates.min())} to {number(rates.max())}.", (0, x[-1]),
                          (0, 1.05 * float(rates.max())), unit)  # fmt: skip
            labels = [
                f"{number(a)} to {number(b)} {unit}: {number(r)}" for a, b, r in zip(x, x[1:], rates, strict=False)
            ]
            chart.bars(x, rates.tolist(), labels)
            for border in borders:
                chart.rule(border / scale, label="the next run")
            rows = [(unit, name.lower())]
            rows += [(f"{number(a)} to {number(b)}", number(r)) for a, b, r in zip(x, x[1:], rates, strict=False)]
            note = "Dashed lines: where a run ended and the next one began." if borders else ""
            charts.append(figure(chart, name, note, rows))
        parts.append(f"<div class=charts>{''.join(charts)}</div>")
    elif totals.clips:
        parts.append("<p class=warning>The version that selected the clips did not record when each was done.</p>")
    else:
        parts.append("<p>No clip is finished yet.</p>")
    if totals.workers:
        ranked = sorted(totals.workers.items(), key=lambda item: -item[1].clips)
        done = [
            (name, number(w.clips), number(w.tokens), _rate(w.clips, w.seconds), _rate(w.tokens, w.seconds),
             duration(w.seconds))
            for name, w in ranked[:_LISTED]
        ]  # fmt: skip
        more = len(ranked) - _LISTED
        head = ("worker", "clips", "tokens", "clips a second", "tokens a second", "busy")
        parts.append(table(head, done, "Workers" + (f", and {more} others" if more > 0 else ""), "class=cards"))
    if runs:
        parts.append(_runs(runs))
    return "".join(parts)


def _rate(count: int, seconds: float) -> str:
    return number(count / seconds) if seconds else "-"


def _runs(runs: Sequence[dict[str, Any]]) -> str:
    rows = []
    for run in runs[::-1][:_LISTED]:
        source = run.get("source") if isinstance(run.get("source"), list) else []
        named = ", ".join(map(str, source or [])) + (", ..." if _count(run, "sources") > len(source or []) else "")
        workers = run.get("workers") or "all"
        engine = f"{run.get('engine')}, {workers} worker{'s' if workers != 1 else ''}" if run.get("engine") else ""
        rows.append(
            (
                _date(float(run["began"])),
                # A run that was killed could not note how it ended.
                str(run.get("end") or "running, or killed"),
                named,
                engine + (f", {run['device']}" if run.get("device") else ""),
                *(number(_count(run, name)) if "end" in run else "-" for name in ("done", "finished", "failed")),
                duration(_count(run, "seconds")) if "end" in run else "-",
                str(run.get("version", "")),
            )
        )
    head = ("began", "end", "from", "engine", "done", "done before", "failed", "time", "version")
    more = len(runs) - _LISTED
    return table(head, rows, "Runs, newest first" + (f", and {more} before" if more > 0 else ""), "class=cards")


def _count(run: dict[str, Any], name: str) -> float:
    value = run.get(name)
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else 0.0


def _date(seconds: float) -> str:
    try:
        return datetime.fromtimestamp(seconds, timezone.utc).strftime("%Y-%m-%d %H:%M UTC")
    except (OverflowError, OSError, ValueError):
        return "-"


def failures_section(failures: Failures, file: str) -> str:
    """Counts by kind, and a table that can be searched and sorted."""
    if not failures.count:
        return "<p>No clip failed in the last run.</p>"
    most = max(failures.kinds.values())
    kinds = "".join(
        f"<li><span><bdi>{escape(kind)}</bdi></span><meter min=0 max={most} value={count} "
        f'aria-label="{escape(kind)}">{count}</meter><b>{count}</b></li>'
        for kind, count in failures.kinds.most_common(_LISTED)
    )
    others = len(failures.kinds) - _LISTED
    head = ("name", "error", "reason", "byte", "tries", "where")
    rows = [
        [
            "" if row[name] is None else str(row[name])
            for name in ("name", "error", "reason", "position", "attempts", "where")
        ]
        for row in failures.rows
    ]
    left = failures.count - len(failures.rows)
    about = f"<p class=note>{left} more are in <bdi>{escape(file)}</bdi>.</p>" if left else ""
    listed = table(head, rows, "Failures", 'id=failed class="cards titled sorted" data-search=filter')
    return (
        f"<ul class=kinds>{kinds}</ul>"
        + (f"<p class=note>and {others} other kinds</p>" if others > 0 else "")
        + "<div class=search><label for=filter>Search the failures</label>"
        f"<input id=filter type=search autocomplete=off spellcheck=false><output for=filter>{len(rows)} of {len(rows)}"
        f"</output></div>{listed}{about}"
    )


def settings_section(settings: dict[str, Any]) -> str:
    """The parameters of the selection, and how the shards were written."""
    rows = [(name, _value(value)) for name, value in sorted(settings.items()) if name != "params"]
    rows += [(name, _value(value)) for name, value in settings["params"].items()]
    pairs = "".join(f"<div><dt>{escape(name)}</dt><dd><bdi>{escape(value)}</bdi></dd></div>" for name, value in rows)
    return f"<dl class=settings>{pairs}</dl>"


def _value(value: object) -> str:
    if value is None or isinstance(value, bool):
        return {True: "yes", False: "no", None: "-"}[value]
    return f"{value:.6g}" if isinstance(value, float) else str(value)
