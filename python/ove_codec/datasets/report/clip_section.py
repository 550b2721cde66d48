"""A sampled clip on the page: its panels, and what they hold over time."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import numpy as np

from ove_codec.datasets.report.charts import Chart, figure, percent
from ove_codec.datasets.report.samples import Film, Shown
from ove_codec.datasets.report.text import escape, number, plain
from ove_codec.datasets.statistics import BUDGETS

_KINDS = ("dense", "sampled", "heat", "selected")


def clip_section(shown: Shown, index: int) -> str:
    """One clip, as HTML."""
    entry, stored = shown.entry, shown.stored
    facts = entry["statistics"]
    pieces = [f"{number(entry['tokens'])} tokens"]
    if facts.get("patches"):
        pieces[0] += f", {percent(entry['tokens'] / facts['patches'])} of all patches"
    if facts.get("kept") is not None:
        pieces.append(f"{percent(facts['kept'])} of the heat")
    pieces.append(f"{len(stored.frame_ids)} of {number(facts['pictures'])} pictures sampled" if facts.get("pictures")
                  else f"{len(stored.frame_ids)} pictures sampled")  # fmt: skip
    if facts.get("width"):
        pieces.append(f"{facts['width']} x {facts.get('height')}, {facts.get('codec')}")
    notes = "".join(f"<p class=warning>{escape(note)}</p>" for note in shown.notes)
    return (
        f'<article class=clip aria-labelledby="clip-{index}">'
        f'<h3 id="clip-{index}"><bdi>{escape(entry["name"])}</bdi></h3>'
        f"<p class=facts>{escape('; '.join(pieces))}</p>"
        f"<p class=where><bdi>{escape(entry['where'])}</bdi></p>{notes}"
        f"{_player(shown.film, entry['name'], index) if shown.film else ''}"
        f"<div class=charts>{''.join(_charts(shown))}</div></article>"
    )


def _player(film: Film, name: str, index: int) -> str:
    plan = {
        "columns": film.columns,
        "slots": film.slots,
        "cells": film.cells,
        "held": film.held,
        "seconds": [round(value, 3) for value in film.seconds],
        "durations": [round(1000 * value) for value in film.durations],
    }
    panels = []
    for kind, (title, about) in zip(_KINDS, film.captions, strict=True):
        label = f"{title}, panel of {plain(name, 80)}: {about}"
        panels.append(
            f'<figure class=panel><canvas data-kind="{kind}" width="{film.width}" height="{film.height}" role="img" '
            f'style="background-image:url({film.posters[kind]})" '
            f'aria-label="{escape(label)}"></canvas><figcaption><b>{escape(title)}</b> {escape(about)}</figcaption>'
            "</figure>"
        )
    sheets = "".join(f'<img hidden alt="" data-sheet="{kind}" src="{uri}">' for kind, uri in film.sheets.items())
    last = len(film.slots) - 1
    fast = f" <span class=unit>played {film.speed:.1f} times as fast</span>" if film.speed >= 1.05 else ""
    return (
        f'<div class=player data-plan="{escape(json.dumps(plan), 10**6)}"><div class=panels>{"".join(panels)}</div>'
        f'{sheets}<div class=controls><button type=button class=play aria-describedby="clip-{index}">Play</button>'
        f'<input type=range min=0 max="{last}" step=1 value=0 aria-label="Sampled picture" '
        f'aria-describedby="clip-{index}"><output>1 of {last + 1}</output>{fast}</div></div>'
    )


def _charts(shown: Shown) -> list[str]:
    entry, stored = shown.entry, shown.stored
    facts: dict[str, Any] = entry["statistics"]
    counts = stored.tokens_per_picture
    times = np.arange(len(counts), dtype=float) if stored.pts is None else stored.pts
    if stored.pts is None and shown.film is not None and len(shown.film.seconds) == len(counts):
        times = np.array(shown.film.seconds)
    unit = "seconds" if stored.pts is not None or shown.film is not None else "sampled picture"
    if len(times) != len(counts) or (np.diff(times) <= 0).any():
        times, unit = np.arange(len(counts), dtype=float), "sampled picture"
    step = float(np.median(np.diff(times))) if len(times) > 1 else 1.0
    edges = [*times.tolist(), float(times[-1]) + step]
    span = (edges[0], edges[-1])
    charts = []
    heat = facts.get("heat") or []
    if len(heat) == len(counts):
        chart = Chart(
            f"Mean heat of each sampled picture, {number(min(heat))} to {number(max(heat))}.",
            span, (0, 1.05 * max(heat) or 1), unit, "mean, 0 to 1", height=170,
        )  # fmt: skip
        middles = [(a + b) / 2 for a, b in pairwise(edges)]
        chart.band(middles, [0] * len(heat), heat)
        chart.line(middles, heat, "line hot")
        chart.rule(middles[0], "cursor")
        charts.append(_timed(chart, "Heat over time", middles))
    chart = Chart(
        f"Tokens kept of each sampled picture, {counts.min()} to {counts.max()}.",
        span, (0, 1.05 * max(1, int(counts.max()))), unit, "tokens", height=170,
    )  # fmt: skip
    chart.bars(
        edges, counts.tolist(), [f"picture {i}: {n} tokens" for i, n in zip(stored.frame_ids, counts, strict=True)]
    )
    middles = [(a + b) / 2 for a, b in pairwise(edges)]
    chart.rule(middles[0], "cursor")
    charts.append(_timed(chart, "Tokens per frame", middles))
    curve = facts.get("curve")
    if curve and len(curve) == len(BUDGETS) and facts.get("patches"):
        chart = budget_chart("The share of this clip's heat in its hottest patches, over their share of all.", 170)
        chart.line(BUDGETS, curve)
        kept, fraction = facts.get("kept") or 0.0, min(1.0, entry["tokens"] / facts["patches"])
        chart.dot(fraction, kept, f"kept: {percent(fraction)} of the patches, {percent(kept)} of the heat")
        charts.append(figure(chart, "Budget curve"))
    return charts


def budget_chart(title: str, height: int = 220) -> Chart:
    """The empty plot of a budget curve."""
    return Chart(title, (0, 1), (0, 1), "share of the patches kept", "share of heat", percent, percent, height=height)


def _timed(chart: Chart, caption: str, middles: list[float]) -> str:
    """A chart whose cursor the player moves: the places of the sampled pictures go along."""
    places = json.dumps([round(chart.across(x), 1) for x in middles])
    return figure(chart, caption).replace("<figure class=chart>", f'<figure class="chart timed" data-x="{places}">', 1)
