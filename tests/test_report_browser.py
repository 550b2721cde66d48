"""The page about the output of `select-dataset` in a real browser: looked at, played, and used without a mouse."""

from __future__ import annotations

import base64
import io
import shutil
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from support import browser, ffmpeg

pq = pytest.importorskip("pyarrow.parquet", reason="data sets need pyarrow")

from ove_codec.datasets import Failure, failure_table, write_report  # noqa: E402 (pyarrow comes first)
from support import report  # noqa: E402
from support.report import BROKEN, HOSTILE  # noqa: E402

pytestmark = [
    pytest.mark.skipif(not ffmpeg.has_libx265(), reason="ffmpeg with libx265 is not installed"),
    pytest.mark.skipif(browser.executable() is None, reason="chromium is not installed"),
]

WIDTHS = {"desk": 1280, "phone": 390}
KINDS = ("dense", "sampled", "heat", "selected")
DRAWN = "[...document.querySelectorAll('.player input')].slice(0, 1).every(s => s.hasAttribute('aria-valuetext'))"
AT = "Number(document.querySelector('.player input').value)"
RESTS = f"(async () => {{ const a = {AT}; await new Promise(r => setTimeout(r, 500)); return a === {AT} }})()"


@pytest.fixture(scope="module")
def path(stream_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of three clips and a failure; names have scripts in them."""
    page = tmp_path_factory.mktemp("page") / "report.html"
    write_report(report.finished(stream_folder)[1], page)
    return page


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[browser.Page]:
    with browser.browser(tmp_path_factory.mktemp("profile")) as opened:
        yield opened


def panel(page: browser.Page, kind: str) -> NDArray[np.float64]:
    return page.screenshot(f'canvas[data-kind="{kind}"]').astype(float)


def drawn(page: browser.Page, kind: str) -> NDArray[np.float64]:
    """What is on the canvas of the first such panel, sample by sample."""
    uri = page.value(f"document.querySelector('canvas[data-kind={kind}]').toDataURL()")
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))).convert("RGB"), float)


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", WIDTHS)
def test_looks(page: browser.Page, path: Path, width: str, dark: bool) -> None:
    page.open(path, WIDTHS[width], dark=dark)
    page.until(DRAWN)
    seen = page.screenshot()
    assert seen.shape[1] == WIDTHS[width]
    # The paper is the page's own; nothing sticks out of it; what was drawn differs from it.
    paper = seen[2, 2].mean()
    assert paper < 40 if dark else paper > 240
    assert page.value("document.documentElement.scrollWidth") == WIDTHS[width]
    assert page.value(
        "[...document.querySelectorAll('h1, h2, h3, p, figure, table, dl, input, canvas, svg')].filter(e => "
        "!e.closest('.scroll') && e.getBoundingClientRect().right > innerWidth + 0.5).map(e => e.outerHTML)"
    ) == []  # fmt: skip
    for kind in KINDS:
        pixels = panel(page, kind)
        assert pixels.shape[1] == pytest.approx({"desk": 290, "phone": 162}[width], rel=0.1)
        assert pixels[9:-9, 9:-9].std() > 8, f"the panel {kind} is blank"
    for selector in (".chart svg", "#set .chart svg", "#throughput svg"):
        assert page.screenshot(selector).astype(float).std() > 5
    assert page.complaints == [] and page.requests == []


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_contrast(page: browser.Page, path: Path, dark: bool) -> None:
    """Text against what it stands on, as WCAG 2 counts it: 4.5 to 1, and 3 to 1 for lines of charts."""
    page.open(path, 1280, dark=dark)
    pairs = page.value("""(() => {
      const under = (e) => { for (; e; e = e.parentElement) {
        const c = getComputedStyle(e).backgroundColor; if (!c.includes(", 0)")) return c; } return "rgb(0, 0, 0)"; };
      const found = [];
      for (const e of document.querySelectorAll(
          "h1, h2, h3, p, a, dt, dd, td, th, figcaption, b, button, output, text, .hot, .bar"))
        if (e.checkVisibility()) { const s = getComputedStyle(e); const mark = e.matches(".line, .bar");
          const ink = e.matches(".line") ? s.stroke : e.ownerSVGElement ? s.fill : s.color;
          found.push([e.tagName + "." + e.className, ink, under(e), mark ? 3 : 4.5]); }
      return found; })()""")
    assert len(pairs) > 100

    def light(color: str) -> float:
        parts = np.array([float(c) for c in color.partition("(")[2].rstrip(")").split(",")[:3]]) / 255
        linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
        return float(linear @ [0.2126, 0.7152, 0.0722])

    poor = set()
    for name, ink, under, least in pairs:
        low, high = sorted((light(ink), light(under)))
        if (high + 0.05) / (low + 0.05) < least:
            poor.add((name, ink, under))
    assert not poor


def test_it_plays(page: browser.Page, path: Path) -> None:
    page.open(path, 1280)
    page.until(DRAWN)
    press = "document.querySelector('.play').click()"
    cursor = "Number(document.querySelector('.timed .cursor').getAttribute('x1'))"
    page.until(f"{AT} === 2 && ({press}, true)")  # the very picture, however slow the machine is
    before, left = {kind: panel(page, kind) for kind in ("dense", "heat", "selected")}, page.value(cursor)
    page.value(press)
    page.until(f"{AT} === 5 && ({press}, true)")
    for kind, pixels in before.items():
        assert np.abs(panel(page, kind) - pixels).mean() > 2, f"the panel {kind} stands still"
    assert page.value(cursor) > left
    page.value(press)
    # What is out of sight rests.
    page.until("document.querySelector('.player').getBoundingClientRect().height > 0")
    page.value("scrollTo(0, document.body.scrollHeight)")
    page.until(RESTS)


def test_panels_are_of_one_moment(page: browser.Page, path: Path) -> None:
    """At each place of the slider: selected shows pixels of dense, and sampled holds pictures of it."""
    page.open(path, 1280, still=True)
    page.until(DRAWN)

    def go(t: int) -> dict[str, NDArray[np.float64]]:
        page.value("(() => { const s = document.querySelector('.player input'); "
                   f"s.value = {t}; s.dispatchEvent(new Event('input')); }})()")  # fmt: skip
        return {kind: drawn(page, kind) for kind in KINDS}

    shown = [go(t) for t in range(8)]
    for panels in shown:
        kept = panels["selected"].mean(axis=2) > 100  # what is not kept is darker
        if kept.any():
            assert np.abs(panels["selected"][kept] - panels["dense"][kept]).mean() < 14
    assert sum((panels["selected"].mean(axis=2) > 100).any() for panels in shown) > 2
    # Two whole pictures are worth as many tokens: each is held for half of the time.
    for t, panels in enumerate(shown):
        np.testing.assert_array_equal(panels["sampled"], shown[0 if t < 4 else 4]["dense"])
    assert np.abs(shown[4]["dense"] - shown[0]["dense"]).mean() > 5


def test_without_a_mouse(page: browser.Page, path: Path) -> None:
    """Where motion is not wanted it stands still until it is asked to play."""
    page.open(path, 1280, still=True)
    page.until(DRAWN)
    name = "document.activeElement.textContent || document.activeElement.getAttribute('aria-label')"
    order = []
    for _ in range(12):
        page.press("Tab", 9)
        order.append(page.value(name))
        assert page.value("getComputedStyle(document.activeElement).outlineStyle") == "solid"
        if order[-1] == "Sampled picture":
            break
    sections = ["Sampled clips", "The data set", "All clips", "Throughput", "Failures", "Settings"]
    assert order == [*sections, "Play all", "Play", "Sampled picture"]
    assert page.value(AT) == 0
    page.press("ArrowRight", 39)
    page.press("ArrowRight", 39)
    assert page.value(AT) == 2
    assert page.value("document.activeElement.getAttribute('aria-valuetext')").startswith("3 of 8, 0.2")
    page.value("document.querySelector('.play').focus()")
    page.press(" ", 32, " ")
    page.until(f"{AT} === 5")
    page.press(" ", 32, " ")
    assert page.value("document.activeElement.textContent") == "Play"
    assert page.value(RESTS)


def test_what_a_screen_reader_is_told(page: browser.Page, path: Path) -> None:
    page.open(path, 1280, still=True)
    page.until(DRAWN)
    tree = page.tree()

    def names(role: str) -> list[str]:
        return [node["name"] for node in tree if node["role"] == role]

    for role in ("image", "button", "slider", "searchbox", "link", "meter", "heading", "article", "navigation"):
        assert names(role) and all(names(role)), role
    panels = [name for name in names("image") if ", panel of " in name]
    assert len(panels) == 12 and f"Heat, panel of {HOSTILE}: motion + residual" in panels
    assert any(name.startswith("Mean heat of each sampled picture, ") for name in names("image"))
    assert names("navigation") == ["Sections"] and names("searchbox") == ["Search the clips", "Search the failures"]
    levels = page.value("[...document.querySelectorAll('h1, h2, h3')].map(h => Number(h.tagName[1]))")
    assert levels[0] == 1 and all(b - a <= 1 for a, b in pairwise(levels))
    assert page.value("document.documentElement.lang") == "en" and names("main") and names("banner")


@pytest.mark.parametrize("width", WIDTHS)
def test_failures_are_searched_and_sorted(page: browser.Page, stream_folder: Path, tmp_path: Path, width: str) -> None:
    out = Path(shutil.copytree(report.finished(stream_folder)[1], tmp_path / "out"))
    many = [Failure(f"{n}.mp4", f"/in/{n}.mp4", "OSError" if n % 3 else "DecodeError", "it is" * n) for n in range(40)]
    pq.write_table(failure_table([*many, Failure(BROKEN, "", "E", BROKEN)]), out / "_failures.parquet")
    page.open(Path(write_report(out, clips=0).page), WIDTHS[width])
    rows = "[...document.querySelectorAll('#failed tbody tr')].filter(row => row.checkVisibility())"
    visible = f"{rows}.map(row => row.cells[0].textContent)"
    assert len(page.value(visible)) == 41 and BROKEN in page.value(visible)
    press = "[...document.querySelectorAll('#failed th button')].find(b => b.textContent === 'name')"
    assert page.value(f"{press}.checkVisibility()")
    page.value(f"{press}.click()")
    assert page.value(visible)[1:4] == ["0.mp4", "1.mp4", "2.mp4"]
    page.value(f"{press}.click()")
    assert page.value(visible)[:2] == ["39.mp4", "38.mp4"]
    assert page.value(f"{press}.closest('th').getAttribute('aria-sort')") == "descending"
    page.value("document.getElementById('filter').focus()")
    for letter in "decode 2":
        page.press(letter, ord(letter.upper()), letter)
    found = page.value(visible)
    assert found == ["27.mp4", "24.mp4", "21.mp4", "12.mp4"]
    assert page.value("document.querySelector('output[for=filter]').textContent") == f"{len(found)} of 41"
    assert page.complaints == []


def test_clips_are_sorted_by_numbers(page: browser.Page, path: Path) -> None:
    page.open(path, WIDTHS["desk"])
    press = "[...document.querySelectorAll('#list th button')].find(b => b.textContent === 'seconds')"
    seconds = "[...document.querySelectorAll('#list tbody tr')].map(row => parseFloat(row.cells[4].textContent))"
    for direction in (1, -1):
        page.value(f"{press}.click()")
        found = page.value(seconds)
        assert len(found) > 1 and found == sorted(found, reverse=direction < 0)


def test_nothing_in_a_name_runs(page: browser.Page, path: Path) -> None:
    page.open(path, 1280)
    page.until(DRAWN)
    assert page.value("[document.scripts.length, document.querySelectorAll('img:not([data-sheet])').length]") == [1, 0]
    assert page.value(f"document.body.innerText.includes({HOSTILE!r})") is True
    assert page.complaints == [] and page.requests == []
    # Were the escapes to fail, the policy would hold; and the tests would see that something was asked for.
    page.value("document.body.insertAdjacentHTML('beforeend', '<img src=\"https://example.invalid/x.png\" "
               "onerror=\"window.ran = 1\">')")  # fmt: skip
    page.until("new Promise(r => setTimeout(() => r(true), 200))")
    assert page.value("window.ran === undefined") and page.complaints


def test_without_scripts(page: browser.Page, path: Path) -> None:
    page.ask("Emulation.setScriptExecutionDisabled", value=True)
    try:
        page.open(path, 390)
        assert page.screenshot("noscript .warning").astype(float).std() > 5
        assert page.complaints == []
    finally:
        page.ask("Emulation.setScriptExecutionDisabled", value=False)


def test_a_page_of_nothing(page: browser.Page, tmp_path: Path) -> None:
    (tmp_path / "bad.mp4").write_bytes(b"")
    out = report.make_output(tmp_path / "out", [tmp_path / "bad.mp4"])
    page.open(Path(write_report(out).page), 390, dark=True)
    assert page.value("document.body.innerText.includes('No clip is finished yet.')")
    assert page.value("document.documentElement.scrollWidth") == 390 and page.complaints == []
