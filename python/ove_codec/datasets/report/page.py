"""The page around the sections: one HTML file that asks for nothing outside itself."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from datetime import datetime, timezone
from importlib.resources import files
from typing import Any

import numpy as np

import ove_codec
from ove_codec._drawing import colors
from ove_codec.datasets.layout import FAILURES
from ove_codec.datasets.report import sections
from ove_codec.datasets.report.clip_list import clip_list
from ove_codec.datasets.report.clip_section import clip_section
from ove_codec.datasets.report.folder import Failures, Results
from ove_codec.datasets.report.samples import Shown
from ove_codec.datasets.report.text import escape
from ove_codec.datasets.report.totals import Totals

_PANELS = (
    "The panels: all sampled pictures (dense); whole pictures with the same number of tokens, each held until the next "
    "(sampled); the heat, dark to light; the patches that are kept (selected)."
)


def page(
    results: Results,
    totals: Totals,
    failures: Failures,
    sampled: Sequence[Shown],
    runs: Sequence[dict[str, Any]],
    seed: int,
) -> bytes:
    """The whole page, in UTF-8."""
    title = f"Selections in {results.shown.rpartition('/')[2] or results.shown}"
    script, style = (_asset(name) for name in ("page.js", "page.css"))
    # Should anything ever get past the escapes: no other script runs, and nothing is fetched.
    allowed = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{allowed}'"
    parts = [
        ("clips", "Sampled clips", _clips(totals, sampled, seed)),
        ("set", "The data set", sections.data_set(totals, sampled)),
        ("list", "All clips", clip_list(totals.listed)),
        ("throughput", "Throughput", sections.throughput(totals, runs)),
        ("failures", "Failures", sections.failures_section(failures, FAILURES)),
        ("settings", "Settings", sections.settings_section(results.settings)),
    ]
    links = "".join(f'<li><a href="#{name}">{heading}</a></li>' for name, heading, _ in parts)
    made = datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC")
    body = "".join(
        f'<section id="{name}" aria-labelledby="{name}-title"><h2 id="{name}-title">{heading}</h2>{html}</section>'
        for name, heading, html in parts
    )
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{escape(policy)}">
<title>{escape(title)}</title>
<style>{style}</style>
</head>
<body>
<header>
<h1><bdi>{escape(title)}</bdi></h1>
<p class=where><bdi>{escape(results.shown)}</bdi></p>
{sections.tiles(totals, failures)}
<nav aria-label="Sections"><ul>{links}</ul></nav>
<noscript><p class=warning>Turn JavaScript on to play the panels, and to sort and search the lists.</p></noscript>
</header>
<main>{body}</main>
<footer>Made {made} by ove_codec {escape(ove_codec.__version__)}.</footer>
<script>{script}</script>
</body>
</html>
""".encode()


def _clips(totals: Totals, sampled: Sequence[Shown], seed: int) -> str:
    if not totals.clips:
        return "<p>No clip is finished yet.</p>"
    if not sampled:
        return "<p>The report was made without clips (--clips 0).</p>"
    clips = "".join(clip_section(shown, index) for index, shown in enumerate(sampled))
    about = f"{len(sampled)} of {totals.clips} clips, chosen at random (seed {seed})."
    return (
        f"<p>{about} <button type=button id=all hidden>Pause all</button></p><p class=note>{_PANELS}</p>"
        f"<p class=legend>{_legend()}</p>{clips}"
    )


def _legend() -> str:
    """What the colours of the heat mean."""
    stops = ", ".join(f"rgb({r:.0f} {g:.0f} {b:.0f})" for r, g, b in colors(np.linspace(0, 1, 7)))
    return f'heat 0 <span class=ramp style="background: linear-gradient(to right, {stops})"></span> 1'


def _asset(name: str) -> str:
    return files("ove_codec.datasets.report").joinpath(name).read_text("utf-8")
