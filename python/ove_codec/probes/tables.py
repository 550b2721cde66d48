"""Results in the form of the page's Tables 4 and 5, its figures beside them, and accuracy over the patch budget."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from ove_codec.probes.datasets import data_file, known_datasets
from ove_codec.probes.families import BUDGETS, PATCHES_PER_FRAME
from ove_codec.probes.optional import need

_RESULT_FORMAT = 1
_NEEDED = (
    "dataset", "title", "method", "budget", "patches_per_frame", "preset", "params", "model", "recipe", "clips",
    "official_epochs", "seeds", "summary",
)  # fmt: skip

Result = dict[str, Any]
Key = tuple[str, str, int]  # method as a row is called, data set, budget


def page() -> dict[str, Any]:
    """The figures of the project page, with their source."""
    found: dict[str, Any] = data_file("page.json")
    return found


def load_results(paths: Iterable[str | os.PathLike[str]]) -> list[Result]:
    """Reads results from files, and from all `.json` files of folders.

    Raises:
        FileNotFoundError: there is no such file or folder.
        ValueError: a file is no result.
    """
    files: list[Path] = []
    for path in map(Path, paths):
        if not path.exists():
            raise FileNotFoundError(f"{path}: there is no such file or folder of results")
        files += sorted(path.glob("*.json")) if path.is_dir() else [path]
    results = []
    for file in files:
        try:
            result = json.loads(file.read_text(encoding="utf-8"))
        except ValueError as error:
            raise ValueError(f"{file} is not a JSON file: {error}") from None
        if not isinstance(result, dict) or result.get("format") != _RESULT_FORMAT:
            raise ValueError(f"{file} is not a result of a probe")
        missing = [name for name in _NEEDED if name not in result]
        if missing:
            raise ValueError(f"{file} is an incomplete result of a probe: it lacks {', '.join(missing)}")
        results.append(result)
    return results


def method_of(result: Result) -> str:
    """What the row of a result is called: as on the page, and another preset or other parameters after it."""
    changes = [] if result["preset"] in (None, "probe") else [result["preset"]]
    changes += [f"{name}={value}" for name, value in sorted((result["params"] or {}).items())]
    if result["patches_per_frame"] != PATCHES_PER_FRAME:
        changes.append(f"patches_per_frame={result['patches_per_frame']}")
    return " ".join([result["method"], *changes])


def model_of(result: Result) -> str:
    """What model the features are of: its kind, channels and patches."""
    about = result["model"]
    return f"{about['model']}, {about['hidden_size']} channels, patches of {about['patch_size']} samples"


def measured(results: Sequence[Result]) -> dict[Key, dict[str, Any]]:
    """The best setting's summary of every result by row, data set and budget; ValueError where two are of the same."""
    found: dict[Key, dict[str, Any]] = {}
    for result in results:
        key = (method_of(result), result["dataset"], int(result["budget"]))
        if key in found:
            raise ValueError(
                f"there are two results of {key[0]} on {key[1]} with {key[2]} patches; give only one of them"
            )
        found[key] = result["summary"][0]
    return found


def table4(results: Sequence[Result]) -> str:
    """Markdown: a section for every budget of the page or the results, a row a method, a column a data set.

    A cell is "last / best (page)": mean top-1 after the last epoch and at the best epoch, with the deviation over seeds
    where there are several, and the figure of the page.
    """
    ours = measured(results)
    titles = {key: info.title for key, info in known_datasets().items()}
    titles |= {result["dataset"]: result["title"] for result in results}
    figures = {(row["method"], row["patches"]): row for row in page()["table4"]}
    order = list(dict.fromkeys([method for method, _ in figures] + [method for method, _, _ in ours]))
    blocks = []
    for budget in sorted({budget for _, budget in figures} | {budget for _, _, budget in ours}):
        rows = []
        for method in order:
            row = figures.get((method, budget), {})
            cells = [ours.get((method, key, budget)) for key in titles]
            if not row and not any(cells):
                continue
            known = list(known_datasets())
            eight = [cell for key, cell in zip(titles, cells, strict=True) if key in known and cell]
            average = {n: {"mean": _mean(c[n]["mean"] for c in eight), "deviation": None} for n in ("last", "best")}
            accuracy = row.get("accuracy", {})
            rows.append(
                [
                    method,
                    row.get("backbone", ""),
                    str(row.get("resolution", "")),
                    _cell(average if len(eight) == len(known) else None, row.get("average")),
                    *(_cell(cell, accuracy.get(key)) for key, cell in zip(titles, cells, strict=True)),
                ]
            )
        frames, rest = divmod(budget, 256)
        name = f"{frames} frames / {budget} patches" if frames and not rest else f"{budget} patches"
        blocks.append(f"**{name}**\n\n" + _markdown(["Method", "Backbone", "Res.", "Avg.", *titles.values()], rows))
    return "\n\n".join(blocks)


def table5(results: Sequence[Result]) -> str:
    """Markdown: a row for every data set and model of the page's Table 5, and of results there, a column a budget."""
    ours = measured(results)
    dense = page()["dense_patches"]
    figures = {(row["dataset"], row["method"]): row["accuracy"] for row in page()["table5"]}
    titles = {key: info.title for key, info in known_datasets().items()}
    titles |= {result["dataset"]: result["title"] for result in results}
    budgets = sorted({*BUDGETS, *(budget for _, _, budget in ours)})
    shown = {key for key, _ in figures} | {key for _, key, _ in ours}
    rows = []
    for key in (key for key in titles if key in shown):
        methods = [method for dataset, method in figures if dataset == key]
        methods += [method for method, dataset, _ in ours if dataset == key]
        for method in dict.fromkeys(methods):
            given = figures.get((key, method), {})
            cells = [_cell(ours.get((method, key, budget)), given.get(str(budget))) for budget in budgets]
            rows.append([titles[key], method, *cells])
    header = [f"{b} patches ({100 * (1 - b / dense):.1f} % fewer)" for b in budgets]
    return _markdown(["Dataset", "Model", *header], rows)


def notes(results: Sequence[Result]) -> str:
    """What a reader of the tables must know: how the figures came about, and which clips are not in them."""
    lines = [
        "Cells: top-1 in % after the last epoch / at the best epoch (figure of the page). The best epoch and, in a "
        "sweep, the setting are chosen on the validation set. ± is the sample deviation over seeds. Every readable "
        "clip of the validation set counts once; the page's figures are the best epoch, on parts of it.",
        f"Page: {page()['source']}.",
    ]
    for result in sorted(results, key=lambda r: (r["dataset"], method_of(r), r["budget"])):
        best = result["summary"][0]
        counts = ", ".join(
            f"{split} {clips['read']} of {clips['listed']} clips read"
            + (f" (officially {clips['official']})" if clips["official"] not in (None, clips["listed"]) else "")
            for split, clips in result["clips"].items()
        )
        epochs = f"{result['recipe']['epochs']} epochs"
        official = result["official_epochs"]
        if official["scripts"] != official["page"]:
            epochs += f" (released scripts: {official['scripts']}, page: {official['page']})"
        lines.append(
            f"{method_of(result)}, {result['title']}, {result['budget']} patches: {model_of(result)}; seeds "
            f"{', '.join(str(seed['seed']) for seed in result['seeds'])}, {epochs}, "
            f"lr {best['lr']:g}, weight decay {best['weight_decay']:g}; {counts}."
        )
    return "\n".join(f"- {line}" for line in lines)


def plot(results: Sequence[Result], path: str | os.PathLike[str]) -> None:
    """Draws accuracy after the last epoch over the patch budget, a panel a data set, the page's figures dashed.

    The suffix of `path` gives the format. Needs matplotlib.

    Raises:
        ValueError: there is nothing to draw, or the format is not known.
        ModuleNotFoundError: matplotlib is missing.
    """
    matplotlib, figures, ticker = (need(f"matplotlib{part}", "the plot") for part in ("", ".figure", ".ticker"))
    ours = measured(results)
    if not ours:
        raise ValueError("there are no results to draw")
    titles = {result["dataset"]: result["title"] for result in results}
    given: dict[tuple[str, str], dict[int, float]] = {}  # by data set and method
    for row in page()["table4"]:
        for key, value in row["accuracy"].items():
            given.setdefault((key, row["method"]), {})[row["patches"]] = value
    for row in page()["table5"]:
        given.setdefault((row["dataset"], row["method"]), {}).update({int(b): v for b, v in row["accuracy"].items()})
    methods = list(dict.fromkeys(method for method, _, _ in ours))
    figure = figures.Figure(figsize=(4.2 * len(titles), 3.6), layout="constrained")
    for axes, (key, title) in zip(figure.subplots(1, len(titles), squeeze=False)[0], titles.items(), strict=True):
        for number, method in enumerate(methods):
            budgets = sorted(budget for m, dataset, budget in ours if (m, dataset) == (method, key))
            last = [ours[method, key, budget]["last"] for budget in budgets]
            color = f"C{number}"
            axes.errorbar(
                budgets, [v["mean"] for v in last], [v["deviation"] or 0 for v in last],
                color=color, marker="o", capsize=3, label=method,
            )  # fmt: skip
            page_values = sorted(given.get((key, method), {}).items())
            if page_values:
                axes.plot(*zip(*page_values, strict=True), "--", color=color, marker=".", label=f"{method}, page")
        axes.set_xscale("log", base=2)
        ticks = sorted(
            {b for _, _, b in ours} | {b for k in given if k[0] == key and k[1] in methods for b in given[k]}
        )
        axes.set_xticks(ticks, [str(tick) for tick in ticks])
        axes.xaxis.set_minor_locator(ticker.NullLocator())
        axes.set(title=title, xlabel="patches a clip", ylabel="top-1 after the last epoch (%)")
        axes.grid(alpha=0.3)
        axes.legend(fontsize="small")
    with matplotlib.rc_context({"svg.fonttype": "path", "svg.hashsalt": "ove_codec"}):
        figure.savefig(path, metadata={"Date": None} if Path(path).suffix == ".svg" else None)


def _cell(summary: dict[str, Any] | None, figure: float | None) -> str:
    own = "-" if summary is None else f"{number(summary['last'])} / {number(summary['best'])}"
    return own if figure is None else f"{own} ({figure:.1f})"


def page_figure(result: Result) -> float | None:
    """The page's figure for the row, data set and budget of a result; None where it has none."""
    method, key, budget = method_of(result), result["dataset"], result["budget"]
    for row in page()["table4"]:
        if (row["method"], row["patches"]) == (method, budget) and key in row["accuracy"]:
            return float(row["accuracy"][key])
    for row in page()["table5"]:
        if (row["method"], row["dataset"]) == (method, key) and str(budget) in row["accuracy"]:
            return float(row["accuracy"][str(budget)])
    return None


def number(value: dict[str, Any]) -> str:
    """A mean, with its deviation where there is one."""
    deviation = "" if value["deviation"] is None else f" ± {value['deviation']:.1f}"
    return f"{value['mean']:.1f}{deviation}"


def _mean(values: Iterable[float]) -> float:
    numbers = list(values)
    return sum(numbers) / len(numbers) if numbers else 0.0


def _markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(row) + " |" for row in [header, ["---"] * len(header), *rows]]
    return "\n".join(lines)
