"""`ove-codec train`: the cluster-discrimination trainer."""

from __future__ import annotations

import argparse
import logging
from typing import Any

from ove_codec.cli import common


def add_commands(commands: common.Commands[Any]) -> None:
    parser: argparse.ArgumentParser = commands.add_parser(
        "train",
        help="train an encoder by cluster discrimination",
        description="Trains as the recipe says, in one process or in several started by 'torchrun --nproc-per-node N "
        "--no-python ove-codec train RECIPE'. Resumes from the newest complete checkpoint in the output folder.",
    )
    parser.set_defaults(run=train)
    parser.add_argument("recipe", metavar="RECIPE", help=".yaml file, such as those in models/recipes/")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="change a value, as in run.steps=100"
    )
    parser.add_argument("--no-resume", action="store_true", help="fail if the output folder holds checkpoints")
    common.add_json(parser)


def train(args: argparse.Namespace) -> None:
    from ove_codec.training.launch import choose_device, process_group
    from ove_codec.training.recipe import load_recipe
    from ove_codec.training.skips import TrainingError
    from ove_codec.training.trainer import Trainer

    logging.basicConfig(format="%(name)s: %(message)s", level=logging.WARNING)
    recipe = load_recipe(args.recipe, args.set)
    device = choose_device(recipe.run.device)
    with process_group(device) as ranks:
        trainer = Trainer(recipe, ranks, device)
        try:
            figures = trainer.run(resume=not args.no_resume)
        except TrainingError as error:
            raise ValueError(str(error)) from error
        if ranks.rank == 0:
            facts = {"folder": recipe.output.folder, "steps": trainer.step, "total_steps": trainer.total, **figures}
            common.print_facts(facts, args.json, list(facts.items()))
