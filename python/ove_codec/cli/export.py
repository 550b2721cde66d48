"""`ove-codec export`: a checkpoint of a training run as a directory of a model."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from ove_codec.cli import common


def add_commands(commands: common.Commands[Any]) -> None:
    parser: argparse.ArgumentParser = commands.add_parser(
        "export",
        help="write the encoder of a checkpoint as a Hugging Face directory",
        description="Writes config.json and model.safetensors, which OVEncoder.from_pretrained and 'encode --model' "
        "read, from a checkpoint or from the newest whole one of a run.",
    )
    parser.set_defaults(run=export)
    parser.add_argument(
        "checkpoint", metavar="CHECKPOINT|RUN", help="a step-... directory, or the folder of a training run"
    )
    parser.add_argument("out", metavar="DIR", help="directory to write")
    parser.add_argument(
        "--average",
        action=argparse.BooleanOptionalAction,
        help="the averaged weights, or those of the last step (default: averaged, if the checkpoint has them)",
    )
    common.add_json(parser)


def export(args: argparse.Namespace) -> None:
    from ove_codec.training.export import export as write

    facts = {"out": args.out, **write(Path(args.checkpoint), Path(args.out), args.average)}
    common.print_facts(facts, args.json, list(facts.items()))
