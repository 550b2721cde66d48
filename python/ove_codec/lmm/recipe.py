"""Recipes of `python -m ove_codec.lmm.train`: YAML or JSON files with the fields of these models, and no others."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any, Literal

# Before pydantic, because it names the extra that is missing.
from ove_codec._recipes import Number, RecipePart, Whole, between, check_keys, read_values, validated

# isort: split
from pydantic import BeforeValidator, field_validator
from transformers import TrainingArguments

from ove_codec.lmm.vision import VisionReader

Part = Literal["vision_tower", "projector", "language_model"]


def _reader(values: Any) -> Any:
    return check_keys(values, [field.name for field in fields(VisionReader)])


def _arguments(values: Any) -> Any:
    # transformers 5 takes warmup_ratio under another name, see `train.run_stage`.
    return check_keys(values, [*TrainingArguments.__dataclass_fields__, "warmup_ratio"])


Reader = Annotated[dict[str, Any], BeforeValidator(_reader)]


class ModelParts(RecipePart):
    """Where the model comes from.

    Attributes:
        vision_tower, language_model: directories; with select_layer, merge_size and projector as of `LMMConfig`.
        directory: of a model that was saved, instead of these.
        attn_implementation: of the language model.
    """

    vision_tower: str | None = None
    language_model: str | None = None
    select_layer: int | None = None
    merge_size: int | None = None
    projector: str | None = None
    directory: str | None = None
    attn_implementation: str | None = None


class Processor(RecipePart):
    """Settings of `LMMProcessor`; `reader` has fields of `VisionReader` that the tower does not settle."""

    reader: Reader | None = None
    vision_token: str | None = None
    timestamps: bool | None = None
    prompt: str | None = None
    max_length: int | None = None
    template_arguments: dict[str, Any] | None = None


class Stage(RecipePart):
    """One stage of training.

    Attributes:
        name: of its directory.
        data: JSONL files; their paths start from `root`.
        train: parts that are trained.
        learning_rates: by part.
        arguments: of transformers' TrainingArguments.
        max_unreadable: share of the samples.
        packed: put the samples of a batch into one row without padding.
        prompt, reader: where they differ from the processor's.
    """

    name: str
    data: str | list[str]
    train: list[Part]
    root: str | None = None
    learning_rates: dict[Part, Number] | None = None
    arguments: Annotated[dict[str, Any], BeforeValidator(_arguments)] | None = None
    max_unreadable: Annotated[Number, between(0, 1)] = 0.05
    packed: bool = False
    prompt: str | None = None
    reader: Reader | None = None


class LMMRecipe(RecipePart):
    """A whole recipe.

    Attributes:
        output_dir: every stage writes its checkpoints, and in the end model and processor, under its name there.
        seed: of the projector's weights and of every stage.
    """

    output_dir: str
    model: ModelParts
    stages: list[Stage]
    processor: Processor | None = None
    seed: Whole = 0

    @field_validator("stages")
    @classmethod
    def _distinct(cls, stages: list[Stage]) -> list[Stage]:
        names = [stage.name for stage in stages]
        if len(set(names)) != len(names) or not names:
            raise ValueError(f"there must be at least one stage, and stages must have different names, not {names}")
        return stages


def read_recipe(file: str | Path) -> dict[str, Any]:
    """Reads a recipe and what it is based on; the values that are given.

    Raises:
        FileNotFoundError: the file, or a base, is missing.
        ValueError: it is no YAML or JSON mapping, is based on itself, or a key is unknown or missing, or a value not
            allowed; the message names the file and the key.
    """
    values = _merged(Path(file), ())
    return validated(LMMRecipe, values, file).model_dump(exclude_unset=True)


def _merged(file: Path, above: tuple[Path, ...]) -> dict[str, Any]:
    """The recipe over its base; mappings, and stages of one name, are merged, everything else is replaced."""
    file = file.resolve()
    if file in above:
        raise ValueError(f"{file}: the recipe is based on itself; remove the loop")
    values = read_values(file)
    base = values.pop("base", None)
    return values if base is None else _over(_merged(file.parent / base, (*above, file)), values)


def _over(base: Any, values: Any) -> Any:
    if _named(base) and _named(values):
        known = {part["name"]: part for part in base}
        merged = {**known, **{part["name"]: _over(known.get(part["name"]), part) for part in values}}
        return list(merged.values())
    if not isinstance(base, dict) or not isinstance(values, dict):
        return values
    return {**base, **{key: _over(base.get(key), value) for key, value in values.items()}}


def _named(values: Any) -> bool:
    return isinstance(values, list) and all(isinstance(part, dict) and "name" in part for part in values)
