"""Training in stages: ``python -m ove_codec.lmm.train recipe.yaml``, under torchrun or accelerate on several devices.

A recipe is YAML or JSON with the fields of `ove_codec.lmm.recipe.LMMRecipe`, and ``base``: another recipe, relative to
this one, whose values hold unless this one has others.

Relative paths in a recipe start from the working directory. Weights are float32; ``arguments: {bf16: true}`` computes
in bfloat16. With ``--resume`` stages that are finished are loaded, and the one under way goes on from its last
checkpoint.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import AutoTokenizer, TrainingArguments, set_seed
from transformers.trainer_utils import get_last_checkpoint

from ove_codec.lmm.data import LlavaDataset
from ove_codec.lmm.loading import from_parts
from ove_codec.lmm.model import LMMForConditionalGeneration
from ove_codec.lmm.processor import VISION_TOKEN, LMMProcessor, vision_token_id
from ove_codec.lmm.recipe import read_recipe as read_recipe
from ove_codec.lmm.trainer import LMMTrainer, set_trainable

_DONE = "trainer_state.json"  # written when a stage has ended, in its own directory


def run(recipe: Mapping[str, Any], *, resume: bool = False) -> LMMForConditionalGeneration:
    """Trains all stages of a recipe (see `read_recipe`); returns the model.

    Args:
        recipe: what `read_recipe` gives.
        resume: load stages that are finished, and go on from the last checkpoint of the one under way.
    """
    seed = int(recipe.get("seed", 0))
    set_seed(seed)
    output = Path(recipe["output_dir"])
    stages = list(recipe["stages"])
    finished = 0
    while resume and finished < len(stages) and (output / stages[finished]["name"] / _DONE).is_file():
        finished += 1
    model, processor = load(recipe, output / stages[finished - 1]["name"] if finished else None)
    for stage in stages[finished:]:
        own = {name: stage[name] for name in ("prompt", "reader") if name in stage}
        run_stage(model, processor.changed(**own), stage, output / stage["name"], seed=seed, resume=resume)
    return model


def load(recipe: Mapping[str, Any], directory: Path | None = None) -> tuple[LMMForConditionalGeneration, LMMProcessor]:
    """The model and the processor that a recipe names; the model from `directory` where that is given."""
    options = dict(recipe["model"])
    settings = dict(recipe.get("processor") or {})
    saved = options.pop("directory", None)
    attention = {name: options.pop(name) for name in ("attn_implementation",) if name in options}
    if saved is not None:
        if options:
            raise ValueError(f"model names a directory, so {', '.join(sorted(options))} cannot be given")
        processor = LMMProcessor.from_pretrained(saved).changed(**settings)
        return _saved_model(directory or saved, attention), processor
    for name in ("vision_tower", "language_model"):
        if name not in options:
            raise ValueError(f"model lacks {name}; or give the directory of a saved model")
    tokenizer = AutoTokenizer.from_pretrained(options["language_model"], local_files_only=True)
    token_id = vision_token_id(tokenizer, settings.get("vision_token", VISION_TOKEN))
    model = (
        from_parts(**options, **attention, vision_token_id=token_id)
        if directory is None
        else _saved_model(directory, attention)
    )
    return model, LMMProcessor.for_model(model.config, tokenizer, settings.pop("reader", None), **settings)


def _saved_model(directory: str | Path, attention: Mapping[str, str]) -> LMMForConditionalGeneration:
    model: LMMForConditionalGeneration = LMMForConditionalGeneration.from_pretrained(
        directory, local_files_only=True, dtype=torch.float32, **attention
    )
    return model


def run_stage(
    model: LMMForConditionalGeneration,
    processor: LMMProcessor,
    stage: Mapping[str, Any],
    directory: Path,
    *,
    seed: int = 0,
    resume: bool = False,
) -> LMMTrainer:
    """Trains one stage, and writes model, processor and the list of unreadable samples into `directory`."""
    dataset = LlavaDataset(stage["data"], processor, stage.get("root"))
    set_trainable(model, stage["train"])
    arguments = {
        "seed": seed,
        "report_to": "none",
        "gradient_checkpointing_kwargs": {"use_reentrant": False},
        **(stage.get("arguments") or {}),
    }
    if "warmup_ratio" in arguments and "warmup_ratio" not in TrainingArguments.__dataclass_fields__:
        arguments["warmup_steps"] = arguments.pop("warmup_ratio")  # transformers 5 takes a share under this name
    trainer = LMMTrainer(
        model,
        TrainingArguments(output_dir=str(directory), **arguments),
        processor,
        dataset,
        learning_rates=stage.get("learning_rates"),
        max_unreadable=float(stage.get("max_unreadable", 0.05)),
        packed=stage.get("packed", False),
    )
    checkpoint = get_last_checkpoint(str(directory)) if resume and directory.is_dir() else None
    try:
        trainer.train(resume_from_checkpoint=checkpoint)
    finally:
        directory.mkdir(parents=True, exist_ok=True)
        trainer.write_unreadable(directory, resumed=checkpoint is not None)
    trainer.save_model(str(directory))
    trainer.save_state()
    return trainer


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m ove_codec.lmm.train", description="Trains the stages of a recipe.")
    parser.add_argument("recipe", metavar="RECIPE.yaml|RECIPE.json")
    parser.add_argument("--resume", action="store_true", help="resume an earlier run")
    args = parser.parse_args(arguments)
    try:
        recipe = read_recipe(args.recipe)
    except (OSError, ValueError) as error:
        parser.error(str(error))
    run(recipe, resume=args.resume)
    return 0


if __name__ == "__main__":
    sys.exit(main())
