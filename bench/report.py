"""The figures of the benchmark as ratios, targets, a Markdown table, and a plot."""

import json
import os
import statistics
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import charts

Clip = dict[str, Any]
MARKS = ("<!-- bench -->", "<!-- /bench -->")
NAMES = {
    "ove": "ove_codec",
    "pyav": "PyAV",
    "libavcodec": "the system's libavcodec",
    "torchcodec": "torchcodec",
    "decord": "decord",
    "opencv": "OpenCV",
}


def quotient(clip: Clip, over: str, under: str) -> float | None:
    """The median over the turns of the ratio within a turn, which what slows the whole machine down leaves alone."""
    turns = clip["turns"]
    if over not in turns or under not in turns:
        return None
    return statistics.median(a / b for a, b in zip(turns[over], turns[under], strict=True))


def ratios(clip: Clip) -> dict[str, float]:
    """What the table shows beside the times, by the names of the columns."""
    pairs = {
        "pyav 2": ("pyav decode 1", "pyav decode 2"),
        **{name: (f"{name} decode 1", "pyav decode 1") for name in ("libavcodec", "torchcodec", "decord", "opencv")},
        "libavcodec 2": ("libavcodec decode 2", "pyav decode 2"),
        "read": ("pyav decode 1", "ove read 1"),
        "read 2": ("ove read 1", "ove read 2"),
        **{f"select {n}": (f"ove select {n}", f"ove read {n}") for n in (1, 2)},
        "select of PyAV": ("ove select 1", "pyav decode 1"),
        **{f"tokens {n}": (f"ove tokens {n}", f"pyav decode {n}") for n in (1, 2)},
        **{f"uniform {n}": (f"torchcodec uniform {n}", f"ove tokens {n}") for n in (1, 2)},
    }
    found = {name: quotient(clip, *pair) for name, pair in pairs.items()}
    return {name: ratio for name, ratio in found.items() if ratio is not None}


def samples(clip: Clip) -> int:
    return int(clip["width"] * clip["height"])


def bits_per_sample(clip: Clip) -> float:
    return float(clip["kbit_per_second"] * 1000 * clip["video_seconds"] / clip["pictures"] / samples(clip))


# Up to 6.9 Mbit/s at 720p and 15.5 Mbit/s at 1080p, both with 30 pictures a second; and above 20.7 and 46.7.
def ordinary(clip: Clip) -> bool:
    return samples(clip) >= 1280 * 720 and bits_per_sample(clip) <= 0.25


def ordinary_h264(clip: Clip) -> bool:
    return ordinary(clip) and clip.get("codec") == "h264"


def very_high(clip: Clip) -> bool:
    return bits_per_sample(clip) >= 0.75


@dataclass(frozen=True)
class Target:
    """What the ratios of some columns should reach on some clips."""

    text: str
    columns: tuple[str, ...]
    limit: float
    at_most: bool
    applies: Callable[[Clip], bool] = lambda clip: True

    def met(self, ratio: float) -> bool:
        return ratio <= self.limit if self.at_most else ratio >= self.limit

    def worst(self, clips: list[Clip]) -> tuple[float, str] | None:
        found = [
            (clip["ratios"][column], clip["clip"])
            for clip in clips
            for column in self.columns
            if column in clip["ratios"] and self.applies(clip)
        ]
        return (max if self.at_most else min)(found) if found else None


TARGETS = (
    Target(
        "motion + residual, ordinary rates at 720p and 1080p: 2.5 times as fast as PyAV",
        ("read",),
        2.5,
        False,
        ordinary,
    ),
    Target("the same of H.264: 3 times as fast as PyAV", ("read",), 3.0, False, ordinary_h264),
    Target("motion + residual, very high rates: 1.5 times as fast as PyAV", ("read",), 1.5, False, very_high),
    Target("motion + residual, two threads: 1.7 times as fast as one", ("read 2",), 1.7, False),
    Target("select: at most the time of motion + residual", ("select 1", "select 2"), 1.0, True),
    Target(
        "select of H.264 at 720p and 1080p: at most 0.4 of PyAV's full decode",
        ("select of PyAV",),
        0.4,
        True,
        ordinary_h264,
    ),
    Target("select + tokenize: at most 1.4 times PyAV's full decode", ("tokens 1", "tokens 2"), 1.4, True),
    Target(
        "select + tokenize, where B pictures can be skipped: at most one full decode",
        ("tokens 1", "tokens 2"),
        1.0,
        True,
        lambda clip: bool(clip["b_pictures"] and clip["pictures_that_64_need"] < clip["pictures"]),
    ),
    Target("select + tokenize: 1.3 times as fast as torchcodec's 64 frames", ("uniform 1", "uniform 2"), 1.3, False),
)


def cell(clip: Clip, key: str, column: str = "", sign: str = "") -> str:
    """The time, and the ratio in bold where it misses a target."""
    if key not in clip["seconds"]:
        return "failed" if any(error.startswith(key[:-2]) for error in clip["errors"]) else "-"
    seconds = clip["seconds"][key]
    text = f"{seconds:.2f}" if seconds >= 1 else f"{seconds:.3f}"
    if column not in clip["ratios"]:
        return text
    ratio = clip["ratios"][column]
    shown = f"{ratio:.2f}{sign}"
    if not all(t.met(ratio) for t in TARGETS if column in t.columns and t.applies(clip)):
        shown = f"**{shown}**"
    return f"{text} ({shown})"


COLUMNS: tuple[tuple[str, Callable[[Clip], str]], ...] = (
    ("clip", lambda c: c["clip"]),
    ("kbit/s", lambda c: f"{c['kbit_per_second']:.0f}"),
    ("PyAV decode", lambda c: cell(c, "pyav decode 1")),
    ("2 threads (speed over 1)", lambda c: cell(c, "pyav decode 2", "pyav 2", "x")),
    ("libavcodec (share of PyAV)", lambda c: cell(c, "libavcodec decode 1", "libavcodec")),
    ("torchcodec (same)", lambda c: cell(c, "torchcodec decode 1", "torchcodec")),
    ("decord (same)", lambda c: cell(c, "decord decode 1", "decord")),
    ("OpenCV (same)", lambda c: cell(c, "opencv decode 1", "opencv")),
    ("motion + residual (speed over PyAV)", lambda c: cell(c, "ove read 1", "read", "x")),
    ("2 threads (speed over 1)", lambda c: cell(c, "ove read 2", "read 2", "x")),
    ("select (share of motion + residual)", lambda c: cell(c, "ove select 1", "select 1")),
    ("select + tokenize (share of PyAV)", lambda c: cell(c, "ove tokens 1", "tokens 1")),
    ("2 threads (share of PyAV, 2 threads)", lambda c: cell(c, "ove tokens 2", "tokens 2")),
    (
        "torchcodec, 64 at 224 (speed of select + tokenize over it)",
        lambda c: cell(c, "torchcodec uniform 1", "uniform 1", "x"),
    ),
    ("2 threads (same)", lambda c: cell(c, "torchcodec uniform 2", "uniform 2", "x")),
)


def row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def table(result: dict[str, Any]) -> str:
    facts = result["machine"]
    versions = "; ".join(f"{NAMES[name]} {result['versions'][name]}" for name in NAMES if name in result["versions"])
    lines = [
        f"{facts['cpu']}, {facts['cores']} cores, {facts['system']}; Python {facts['python']}; {versions}.",
        "",
        f"Seconds per clip, medians of {result['runs']} interleaved runs after a warm-up, on as many cores as threads: "
        "one thread unless the column says otherwise. Brackets hold the ratio in the column's title: the median, over "
        "the runs, of two times of the same run. **Bold** misses a target. PyAV and libavcodec give Y'CbCr; "
        "torchcodec, decord and OpenCV give RGB. select samples 64 frames, tokenize makes 2048 tokens; torchcodec, in "
        "comparison, takes 64 uniform frames (exact seek mode), resized to 224x224 by its own transform or by PyTorch, "
        "whichever is faster. The benchmark's own clips are HEVC or, where named, H.264; they have one slice a picture "
        "and, unless named, neither WPP nor CAVLC.",
        "",
        row([name for name, _ in COLUMNS]),
        row(["---"] * len(COLUMNS)),
        *(row([show(clip) for _, show in COLUMNS]) for clip in result["clips"]),
        "",
        row(["target", "worst", "clip", ""]),
        row(["---"] * 4),
        *(row([t["text"], t["worst"], t["clip"], "met" if t["met"] else "**missed**"]) for t in result["targets"]),
    ]
    lines.append("")
    for memory in result["memory"]:
        peak = ", ".join("failed" if v is None else f"{v:.0f} MB" for v in memory["peak_mb"]["ove tokens 2"])
        short, long = memory["video_seconds"]
        lines.append(f"Peak memory of select + tokenize at {short} and {long} s of {memory['clip']}: {peak}.")
    lines += [f"{NAMES[name]} was not measured: {why}." for name, why in result["missing"].items()]
    lines += [f"{clip['clip']}, {key}: {error}." for clip in result["clips"] for key, error in clip["errors"].items()]
    lines += [
        f"{clip['clip']}: {key} gave {clip['counts'][key]} of {clip['pictures']} pictures."
        for clip in result["clips"]
        for key in clip["counts"]
        if key.split()[1] in ("read", "decode") and clip["counts"][key] != clip["pictures"]
    ]
    return "\n".join(lines)


def targets(result: dict[str, Any]) -> list[dict[str, Any]]:
    """Each target with the worst figure, and whether that meets it. Targets that apply to no clip are left out."""
    rows = []
    for target in TARGETS:
        if worst := target.worst(result["clips"]):
            ratio, name = worst
            rows.append({"text": target.text, "worst": f"{ratio:.2f}", "clip": name, "met": target.met(ratio)})
    for memory in result["memory"]:
        short, long = memory["peak_mb"]["ove read 2"]
        if not (short and long):
            continue
        seconds = memory["video_seconds"]
        rows.append(
            {
                "text": f"peak memory of motion + residual, {seconds[1]} s of video: under 400 MB",
                "worst": f"{long:.0f} MB",
                "clip": memory["clip"],
                "met": long < 400,
            }
        )
        rows.append(
            {
                "text": f"the same over {seconds[0]} s of video: under 1.2 times",
                "worst": f"{long / short:.2f} ({short:.0f} MB)",
                "clip": memory["clip"],
                "met": long < 1.2 * short,
            }
        )
    took = result["import"]
    rows.append(
        {
            "text": "`import ove_codec`: under 0.3 s, without PyTorch",
            "worst": f"{took['seconds']:.2f} s ({took['seconds'] / took['numpy_seconds']:.1f} times `import numpy`)",
            "clip": "",
            "met": took["seconds"] < 0.3 and not took["torch"],
        }
    )
    return rows


def plot(result: dict[str, Any], path: Path) -> None:
    """Times over PyAV's full decode, a row a clip, a panel a number of threads."""
    shown = {
        "motion + residual": "ove read",
        "select 64 frames": "ove select",
        "select + tokenize": "ove tokens",
        "torchcodec, 64 frames at 224": "torchcodec uniform",
    }
    panels = {
        "1 thread" if threads == 1 else f"{threads} threads": {
            label: [quotient(clip, f"{key} {threads}", f"pyav decode {threads}") for clip in result["clips"]]
            for label, key in shown.items()
        }
        for threads in (1, 2)
    }
    charts.draw(charts.Chart(clip_names(result["clips"]), panels, charts.OVER_PYAV, line=1), path)


def decoders(result: dict[str, Any]) -> charts.Chart:
    """Times of the other decoders over PyAV's, a row a clip."""
    clips = result["clips"]
    dots = {
        title: [quotient(clip, f"{name} decode 1", "pyav decode 1") for clip in clips]
        for name, title in NAMES.items()
        if name not in ("ove", "pyav")
    }
    return charts.Chart(clip_names(clips), {"one thread": dots}, charts.OVER_PYAV, line=1)


def clip_names(clips: list[Clip]) -> list[str]:
    return [f"{clip['clip']} ({clip['kbit_per_second'] / 1000:.1f} Mbit/s)" for clip in clips]


def fill_readme(text: str, readme: Path, marks: tuple[str, str] = MARKS) -> None:
    before, rest = readme.read_text(encoding="utf-8").split(marks[0])
    _, after = rest.split(marks[1])
    readme.write_text(f"{before}{marks[0]}\n{text}\n{marks[1]}{after}", encoding="utf-8")


def publish(
    text: str,
    picture: Path,
    draw: Callable[[], None],
    about: str,
    readme: Path | None,
    marks: tuple[str, str] = MARKS,
) -> None:
    """Prints the table, and puts it with its picture into the README; without matplotlib there is no picture."""
    print(text)
    try:
        draw()
    except ImportError as error:
        picture.unlink(missing_ok=True)
        print(f"\nNo plot: {error}.")
    if readme:
        if picture.exists():
            link = Path(os.path.relpath(picture, readme.parent)).as_posix()
            text = f"![{about}]({link})\n\n{text}"
        fill_readme(text, readme, marks)


def finish(result: dict[str, Any], folder: Path, readme: Path | None) -> None:
    """Adds ratios and targets to the result; writes cpu.json, cpu.svg and the README, and prints the table."""
    for clip in result["clips"]:
        for threads in (1, 2):  # torchcodec's faster way is what counts
            ways = [f"torchcodec {job} {threads}" for job in ("uniform_own", "uniform_torch")]
            if known := sorted((way for way in ways if way in clip["seconds"]), key=clip["seconds"].__getitem__):
                clip["seconds"][f"torchcodec uniform {threads}"] = clip["seconds"][known[0]]
                clip["turns"][f"torchcodec uniform {threads}"] = clip["turns"][known[0]]
        clip["ratios"] = ratios(clip)
    result["targets"] = targets(result)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "cpu.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    picture = folder / "cpu.svg"
    publish(table(result), picture, lambda: plot(result, picture), "Times over PyAV's full decode", readme)
