"""Recipes of `ove-codec train`: YAML files with the fields of these models, and no others."""

from __future__ import annotations

import dataclasses
import json
import os
import re
from typing import Annotated, Any, Literal

# Before pydantic, because it names the extra that is missing.
from ove_codec._recipes import Number, RecipePart, Whole, between, check_keys, override, read_values, validated

# isort: split
from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    PlainSerializer,
    PlainValidator,
    TypeAdapter,
    model_validator,
)
from pydantic_core import PydanticCustomError
from typing_extensions import Self

from ove_codec._renames import renamed
from ove_codec.data.inputs import KINDS, Input
from ove_codec.models.config import OVEncoderConfig

Count = Annotated[Whole, between(1, 1 << 62)]
Positive = Annotated[Number, between(1e-9, float("inf"))]


def _inputs(values: Any) -> dict[str, Input]:
    """Kinds of input by name, from their settings."""
    if not isinstance(values, dict) or not values:
        raise PydanticCustomError("choice", "must hold one or more of {kinds}", {"kinds": ", ".join(KINDS)})
    check_keys(values, KINDS)
    made: dict[str, Input] = {}
    for name, settings in values.items():
        kind = KINDS[name]
        known = [field.name for field in dataclasses.fields(kind)]
        one: Any = TypeAdapter(dict[str, Annotated[kind, BeforeValidator(lambda v, known=known: check_keys(v, known))]])  # type: ignore[valid-type]
        # As JSON: from Python's own mappings no dataclass is made strictly.
        made |= one.validate_json(json.dumps({name: settings or {}}, default=str), strict=True)
    return made


def _settings(inputs: dict[str, Input]) -> dict[str, Any]:
    return {name: dataclasses.asdict(kind) for name, kind in inputs.items()}


Inputs = Annotated[dict[str, Input], PlainValidator(_inputs), PlainSerializer(_settings)]


class Model(RecipePart):
    """The encoder.

    Attributes:
        config: a named configuration ("ov-encoder-large"), a directory, or the values of a `config.json`.
        settings: changes to it, such as rope_layout.
        weights: a directory with initial weights instead, with its own config.json.
        freeze: patterns of names of parameters that are not trained, such as "embeddings.*", "encoder.layers.[0-5].*".
        drop_path: stochastic depth: the share of sequences that skip the last block's branches in a step; for earlier
            blocks it rises linearly from 0.
    """

    config: str | dict[str, Any] | None = None
    settings: dict[str, Any] = Field(default_factory=dict)
    weights: str | None = None
    freeze: list[str] = Field(default_factory=list)
    drop_path: Annotated[Number, between(0, 0.99)] = 0.0

    def resolved(self) -> OVEncoderConfig:
        """The configuration.

        Raises:
            ValueError, FileNotFoundError: it is not there, or not allowed.
        """
        if (self.config is None) == (self.weights is None):
            raise ValueError(
                "model needs either config, for random weights, or weights, a directory with the initial weights"
            )
        if self.weights is not None:
            config = OVEncoderConfig.from_file(self.weights)
        elif isinstance(self.config, dict):
            config = OVEncoderConfig.from_dict(self.config)
        elif self.config is not None and os.path.isdir(self.config):
            config = OVEncoderConfig.from_file(self.config)
        else:
            config = OVEncoderConfig.named(str(self.config))
        unknown = set(self.settings) - {f.name for f in dataclasses.fields(config)}
        if isinstance(self.config, dict):
            unknown |= set(self.config) - {f.name for f in dataclasses.fields(config)} - {"model_type", "architectures"}
        if unknown:
            raise ValueError(f"model has unknown keys: {', '.join(sorted(unknown))}")
        config = dataclasses.replace(config, **self.settings)
        if not config.use_head:
            raise ValueError("model: use_head must be true, because the loss uses the pooled output")
        return config


class Head(RecipePart):
    """One bank of concepts, and the data that is labelled with it.

    Attributes:
        shards: patterns of tar files.
        centres: size of the bank.
        inputs: kinds of input by name, see `ove_codec.data`.
        weight: its share of the samples, relative to other heads.
        loss_weight: factor of its loss.
        max_labels: most labels of a sample.
        positives: how many of them count at a time (null: all).
        init: initial centres, (C, D) .npy or .safetensors.
        mode, sample_rate, scale, margin, filter: as of `ClusterLoss`.
    """

    shards: list[str]
    centres: Count
    inputs: Inputs
    weight: Positive = 1.0
    loss_weight: Number = 1.0
    max_labels: Count = 10
    positives: int | None = 8
    init: str | None = None
    mode: str = "multilabel"
    sample_rate: Number = 0.1
    scale: Number = 64.0
    margin: Number = 0.3
    filter: Number | None = None


class Data(RecipePart):
    """How batches are made.

    Attributes:
        batch: samples of all heads in a micro-batch of one rank.
        global_batch: samples of a step over all ranks: a multiple of `batch` times the number of ranks. It sets the
            number of micro-batches per step (run.accumulate stays 1); a step has the same samples and loss on any
            number of ranks.
        workers: worker processes of each rank.
        prefetch: batches that each worker prepares ahead.
        window: shards whose samples are mixed.
        max_skipped: share of the samples so far that may be unreadable. Ten are always allowed, unless it is 0.
    """

    batch: Annotated[int, between(1, 1 << 20)]
    global_batch: Annotated[int, between(1, 1 << 40)] | None = None
    workers: Annotated[int, between(0, 1024)] = 4
    prefetch: Annotated[int, between(1, 1024)] = 2
    window: Annotated[int, between(1, 1 << 30)] = 8
    max_skipped: Annotated[Number, between(0, 1)] = 0.01


class Optimizer(RecipePart):
    """AdamW of backbone and centres. Norms, biases and the probe of the pooling head do not decay.

    Attributes:
        lr: at the end of the warm-up, of the backbone.
        centre_lr: factor of `lr` for centres.
        weight_decay, centre_weight_decay: of the backbone and of centres.
        beta1, beta2, eps: of AdamW.
        warmup: steps, or a share of all where below 1.
        schedule: "cosine", "polynomial" or "constant".
        power: of the polynomial schedule.
        final_lr: share of `lr` at the end.
        clip_norm: of all gradients together; null for none.
        ema: decay of the averaged weights; null for none.
        layer_decay: the last block and what follows it have `lr`. Every earlier block has the rate of the next block
            times this factor, and so has the patch embedding.
    """

    lr: Annotated[Number, between(0, 1e6)]
    centre_lr: Number = 1.0
    weight_decay: Number = 0.05
    centre_weight_decay: Number = 0.0
    beta1: Number = 0.9
    beta2: Number = 0.999
    eps: Number = 1e-8
    warmup: Annotated[Number, between(0, 1e12)] = 0.05
    schedule: Literal["cosine", "polynomial", "constant"] = "cosine"
    power: Number = 2.0
    final_lr: Annotated[Number, between(0, 1)] = 0.0
    clip_norm: Number | None = 5.0
    ema: Annotated[Number, between(0, 1)] | None = None
    layer_decay: Annotated[Number, between(0.01, 1)] = 1.0


class Run(RecipePart):
    """How it runs.

    Attributes:
        steps: how long; or
        samples: length of the run in samples of all heads and ranks.
        accumulate: micro-batches of a step of each rank.
        precision: "bf16" computes in bfloat16 with float32 weights, "fp32" in float32.
        parallel: "ddp" or "fsdp".
        compile: torch.compile of every block.
        checkpoint_activations: recompute blocks in the backward pass.
        ranks: the number of ranks that the recipe is for; another number is refused.
        elastic: a resumed run may have another number of ranks or data.batch than before, and so another batch. Not
            needed if data.global_batch stays the same.
        max_skipped_steps: steps of the run that may be skipped because the loss or a gradient is not finite; one more
            ends the run.
        max_minutes: after this time, the run saves a checkpoint and ends.
        seed: of weights, order, augmentation and draws.
        peak_tflops: peak of a device, for the utilisation (known for common GPUs).
        device: "auto", "cpu" or "cuda".
    """

    steps: Count | None = None
    samples: Annotated[Number, between(1, 1e18)] | None = None
    accumulate: Annotated[int, between(1, 1 << 20)] = 1
    precision: Literal["bf16", "fp32"] = "bf16"
    parallel: Literal["ddp", "fsdp"] = "ddp"
    compile: bool = False
    checkpoint_activations: bool = False
    ranks: int | None = None
    elastic: bool = False
    max_skipped_steps: Annotated[Whole, between(0, 1 << 62)] = 0
    max_minutes: Positive | None = None
    seed: int = 0
    peak_tflops: Number | None = None
    device: Literal["auto", "cpu", "cuda"] = "auto"


def _steps(value: list[int]) -> list[int]:
    if len(value) != 2 or value[0] > value[1]:
        raise PydanticCustomError("steps", "must be [first, last]")
    return value


class Output(RecipePart):
    """What is written.

    Attributes:
        folder: of checkpoints and logs.
        checkpoint_every: steps.
        keep: number of newest checkpoints to keep.
        keep_every: also keep the checkpoints of steps that are multiples of this; null for none.
        log_every: steps, over which figures are averaged.
        tensorboard: write event files too (needs the extra).
        wandb: project in Weights & Biases that gets the figures too (needs the package wandb).
        profile: [first, last] steps of this process that PyTorch's profiler records into `profile/rank-N.json`, for
            chrome://tracing or Perfetto.
    """

    folder: str
    checkpoint_every: Count = 1000
    keep: Annotated[int, between(1, 1 << 30)] = 3
    keep_every: Count | None = None
    log_every: Count = 10
    tensorboard: bool = False
    wandb: str | None = None
    profile: Annotated[list[Count], AfterValidator(_steps)] | None = None


class Evaluation(RecipePart):
    """Accuracy of the pooled output: of its nearest neighbours, and of a linear probe.

    Attributes:
        train, test: patterns of shards whose first label is the class.
        input: one kind of input with its settings.
        every: steps between evaluations; the last step is always evaluated.
        k: neighbours.
        linear: fit a linear probe too.
        batch: samples that a rank encodes at a time.
    """

    train: list[str]
    test: list[str]
    input: Inputs
    every: Count | None = None
    k: Count = 10
    linear: bool = False
    batch: Count = 32

    @model_validator(mode="after")
    def _one_input(self) -> Self:
        if len(self.input) != 1:
            raise ValueError(f"input must be one of {', '.join(KINDS)}")
        return self

    def kind(self) -> Input:
        """The input."""
        (kind,) = self.input.values()
        return kind


class TrainingRecipe(RecipePart):
    """A whole recipe. Relative paths start from the current directory."""

    model: Model
    heads: dict[str, Head]
    data: Data
    optimizer: Optimizer
    run: Run
    output: Output
    evaluation: Evaluation | None = None

    @model_validator(mode="after")
    def _fitting(self) -> Self:
        if not self.heads:
            raise ValueError("heads is empty: give at least one")
        if (self.run.steps is None) == (self.run.samples is None):
            raise ValueError("run needs either steps or samples, not both")
        for name in self.heads:
            if not re.fullmatch("[A-Za-z0-9_-]*", name):
                raise ValueError(f"the name of a head must consist of letters, digits, _ and -, not {name!r}")
        if self.data.global_batch is not None and self.run.accumulate != 1:
            raise ValueError("data.global_batch sets the number of micro-batches per step: leave out run.accumulate")
        self.model.resolved()
        return self

    def accumulate(self, world: int) -> int:
        """Micro-batches of a step of each of `world` ranks.

        Raises:
            ValueError: data.global_batch is not a multiple of the samples of one of all ranks.
        """
        if self.data.global_batch is None:
            return self.run.accumulate
        count, left = divmod(self.data.global_batch, self.data.batch * world)
        if left or not count:
            raise ValueError(
                f"data.global_batch {self.data.global_batch} is not a multiple of data.batch {self.data.batch} on "
                f"{world} "
                f"ranks: change one of them"
            )
        return count

    def steps(self, world: int) -> int:
        """Optimiser steps of the whole run."""
        if self.run.steps is not None:
            return self.run.steps
        assert self.run.samples is not None
        return max(1, round(self.run.samples / (self.data.batch * world * self.accumulate(world))))

    def share(self, head: str) -> float:
        """Samples of a head in a micro-batch of one rank."""
        return self.data.batch * self.heads[head].weight / sum(h.weight for h in self.heads.values())


def load_recipe(file: str | os.PathLike[str], overrides: list[str] | None = None) -> TrainingRecipe:
    """Reads a recipe.

    Args:
        file: .yaml or .json.
        overrides: "path.to.key=value", the value in YAML.

    Raises:
        OSError: the file cannot be read.
        ValueError: a key is unknown or missing, or a value not allowed; the message names file and key.
    """
    values = read_values(file)
    try:
        override(values, overrides or [])
    except ValueError as error:
        raise ValueError(f"{os.fspath(file)}: {error}") from None
    return validated(TrainingRecipe, values, file)


def as_json(recipe: TrainingRecipe) -> str:
    """The recipe with all values, as JSON."""
    return json.dumps(recipe.model_dump(mode="json"), indent=1, sort_keys=True)


__getattr__ = renamed(__name__, Recipe="TrainingRecipe")
