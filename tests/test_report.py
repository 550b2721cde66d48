"""The page about the output of `select-dataset`: what stands in it."""

from __future__ import annotations

import base64
import hashlib
import io
import itertools
import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import ove_codec
from ove_codec import viz
from support import clips, ffmpeg

pa = pytest.importorskip("pyarrow", reason="data sets need pyarrow")
pq = pytest.importorskip("pyarrow.parquet")

from ove_codec.datasets import Failure, failure_table, select_dataset, write_report  # noqa: E402 (pyarrow comes first)
from ove_codec.datasets.report.charts import percent, ticks  # noqa: E402
from ove_codec.datasets.report.text import duration, number, plain  # noqa: E402
from ove_codec.datasets.statistics import BUDGETS, statistics  # noqa: E402
from support import report  # noqa: E402
from support.report import BROKEN, FEW, HOSTILE, NAMES, Parsed, entries, page_of  # noqa: E402

pytestmark = pytest.mark.skipif(not ffmpeg.has_libx265(), reason="ffmpeg with libx265 is not installed")


@pytest.fixture
def videos(stream_folder: Path) -> Path:
    return report.finished(stream_folder)[0]


@pytest.fixture
def output(stream_folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(report.finished(stream_folder)[1], tmp_path / "out"))


@pytest.fixture(scope="module")
def clip(stream_folder: Path) -> Path:
    return clips.moving_clip(stream_folder)


def test_the_page_is_whole_in_itself(output: Path) -> None:
    made = write_report(output)
    assert made.page == str(output / "_report.html") and made.num_bytes == (output / "_report.html").stat().st_size
    assert (made.clips, made.failed, made.shown, made.playing, made.tokens) == (3, 1, 3, 3, 120)
    page = Parsed(output / "_report.html")
    for _, attributes in page.elements:
        for name in ("src", "href", "srcset", "data", "action", "poster"):
            assert attributes.get(name, "#").startswith(("data:image/webp;base64,", "#"))
        assert not any(name.startswith("on") for name in attributes)
    assert not page.all("link") and not page.all("iframe")
    assert "url(" not in page.code["style"] and "@import" not in page.code["style"]
    assert not re.search(r"https?:", (output / "_report.html").read_text())
    (policy,) = [meta["content"] for meta in page.all("meta") if "http-equiv" in meta]
    script = base64.b64encode(hashlib.sha256(page.code["script"].encode()).digest()).decode()
    assert policy.startswith("default-src 'none';") and f"script-src 'sha256-{script}'" in policy
    names = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(names) == len(set(names))
    for _, attributes in page.elements:
        for name in ("aria-labelledby", "aria-describedby", "for"):
            assert attributes.get(name, names[0]) in names
        assert attributes.get("href", f"#{names[0]}")[1:] in names
    assert not list(output.glob(".*"))  # nothing half-written beside it


def test_names_and_reasons_are_text(output: Path) -> None:
    odd = Failure("a\x00b\x1b[31m\u202egpm.exe", "x" * 5000, "<b>E</b>", "&amp; </td><script>alert(3)</script>")
    pq.write_table(failure_table([odd, Failure(BROKEN, "", "E", "none")]), output / "_failures.parquet")
    before = page_of(output, clips=0)
    (output / "_failures.parquet").rename(output / "failures.parquet")  # as earlier versions named it
    page = page_of(output)
    assert [len(before.all(tag)) for tag in ("script", "b", "img")] == [1, 2, 0]  # each kind of failure has its count
    assert len(page.all("script")) == 1 and {a["data-sheet"] for a in page.all("img")} == {"dense", "heat", "selected"}
    for text in (HOSTILE, BROKEN, odd.reason, odd.error, r"a\u0000b\u001b[31m\u202egpm.exe", "x" * 599 + "…"):
        assert text in page.text
    assert "x" * 600 not in page.text


def test_text_for_people() -> None:
    assert [number(x) for x in (0, 12, 0.12345, 1234, 62464, 2.5e6, 3e9, float("nan"))] == [
        "0", "12", "0.123", "1,234", "62.5k", "2.5M", "3G", "-",
    ]  # fmt: skip
    assert [duration(x) for x in (0.25, 59.6, 600, 8000)] == ["0.2 s", "60 s", "10 min", "2 h 13 min"]
    assert plain("\udcff\u2066x", 8) == "\\udcff\\u2066x" and plain("abc", 2) == "a…"
    assert [percent(x) for x in (0, 0.3, 0.12345, 1)] == ["0 %", "30 %", "12.3 %", "100 %"]
    assert ticks(0, 1) == pytest.approx([0, 0.2, 0.4, 0.6, 0.8, 1]) and ticks(3, 3) == [3]
    assert ticks(-0.3, 61) == pytest.approx([0, 20, 40, 60])


def test_statistics(clip: Path) -> None:
    for params in (FEW, {**FEW, "preset": "probe"}, {**FEW, "resize": "letterbox"}):
        selection = ove_codec.select(clip, **params)
        facts = statistics(selection)
        scores = sorted((float(x) for x in selection.scores.ravel()), reverse=True)
        total = sum(scores)
        assert facts["patches"] == len(scores) == selection.mask.size
        assert facts["kept"] == pytest.approx(sum(map(float, selection.scores[selection.mask])) / total, abs=1e-4)
        for budget, share in zip(BUDGETS, facts["curve"], strict=True):
            whole = int(budget * len(scores))
            part = (budget * len(scores) - whole) * scores[min(whole, len(scores) - 1)]
            assert share == pytest.approx((sum(scores[:whole]) + part) / total, abs=2e-4)
        inside = np.zeros((selection.geometry.canvas_height, selection.geometry.canvas_width), bool)
        g = selection.geometry
        inside[
            max(0, g.offset_y) : g.offset_y + g.resized_height, max(0, g.offset_x) : g.offset_x + g.resized_width
        ] = True
        unit = 255 if selection.params["quantize"] else 1
        means = [heat[inside].mean() / unit for heat in selection.heats()]
        np.testing.assert_allclose(facts["heat"], means, rtol=2e-3, atol=1e-5)
    intra = [picture.index for picture in ove_codec.open(clip) if picture.type == "I"]
    nothing = statistics(ove_codec.select(clip, frame_ids=intra, size=56, budget=10, i_pictures="zero"))
    assert nothing["curve"] is None and nothing["kept"] is None and nothing["heat"] == [0.0] * len(intra)


KINDS = ("dense", "sampled", "heat", "selected")


def films(page: Parsed) -> list[tuple[dict[str, Any], dict[str, Image.Image]]]:
    """The plan and the sheets of every player."""
    plans = [json.loads(a["data-plan"]) for a in page.all("div") if a.get("class") == "player"]
    sheets = [(a["data-sheet"], a["src"].partition(",")[2]) for a in page.all("img")]
    pictures = [(kind, Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB")) for kind, data in sheets]
    return [(plan, dict(pictures[3 * n : 3 * n + 3])) for n, plan in enumerate(plans)]


def cell(plan: dict[str, Any], sheet: Image.Image, number: int, size: tuple[int, int]) -> np.ndarray:
    x, y = number % plan["columns"] * size[0], number // plan["columns"] * size[1]
    return np.asarray(sheet.crop((x, y, x + size[0], y + size[1])), float)


def test_films_show_the_panels(output: Path, videos: Path) -> None:
    page = page_of(output)
    every = films(page)
    assert [a["aria-labelledby"] for a in page.all("article")] == ["clip-0", "clip-1", "clip-2"] and len(every) == 3
    for name, (plan, sheets) in zip(NAMES, every, strict=True):
        panels = viz.Panels(videos / name, ove_codec.select(videos / name, **FEW))
        size = (panels.width, panels.height)
        assert plan["slots"] == list(range(8)) and plan["seconds"] == pytest.approx(panels.seconds, abs=1e-3)
        assert np.sum(plan["durations"]) == pytest.approx(1000 * sum(panels.durations()), abs=8)
        far: dict[tuple[str, str], float] = dict.fromkeys(itertools.product(KINDS, KINDS), 0.0)
        for i, panel_set in enumerate(panels):
            shown = {
                "dense": cell(plan, sheets["dense"], plan["cells"][i], size),
                "sampled": cell(plan, sheets["dense"], plan["held"][i], size),
                "heat": cell(plan, sheets["heat"], i, size),
                "selected": cell(plan, sheets["selected"], i, size),
            }
            for kind, other in far:
                far[kind, other] += np.abs(shown[kind] - getattr(panel_set, other)).mean() / len(panels)
        for kind, other in far:
            assert far[kind, kind] < 8 and (kind == other or far[kind, other] > far[kind, kind] + 4)
    titles = [text for text in page.words if text in ("Dense", "Sampled", "Heat", "Selected")]
    assert titles == ["Dense", "Sampled", "Heat", "Selected"] * 3


def test_long_clips_are_shown_in_parts(clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of many sampled pictures some are played; whole ones that "sampled" holds are right nevertheless."""
    from ove_codec.datasets.report import samples

    monkeypatch.setattr(samples, "_PLAYED", 5)
    monkeypatch.setattr(samples, "_LONGEST_LOOP", 0.5)
    panels = viz.Panels(clip, ove_codec.select(clip, num_frames=24, size=56, budget=120, keep_first_frame=False))
    film = samples.film(panels, 1 << 20)
    assert film is not None and len(panels) == 24
    assert film.slots == [0, 5, 10, 15, 20] and film.speed == pytest.approx(24 / 25 / 0.5, rel=0.01)
    assert sum(film.durations) == pytest.approx(0.5, rel=0.01)
    plan = {"columns": film.columns}
    sheet = Image.open(io.BytesIO(base64.b64decode(film.sheets["dense"].partition(",")[2]))).convert("RGB")
    every = list(panels)
    for i, t in enumerate(film.slots):
        size = (film.width, film.height)
        assert np.abs(cell(plan, sheet, film.cells[i], size) - every[t].dense).mean() < 8
        assert np.abs(cell(plan, sheet, film.held[i], size) - every[t].sampled).mean() < 8
    assert len(set(film.held)) > 1 and not set(film.held) <= set(film.cells)


def test_the_page_keeps_its_size(output: Path) -> None:
    def pictures(**options: Any) -> int:
        return sum(len(a["src"]) for a in page_of(output, clips=1, **options).all("img"))

    whole = pictures()
    assert 0 < pictures(max_bytes=whole // 3) <= whole // 3
    assert pictures(max_bytes=300) == 0
    assert "No panels: its pictures exceed the size limit" in Parsed(output / "_report.html").text


def test_which_clips_are_shown(output: Path, tmp_path: Path) -> None:
    def shown(**options: Any) -> list[str]:
        text = page_of(output, source=tmp_path / "elsewhere", **options).text  # there they are not found, nor drawn
        return [entry["name"] for entry in entries(output) if entry["where"] in text]

    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "another.mp4").touch()
    assert len(shown()) == 3 and shown(clips=0) == []
    first = shown(clips=1)
    assert len(first) == 1 and shown(clips=1) == first
    assert {tuple(shown(clips=1, seed=seed)) for seed in range(8)} > {tuple(first)}
    with pytest.raises(ValueError, match="clips must be 0 or more"):
        write_report(output, clips=-1)


def test_figures_of_the_data_set(output: Path) -> None:
    lines = entries(output)
    page = page_of(output)
    kept = sorted(line["statistics"]["kept"] for line in lines)[1]
    for text in ("clips selected 3", "failed 1 25 % of all", "tokens 120 40 a clip", "of the patches kept 31.2 %",
                 f"of the heat kept {percent(kept)} median"):  # fmt: skip
        assert text in page.text
    titles = [a["aria-label"] for a in page.all("svg")]
    for title in ("Mean heat of each", "Tokens kept of each", "The share of this clip's heat"):
        assert sum(t.startswith(title) for t in titles) == 3
    for title in ("The share of the heat in the hottest", "Clips by share of the patches", "Clips by share of the heat",
                  "Clips a second", "Tokens a second"):  # fmt: skip
        assert sum(t.startswith(title) for t in titles) == 1
    for line in lines:
        assert line["statistics"]["worker"].rpartition("/")[0] and line["statistics"]["seconds"] > 0
    assert page.text.count(lines[0]["statistics"]["worker"]) == 1 and "local, 1 worker " in page.text
    for name, value in (("num_frames", "8"), ("preset", "paper"), ("keep_first_frame", "yes")):
        assert f"{name} {value}" in page.text


def test_totals() -> None:
    """Against the same by hand, on clips of which no two are alike."""
    from ove_codec.datasets.report.totals import Totals

    rng = np.random.default_rng(0)
    totals = Totals()
    curves, shares, fractions = [], [], []
    for n in range(101):
        curve = np.minimum(1, np.linspace(0, 1, len(BUDGETS)) ** rng.uniform(0.2, 1)).round(3)
        tokens = int(rng.integers(1, 100))
        facts = {"patches": 200, "curve": curve.tolist(), "kept": n / 200, "heat": [n / 100, n / 100], "seconds": 2,
                 "worker": f"w{n % 2}", "ended": 1000 + 10 * n if n < 50 else 9000 + n, "codec": "hevc"}  # fmt: skip
        totals.add({"name": f"{n}", "tokens": tokens, "run": 1000 if n < 50 else 9000, "statistics": facts})
        curves.append(curve)
        shares.append(n / 200)
        fractions.append(tokens / 200)
    for quantile in (0, 0.1, 0.5, 0.9, 1):
        expected = np.sort(np.array(curves), axis=0)[int(np.ceil(quantile * 100))]
        np.testing.assert_allclose(totals.curve(quantile), expected, atol=1e-3)
    assert list(totals.shares) == shares and list(totals.fractions) == fractions
    assert [name for _, name in totals.calmest] == list("01234")
    assert [name for _, name in totals.busiest] == ["100", "99", "98", "97", "96"]
    edges, rates, token_rates, borders = totals.throughput()
    assert edges[-1] == 490 + 100 and borders == [490]
    assert (rates * np.diff(edges)).sum() == pytest.approx(101)
    assert (token_rates * np.diff(edges)).sum() == pytest.approx(totals.tokens)
    before = rates[edges[:-1] < 480]
    assert before.mean() == pytest.approx(0.1, rel=0.1) and rates[-1] == pytest.approx(1, rel=0.15)
    assert {name: (w.clips, w.seconds) for name, w in totals.workers.items()} == {"w0": (51, 102), "w1": (50, 100)}


def test_runs(output: Path, videos: Path) -> None:
    """A run that goes on, and one that was killed before it could say how it ended."""
    runs = output / "_manifest" / "runs.jsonl"
    first = json.loads(runs.read_text())
    assert first["end"] == "completed" and first["done"] == 3 and first["failed"] == 1 and first["workers"] == 1
    assert entries(output)[0]["run"] == first["began"]
    shutil.rmtree(videos.parent / "more", ignore_errors=True)
    with runs.open("a") as text:
        text.write(f"{json.dumps({'began': first['began'] + 60, 'engine': 'ray', 'workers': None})}\nno JSON\n")
    assert select_dataset(videos, output, workers=1, **FEW).finished == 3
    lines = runs.read_text().splitlines()
    assert len(lines) == 4 and json.loads(lines[0]) == first and json.loads(lines[-1])["finished"] == 3
    page = page_of(output, clips=0)
    assert page.text.count(" completed ") == 2 and "running, or killed" in page.text and "ray, all workers" in page.text


def entry(name: str, **facts: Any) -> dict[str, Any]:
    usual = {"patches": 100, "pictures": 50, "width": 320, "height": 180, "codec": "hevc", "seconds": 1.0}
    return {"name": name, "tokens": 10, "key": name, "statistics": {**usual, **facts}}


def test_why_clips_were_slow() -> None:
    from ove_codec.datasets.report.clip_list import ClipList

    clips = ClipList()
    for n in range(9):
        clips.add(entry(f"usual {n}", seconds=1 + n / 100))
    clips.add(entry("long", seconds=9.0, pictures=500))
    clips.add(entry("large", seconds=8.0, width=1280, height=720, pictures=120))
    clips.add(entry("other", seconds=7.0, codec="vp9"))
    clips.add(entry("busy", seconds=6.0))
    lines = clips.lines()
    assert [line.name for line, _ in lines[:5]] == ["long", "large", "other", "busy", "usual 8"]
    assert [reason for _, reason in lines[:5]] == [
        "10.0 times the usual pictures",
        "2.4 times the usual pictures, pictures 16.0 times as large as usual",
        "vp9 is transcoded first",
        "more bits than usual, or a busy machine",
        "",
    ]


def test_the_list_of_clips_keeps_its_size(monkeypatch: pytest.MonkeyPatch) -> None:
    from ove_codec.datasets.report import clip_list

    monkeypatch.setattr(clip_list, "MOST", 3)
    clips = clip_list.ClipList()
    for n in range(20):
        clips.add(entry(f"<{n}>", seconds=float(n)))
    html = clip_list.clip_list(clips)
    assert "The 3 slowest of 20 clips" in html and html.count("<tr>") == 4
    assert "&lt;19&gt;" in html and "<19>" not in html


def test_legend_and_posters(output: Path) -> None:
    write_report(output)
    page = Parsed(output / "_report.html")
    assert any("linear-gradient(to right, rgb(6 6 24)" in span.get("style", "") for span in page.all("span"))
    styles = [canvas["style"] for canvas in page.all("canvas")]
    assert len(styles) == 3 * 4
    for style in styles:
        found = re.fullmatch(r"background-image:url\(data:image/webp;base64,([\w+/=]+)\)", style)
        assert found
        with Image.open(io.BytesIO(base64.b64decode(found[1]))) as poster:
            assert max(poster.size) > 50
    listed = [cells for cells in page.all("td") if cells.get("data-label") == "why slow"]
    assert len(listed) == 3
