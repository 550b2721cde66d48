"""`ove-codec probe`: attentive probes of frozen backbones, and the tables of their results."""

from __future__ import annotations

import argparse
import json
from typing import Any

from ove_codec.cli import common, probe_manifest, probe_plan, probe_run
from ove_codec.probes.datasets import known_datasets
from ove_codec.probes.families import BACKBONES, BUDGETS


def add_commands(commands: common.Commands[Any]) -> None:
    parser = commands.add_parser(
        "probe",
        help="attentive probes of frozen backbones (Tables 4 and 5 of the page)",
        description="Trains attentive probes on the features of frozen backbones, under equal budgets of patches.",
    )
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    probe_manifest.add_action(actions)
    probe_plan.add_action(actions)
    probe_run.add_action(actions)
    _add_tables(actions)
    listing = actions.add_parser("list", help="print the known data sets and backbones")
    listing.set_defaults(run=list_names)
    common.add_json(listing)


def _add_tables(actions: common.Commands[Any]) -> None:
    tables = actions.add_parser(
        "tables",
        help="print results as Tables 4 and 5 of the page, with its figures beside ours",
        description="Prints Markdown. Cells are top-1 after the last epoch / at the best epoch (figure of the page).",
    )
    tables.set_defaults(run=print_tables)
    tables.add_argument("results", nargs="*", metavar="RESULT", help="files written by 'run', or their folders")
    tables.add_argument("--plot", metavar="OUT.svg|.png|.pdf", help="draw accuracy over the budget of patches")
    common.add_json(tables)


def list_names(args: argparse.Namespace) -> None:
    """Prints what is known by name."""
    datasets = known_datasets()
    facts = {
        "datasets": {key: vars(info) for key, info in datasets.items()},
        "backbones": {key: vars(family) for key, family in BACKBONES.items()},
        "budgets": BUDGETS,
    }
    lines: list[tuple[str, Any]] = []
    for key, info in datasets.items():
        epochs, page = info.epochs["scripts"], info.epochs["page"]
        differing = "" if epochs == page else f" (the page says {page})"
        splits = f"{info.splits['train']} / {info.splits['val']}"
        lines.append((key, f"{info.name}: {info.classes} classes, {epochs} epochs{differing}, {splits}"))
    lines += [(key, f"{family.title}, from {family.takes}") for key, family in BACKBONES.items()]
    common.print_facts(facts, args.json, lines)


def print_tables(args: argparse.Namespace) -> None:
    """Prints the tables, and draws the plot."""
    from ove_codec.probes import tables

    results = tables.load_results(args.results)
    if args.plot:
        with common.replacing(args.plot) as part:
            tables.plot(results, part)
    if args.json:
        print(json.dumps({"results": results, "page": tables.page()}))
        return
    print(
        f"## Table 4\n\n{tables.table4(results)}\n\n## Table 5\n\n{tables.table5(results)}\n\n{tables.notes(results)}"
    )
