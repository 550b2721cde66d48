"""Recipes of `ove-codec train`: YAML files with the fields of these dataclasses, and no others."""

from __future__ import annotations

import contextlib
import dataclasses
import difflib
import json
import math
import os
import types
import typing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from ove_codec.data.inputs import KINDS, Input
from ove_codec.models.config import OVEncoderConfig

T = TypeVar("T")


@dataclass(frozen=True)
class Model:
    """The encoder.

    Attributes:
        config: a named configuration ("ov-encoder-large"), a directory, or the values of a `config.json`.
        settings: what is changed of it, such as rope_layout.
        weights: a directory to begin from instead, with its own config.json.
    """

    config: str | dict[str, Any] | None = None
    settings: dict[str, Any] = field(default_factory=dict)
    weights: str | None = None

    def resolved(self) -> OVEncoderConfig:
        """The configuration.

        Raises:
            ValueError, FileNotFoundError: it is not there, or not allowed.
        """
        if (self.config is None) == (self.weights is None):
            raise ValueError("model needs either config, for random weights, or weights, a directory to begin from")
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
            raise ValueError("model: use_head must be true, the loss is of the pooled output")
        return config


@dataclass(frozen=True)
class Head:
    """One bank of concepts, and the data that is labelled with it.

    Attributes:
        shards: patterns of tar files.
        centres: size of the bank.
        inputs: kinds of input by name, see `ove_codec.data`.
        weight: its share of the samples beside other heads.
        loss_weight: factor of its loss.
        max_labels: most labels of a sample.
        positives: how many of them are pulled at a time (null: all).
        init: centres to begin from, (C, D) .npy or .safetensors.
        mode, sample_rate, scale, margin, filter: as of `ClusterLoss`.
    """

    shards: list[str]
    centres: int
    inputs: dict[str, Any]
    weight: float = 1.0
    loss_weight: float = 1.0
    max_labels: int = 10
    positives: int | None = 8
    init: str | None = None
    mode: str = "multilabel"
    sample_rate: float = 0.1
    scale: float = 64.0
    margin: float = 0.3
    filter: float | None = None

    def kinds(self) -> dict[str, Input]:
        """The inputs as `ove_codec.data` takes them."""
        unknown = set(self.inputs) - set(KINDS)
        if unknown or not self.inputs:
            raise ValueError(f"inputs must be of {', '.join(KINDS)}, not {', '.join(sorted(unknown)) or 'none'}")
        return {name: build(KINDS[name], values or {}, f"inputs.{name}") for name, values in self.inputs.items()}


@dataclass(frozen=True)
class Data:
    """How batches are made.

    Attributes:
        batch: samples of all heads in a micro-batch of one rank.
        workers: processes of each rank that make batches.
        prefetch: batches that each makes ahead.
        window: shards whose samples are mixed.
        max_skipped: share of the samples of a rank that may be unreadable.
    """

    batch: int
    workers: int = 4
    prefetch: int = 2
    window: int = 8
    max_skipped: float = 0.01


@dataclass(frozen=True)
class Optimizer:
    """AdamW of backbone and centres. Norms, biases and the probe of the pooling head do not decay.

    Attributes:
        lr: at the end of the warm-up, of the backbone; of centres times `centre_lr`.
        warmup: steps, or a share of all where below 1.
        schedule: "cosine", "polynomial" (power `power`) or "constant", down to `final_lr` of `lr`.
        clip_norm: of all gradients together; null for none.
        ema: decay of the averaged weights; null for none.
    """

    lr: float
    centre_lr: float = 1.0
    weight_decay: float = 0.05
    centre_weight_decay: float = 0.0
    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-8
    warmup: float = 0.05
    schedule: str = "cosine"
    power: float = 2.0
    final_lr: float = 0.0
    clip_norm: float | None = 5.0
    ema: float | None = None


@dataclass(frozen=True)
class Run:
    """How it runs.

    Either steps, or samples (of all heads and ranks together), says how long.

    Attributes:
        accumulate: micro-batches of a step.
        precision: "bf16" computes in bfloat16 with float32 weights, "fp32" in float32.
        parallel: "ddp" or "fsdp".
        compile: torch.compile.
        checkpoint_activations: compute blocks anew in the backward pass.
        ranks: what the recipe is made for; another number is refused.
        peak_tflops: of a device, for the utilisation (known of common GPUs).
        device: "auto", "cpu" or "cuda".
    """

    steps: int | None = None
    samples: float | None = None
    accumulate: int = 1
    precision: str = "bf16"
    parallel: str = "ddp"
    compile: bool = False
    checkpoint_activations: bool = False
    ranks: int | None = None
    seed: int = 0
    peak_tflops: float | None = None
    device: str = "auto"


@dataclass(frozen=True)
class Output:
    """What is written.

    Attributes:
        folder: of checkpoints and logs.
        checkpoint_every, log_every: steps.
        keep: newest checkpoints that stay.
        tensorboard: write event files too (needs the extra).
    """

    folder: str
    checkpoint_every: int = 1000
    keep: int = 3
    log_every: int = 10
    tensorboard: bool = False


@dataclass(frozen=True)
class Evaluation:
    """k-nearest-neighbour accuracy of the pooled output.

    Attributes:
        train, test: patterns of shards whose first label is the class.
        input: one kind of input with its settings.
        every: steps, beside the last one.
        k: neighbours.
    """

    train: list[str]
    test: list[str]
    input: dict[str, Any]
    every: int | None = None
    k: int = 10
    batch: int = 32

    def kind(self) -> Input:
        """The input as `ove_codec.data` takes it."""
        if len(self.input) != 1 or not set(self.input) <= set(KINDS):
            raise ValueError(f"input must be one of {', '.join(KINDS)}")
        ((name, values),) = self.input.items()
        return build(KINDS[name], values or {}, f"input.{name}")


@dataclass(frozen=True)
class Recipe:
    """A whole recipe. Relative paths are from the folder that training is started in."""

    model: Model
    heads: dict[str, Head]
    data: Data
    optimizer: Optimizer
    run: Run
    output: Output
    evaluation: Evaluation | None = None

    def __post_init__(self) -> None:
        run, optimizer, data = self.run, self.optimizer, self.data
        if not self.heads:
            raise ValueError("heads is empty: name one at least")
        if (run.steps is None) == (run.samples is None):
            raise ValueError("run needs steps or samples, and not both")
        for name, value, allowed in (
            ("run.precision", run.precision, ("bf16", "fp32")),
            ("run.parallel", run.parallel, ("ddp", "fsdp")),
            ("run.device", run.device, ("auto", "cpu", "cuda")),
            ("optimizer.schedule", optimizer.schedule, ("cosine", "polynomial", "constant")),
        ):
            if value not in allowed:
                raise ValueError(f"{name} must be one of {', '.join(allowed)}, not {value!r}")
        heads = [(f"heads.{name}.{key}", getattr(head, key), 1e-9, math.inf)
                 for name, head in self.heads.items() for key in ("weight", "centres", "max_labels")]  # fmt: skip
        for name, number, low, high in (
            *heads,
            ("data.batch", data.batch, 1, 1 << 20),
            ("data.workers", data.workers, 0, 1024),
            ("data.prefetch", data.prefetch, 1, 1024),
            ("data.window", data.window, 1, 1 << 30),
            ("data.max_skipped", data.max_skipped, 0, 1),
            ("optimizer.lr", optimizer.lr, 0, 1e6),
            ("optimizer.warmup", optimizer.warmup, 0, 1e12),
            ("optimizer.final_lr", optimizer.final_lr, 0, 1),
            ("optimizer.ema", optimizer.ema if optimizer.ema is not None else 0, 0, 1),
            ("run.steps", run.steps or 1, 1, 1 << 62),
            ("run.samples", run.samples or 1, 1, 1e18),
            ("run.accumulate", run.accumulate, 1, 1 << 20),
            ("output.checkpoint_every", self.output.checkpoint_every, 1, 1 << 62),
            ("output.log_every", self.output.log_every, 1, 1 << 62),
            ("output.keep", self.output.keep, 1, 1 << 30),
        ):
            if not low <= number <= high:
                raise ValueError(f"{name} must be {low:g} to {high:g}, not {number!r}")
        for name, head in self.heads.items():
            if not set(name) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-"):
                raise ValueError(f"a head's name is letters, digits, _ and -, not {name!r}")
            try:
                head.kinds()
            except ValueError as error:
                raise ValueError(f"heads.{name}: {error}") from None
        if self.evaluation is not None:
            self.evaluation.kind()
        self.model.resolved()

    def steps(self, world: int) -> int:
        """Optimiser steps of the whole run."""
        if self.run.steps is not None:
            return self.run.steps
        assert self.run.samples is not None
        return max(1, round(self.run.samples / (self.data.batch * world * self.run.accumulate)))

    def share(self, head: str) -> float:
        """Samples of a head in a micro-batch of one rank."""
        return self.data.batch * self.heads[head].weight / sum(h.weight for h in self.heads.values())


def load_recipe(file: str | os.PathLike[str], overrides: list[str] | None = None) -> Recipe:
    """Reads a recipe.

    Args:
        file: .yaml or .json.
        overrides: "path.to.key=value", the value in YAML.

    Raises:
        OSError: the file cannot be read.
        ValueError: a key is unknown or missing, or a value not allowed; the message names file and key.
        ModuleNotFoundError: PyYAML is missing.
    """
    try:
        import yaml
    except ImportError as error:
        raise ModuleNotFoundError("recipes are read with PyYAML: pip install 'ove_codec[train]'") from error
    path = Path(file)
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
        if not isinstance(values, dict):
            raise ValueError("it must hold keys and values")
        for override in overrides or []:
            key, equals, text = override.partition("=")
            if not equals:
                raise ValueError(f"{override!r} must be KEY=VALUE, such as run.steps=100")
            *parents, last = key.split(".")
            place = values
            for parent in parents:
                place = place.setdefault(parent, {})
                if not isinstance(place, dict):
                    raise ValueError(f"{override!r}: {parent} holds no keys")
            place[last] = yaml.safe_load(text)
        return build(Recipe, values, "")
    except yaml.YAMLError as error:
        raise ValueError(f"{path} is no YAML: {' '.join(str(error).split())}") from None
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def build(kind: type[T], values: Any, where: str) -> T:
    """An instance of a dataclass from plain values; nested dataclasses too.

    Raises:
        ValueError: a key is unknown or missing, or a value of another type.
    """
    prefix = f"{where}." if where else ""
    if not isinstance(values, dict):
        raise ValueError(f"{where or 'the recipe'} must hold keys and values, not {values!r}")
    fields = {f.name: f for f in dataclasses.fields(kind)}  # type: ignore[arg-type]
    hints = typing.get_type_hints(kind)
    for key in values:
        if key not in fields:
            near = difflib.get_close_matches(str(key), fields, 1)
            hint = f"; is {near[0]} meant?" if near else f"; there are {', '.join(fields)}"
            raise ValueError(f"unknown key {prefix}{key}{hint}")
    missing = [
        name for name, f in fields.items()
        if name not in values and f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
    ]  # fmt: skip
    if missing:
        raise ValueError(f"{prefix}{missing[0]} is missing")
    made = {key: _value(hints[key], value, f"{prefix}{key}") for key, value in values.items()}
    try:
        return kind(**made)
    except ValueError as error:
        raise ValueError(f"{where}: {error}" if where else str(error)) from None


def _value(hint: Any, value: Any, where: str) -> Any:
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        if value is None and type(None) in args:
            return None
        errors = []
        for option in args:
            if option is not type(None):
                try:
                    return _value(option, value, where)
                except ValueError as error:
                    errors.append(str(error))
        raise ValueError(errors[0])
    if dataclasses.is_dataclass(hint):
        return build(typing.cast(type[Any], hint), value, where)
    if origin is dict:
        if not isinstance(value, dict):
            raise ValueError(f"{where} must hold keys and values, not {value!r}")
        return {str(key): _value(args[1], item, f"{where}.{key}") for key, item in value.items()}
    if origin is list:
        if isinstance(value, str) or not isinstance(value, list):
            raise ValueError(f"{where} must be a list, not {value!r}")
        return [_value(args[0], item, f"{where}[{i}]") for i, item in enumerate(value)]
    if hint is Any:
        return value
    if hint is float and isinstance(value, int | str) and not isinstance(value, bool):
        with contextlib.suppress(ValueError):
            value = float(value)  # YAML 1.1 reads 1e-3 as text
    if hint is int and isinstance(value, float) and value.is_integer():
        value = int(value)
    if not isinstance(value, hint) or (isinstance(value, bool) and hint is not bool):
        raise ValueError(f"{where} must be of type {hint.__name__}, not {value!r}")
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{where} must be a finite number")
    return value


def as_json(recipe: Recipe) -> str:
    """The recipe with all values, as JSON."""
    return json.dumps(dataclasses.asdict(recipe), indent=1, sort_keys=True)
