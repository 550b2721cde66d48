"""The results of the motion probe as a Markdown table and a plot."""

from __future__ import annotations

import json
import statistics
from pathlib import Path
from typing import Any

import charts
import motion_clips
import report
import run

MARKS = ("<!-- motion-probe -->", "<!-- /motion-probe -->")
COLUMNS = ("overall", *motion_clips.KINDS)
TITLES = {"overall": "overall", "motion": "motion", "brief": "brief event", "pan": "pan"}


def has_marks(readme: Path) -> bool:
    text = readme.read_text(encoding="utf-8")
    return all(mark in text for mark in MARKS)


def accuracies(result: dict[str, Any], column: str) -> list[float]:
    """Per cent of each seed."""
    return [100 * run["accuracy"][column] for run in result["runs"].values()]


def spread(values: list[float]) -> float:
    return statistics.stdev(values) if len(values) > 1 else 0.0


def mean_and_spread(values: list[float]) -> str:
    if len(values) < 2:
        return f"{values[0]:.1f}" if values else "-"
    return f"{statistics.mean(values):.1f} ± {spread(values):.1f}"


def cells(result: dict[str, Any]) -> list[str]:
    """Mean and deviation over seeds of each column, and the share of tokens on the action."""
    found = [accuracies(result, column) for column in COLUMNS]
    touching = f"{100 * statistics.mean(result['on_action'].values()):.1f} %"
    return [*map(mean_and_spread, found), touching]


def lines(results: list[dict[str, Any]], first: str) -> list[str]:
    means = [statistics.mean(accuracies(result, "overall") or [0]) for result in results]
    rows = []
    for result, mean in zip(results, means, strict=True):
        label = result["label"] if result["facts"]["preset"] is None else f"`{result['label']}`"
        row = cells(result)
        if mean == max(means) > 0:
            row[0] = f"**{row[0]}**"
        rows.append(report.row([label, *row]))
    head = [first, *(TITLES[column] for column in COLUMNS), "tokens on the action"]
    return [report.row(head), report.row(["---"] * len(head)), *rows]


def duration(seconds: float) -> str:
    return f"{seconds / 60:.0f} min" if seconds >= 90 else f"{seconds:.0f} s"


def table(outcome: dict[str, Any]) -> str:
    setting, costs = outcome["setting"], outcome["costs"]
    grid, training = setting["grid"], setting["training"]
    runs = {len(result["runs"]) for result in outcome["report"] + outcome["choice"]}
    seeds = " to ".join(map(str, sorted({min(runs), max(runs)}))) + (" seed" if runs == {1} else " seeds")
    chance = 100 / len(motion_clips.CLASSES)
    size = grid["size"] // grid["patch_size"]
    facts = outcome["machine"]
    # Runs in pieces have no times that one command took.
    spent = f": {duration(costs['cpu_seconds'])} of CPU time, in {duration(costs['wall_seconds'])}" if costs else ""
    text = [
        f"Accuracy in per cent, mean and deviation of {seeds}; chance is {chance:.1f}. {grid['budget']} tokens a "
        f"clip of {grid['num_frames']} sampled pictures of {size}x{size} patches; {training['layers']} layers of width "
        f"{training['hidden']}, {training['epochs']} epochs on {setting['train_clips']} clips, tested on "
        f"{setting['test_clips']}, a third of each kind. The last column is the share of the tokens that lie on the "
        f"acting disc while it moves. {'GPU' if outcome['device'] == 'cuda' else facts['cpu']}, {facts['cores']} "
        f"cores{spent}.",
    ]
    if outcome["report"]:
        text += ["", *lines(outcome["report"], "tokens")]
    if outcome["choice"]:
        text += [
            "",
            "`ove` with single parameters changed, on the data set that it was chosen on:",
            "",
            *lines(outcome["choice"], "preset"),
        ]
    return "\n".join(text)


def plot(outcome: dict[str, Any], path: Path) -> None:
    """Accuracies of the compared methods, a row each, with the deviation over seeds."""
    results = [result for result in outcome["report"] if result["runs"]]
    figure, panels = charts.pyplot().subplots(
        2, 2, figsize=(charts.WIDTH, 1.2 + 0.4 * len(results)), sharex=True, sharey=True, layout="constrained"
    )
    for column, axes in zip(COLUMNS, panels.flat, strict=True):
        for i, result in enumerate(results):
            values = accuracies(result, column)
            color = "tab:blue" if result["facts"]["preset"] is not None else "tab:gray"
            axes.barh(i, statistics.mean(values), color=color, height=0.7)
            axes.errorbar(statistics.mean(values), i, xerr=spread(values), color="black", capsize=2, linewidth=1)
        axes.axvline(100 / len(motion_clips.CLASSES), color="black", linewidth=1, linestyle=":")
        axes.set_title(TITLES[column])
        axes.set_xlim(0, 100)
        axes.grid(axis="x", color="0.9")
        axes.set_axisbelow(True)
    panels[0, 0].set_yticks(range(len(results)), [result["label"] for result in results])
    panels[0, 0].invert_yaxis()
    figure.supxlabel("accuracy in per cent", fontsize=9)
    charts.save(figure, path)


def finish(
    setting: Any,
    results: dict[str, list[dict[str, Any]]],
    costs: dict[str, float],
    device: str,
    folder: Path,
    readme: Path | None,
) -> None:
    """Writes motion.json and motion.svg (motion-large.* of the large setting) and the README; prints the table."""
    import dataclasses

    every = [result for part in results.values() for result in part]
    if not every:
        print("There are no results yet.")
        return
    spent = sum(r["tokens_cpu_seconds"] + sum(one["cpu_seconds"] for one in r["runs"].values()) for r in every)
    outcome: dict[str, Any] = {
        "machine": run.machine(),
        "device": device,
        "setting": dataclasses.asdict(setting),
        "costs": {**costs, "cpu_seconds": costs["encoding_cpu_seconds"] + spent},
        **results,
    }
    name = "motion" if setting.name == "small" else f"motion-{setting.name}"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.json").write_text(json.dumps(outcome, indent=1) + "\n", encoding="utf-8")
    picture = folder / f"{name}.svg"

    def draw() -> None:
        if any(result["runs"] for result in outcome["report"]):
            plot(outcome, picture)

    report.publish(table(outcome), picture, draw, "Accuracy by choice of tokens", readme, MARKS)
