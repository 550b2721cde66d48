"""Trains probes on features: several learning rates and weight decays on one pass, resumable to the bit."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import torch
import torch.distributed as dist
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor, nn

from ove_codec._renames import renamed
from ove_codec.probes.accuracy import Accuracy, evaluate, logits_of
from ove_codec.probes.features import FeatureBatch, FeatureSet, Job, stream
from ove_codec.probes.files import write_whole
from ove_codec.probes.head import AttentiveHead, HeadStack
from ove_codec.probes.recipe import DTYPES, learning_rate
from ove_codec.probes.recipe import ProbeRecipe as ProbeRecipe
from ove_codec.probes.recipe import Setting as Setting
from ove_codec.probes.recipe import sweep as sweep
from ove_codec.probes.workers import Workers

_FORMAT = 1  # of checkpoints


@dataclass(frozen=True)
class Trained:
    """The result of `train_heads`.

    Attributes:
        heads: one per setting, after the last epoch.
        settings: of the heads.
        history: top-1 on the validation set after every epoch.
        losses: mean training loss, epochs x settings.
    """

    heads: HeadStack
    settings: tuple[Setting, ...]
    history: list[Accuracy] = field(default_factory=list)
    losses: list[list[float]] = field(default_factory=list)

    def last(self, head: int) -> float:
        """Top-1 in percent of a head after the last epoch."""
        return self.history[-1].percent(head)

    def best(self, head: int) -> tuple[float, int]:
        """The highest top-1 in percent over the epochs, chosen on the validation set itself, and its epoch from 1."""
        values = [epoch.percent(head) for epoch in self.history]
        return max(values), 1 + int(np.argmax(values))


class Stopped(Exception):
    """Training was stopped early; its checkpoint is written."""


def train_heads(
    train: FeatureSet,
    val: FeatureSet,
    num_classes: int,
    recipe: ProbeRecipe | None = None,
    *,
    seed: int = 1,
    device: torch.device | str = "cpu",
    checkpoint: Path | None = None,
    checkpoint_seconds: float = 300.0,
    report: Callable[[int, Trained], None] | None = None,
    stop: Callable[[], bool] | None = None,
) -> Trained:
    """Trains a head for every setting of the recipe on one pass over the features, and evaluates after every epoch.

    The heads have the same initial values and see the same batches, but share nothing else: each trains as it would
    alone, up to rounding, and one that diverges does not affect the others. `seed` determines the initial values, the
    order of the clips, and their views.

    With several processes (torch.distributed's default group) each takes a share of every batch, and gradients are
    summed; features must be the same on all.

    Args:
        train, val: features with labels below `num_classes`.
        recipe: the defaults where None.
        seed: not negative.
        device: of the heads and the products with features.
        checkpoint: a file to resume from if it exists. The first process writes it after every epoch and every
            `checkpoint_seconds`, and it stays at the end. A resumed run gives the same bits as an uninterrupted one,
            on the same kind of device with the same number of threads.
        report: called after every epoch with its number from 1.
        stop: called after every step; if it returns True on any process, the checkpoint is written and Stopped is
            raised.

    Raises:
        Stopped: `stop` returned True.
        ValueError: the sets do not match each other or the classes; or the checkpoint belongs to another training, and
            the message says how it differs.
        RuntimeError: the processes do not see the same checkpoint or features.
    """
    recipe = recipe or ProbeRecipe()
    _check(train, val, num_classes)
    training = _Training(train, val, num_classes, recipe, seed, torch.device(device))
    about = {
        "format": _FORMAT,
        "recipe": json.loads(json.dumps(asdict(recipe))),
        "seed": seed,
        "classes": num_classes,
        "hidden": train.hidden_size,
        "clips": [len(train.labels), len(val.labels)],
        "views": train.views,
    }
    if checkpoint is not None:
        about |= {"train": train.fingerprint, "val": val.fingerprint}
    if checkpoint is not None and checkpoint.exists():
        training.load(checkpoint, about)
    workers = training.workers
    if int(workers.sum(torch.tensor(training.step, device=training.device))) != training.step * workers.size:
        raise RuntimeError(f"the processes do not see the same checkpoint {checkpoint}: put it on a shared disk")
    result = training.result
    written = time.monotonic()

    def save() -> None:
        nonlocal written
        training.share_failures()
        if checkpoint is not None and workers.rank == 0:
            training.save(checkpoint, about)
        written = time.monotonic()

    def asked() -> bool:
        return stop is not None and stop()

    def check() -> None:
        if training.any(asked()):
            save()
            raise Stopped

    for epoch in range(len(result.history), recipe.epochs):
        # A checkpoint between the last step of an epoch and its evaluation leads to the evaluation.
        for batch in training.batches(range(training.step, (epoch + 1) * training.steps_per_epoch)):
            due = time.monotonic() - written >= checkpoint_seconds
            stopping, due = training.advance(batch, asked(), due)
            if stopping or due:
                save()
            if stopping:
                raise Stopped
        accuracy = evaluate(
            result.heads,
            val,
            batch_size=recipe.batch_size,
            device=training.device,
            dtype=training.dtype,
            check=check,
        )
        result.losses.append(training.mean_losses())
        result.history.append(accuracy)
        save()
        if report is not None:
            report(len(result.history), result)
        if epoch + 1 < recipe.epochs and training.any(asked()):
            raise Stopped
    return result


def time_step(features: FeatureSet, num_classes: int, recipe: ProbeRecipe, device: torch.device) -> float:
    """Seconds of a training step of all heads on a batch of these features, after a first one."""
    training = _Training(features, features, num_classes, recipe, 0, device)
    begin = 0.0
    for _ in range(2):
        (batch,) = training.batches(range(1))
        begin = time.perf_counter()
        training.advance(batch)
        training.loss_sums.tolist()  # waits for the device
    return time.perf_counter() - begin


class _Training:
    """The state of a training, and its steps."""

    def __init__(
        self,
        train: FeatureSet,
        val: FeatureSet,
        num_classes: int,
        recipe: ProbeRecipe,
        seed: int,
        device: torch.device,
    ) -> None:
        self.train, self.recipe, self.seed, self.device = train, recipe, seed, device
        # Of sets that meet clips that cannot be read only as they go.
        sets = (("train", train), ("val", val))
        self.failures: dict[str, dict[int, str]] = {
            name: features.failures for name, features in sets if hasattr(features, "failures")
        }
        self.dtype = DTYPES[recipe.precision]
        self.workers = Workers.current()
        self.steps_per_epoch = -(-len(train.labels) // recipe.batch_size)
        self.steps = self.steps_per_epoch * recipe.epochs
        self.step = 0
        self.read = 0  # clips of this epoch that could be read
        generator = torch.Generator().manual_seed(seed)
        head = AttentiveHead(train.hidden_size, num_classes, generator)
        stack = HeadStack([head] * len(recipe.settings)).to(device)
        self.result = Trained(stack, recipe.settings)
        self.loss_sums = torch.zeros(len(stack), dtype=torch.float64, device=device)  # of this epoch
        self.parameters: list[list[nn.Parameter]] = []
        for value in stack.state.values():
            value.grad = torch.zeros_like(value)
        groups: list[dict[str, Any]] = []
        for index, setting in enumerate(recipe.settings):
            own = []
            for value, parameter in stack.parameters_of(index):
                assert value.grad is not None
                parameter.grad = value.grad[index]  # autograd adds to the stack's gradient in place
                own.append(parameter)
            self.parameters.append(own)
            groups.append({"params": own, "lr": setting.lr, "weight_decay": setting.weight_decay})
        self.optimizer = torch.optim.AdamW(groups, betas=recipe.betas, eps=recipe.eps)

    def batches(self, steps: range) -> Iterator[FeatureBatch | None]:
        """This process's share of the clips of these steps, which are of one epoch; None for an empty one."""
        epoch = steps.start // self.steps_per_epoch
        rng = np.random.default_rng([self.seed, epoch])
        count = len(self.train.labels)
        order, views = rng.permutation(count), rng.integers(self.train.views, size=count)

        def job(step: int) -> Job:
            place = step % self.steps_per_epoch * self.recipe.batch_size
            share = order[place : place + self.recipe.batch_size][self.workers.rank :: self.workers.size]
            return share.tolist(), views[share].tolist()

        return stream(self.train, map(job, steps))

    def any(self, asked: bool) -> bool:
        """Whether it is asked for on any process; all of them have to call it."""
        return bool(self.workers.sum(torch.tensor(int(asked), device=self.device)))

    def share_failures(self) -> None:
        """Makes the clips that cannot be read known to all processes; all of them have to call it."""
        if self.failures and self.workers.size > 1:
            found: list[Any] = [None] * self.workers.size
            dist.all_gather_object(found, self.failures)
            for failures in found:
                for name, known in failures.items():
                    self.failures[name].update(known)

    def advance(self, batch: FeatureBatch | None, *asked: bool) -> tuple[bool, ...]:
        """One step of every head; says what is asked for on any process."""
        numbers = torch.tensor([0 if batch is None else len(batch.labels), *asked], device=self.device)
        count, *flags = self.workers.sum(numbers).tolist()
        self.read += count
        stack = self.result.heads
        for value in stack.state.values():
            assert value.grad is not None
            value.grad.zero_()
        step_losses = torch.zeros_like(self.loss_sums)
        if batch is not None:
            logits, labels = logits_of(stack, batch, self.device, self.dtype)
            losses = F.cross_entropy(
                logits.flatten(0, 1),
                labels.repeat(len(stack)),
                label_smoothing=self.recipe.label_smoothing,
                reduction="none",
            ).unflatten(0, (len(stack), -1))
            (losses.sum() / count).backward()
            step_losses += losses.detach().sum(dim=1)
        self.loss_sums += self.workers.sum(step_losses)
        for value in stack.state.values():
            assert value.grad is not None
            self.workers.sum(value.grad)
        for setting, group, own in zip(self.recipe.settings, self.optimizer.param_groups, self.parameters, strict=True):
            if self.recipe.clip_norm:
                nn.utils.clip_grad_norm_(own, self.recipe.clip_norm)
            group["lr"] = learning_rate(setting.lr, self.recipe.min_lr, self.step, self.steps)
        self.optimizer.step()
        self.step += 1
        return tuple(map(bool, flags))

    def mean_losses(self) -> list[float]:
        """Mean training loss of every head over the epoch that ends; a new sum begins."""
        means = [float(value) for value in self.loss_sums / max(1, self.read)]
        self.loss_sums.zero_()
        self.read = 0
        return means

    def save(self, path: Path, about: dict[str, Any]) -> None:
        """Writes the checkpoint: one safetensors file, what is no tensor in its metadata."""
        tensors = {f"head.{name}": value.detach() for name, value in self.result.heads.state.items()}
        for number, state in self.optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{number}.{name}": value for name, value in state.items()}
        tensors["loss_sums"] = self.loss_sums
        progress = {
            "step": self.step,
            "history": [asdict(epoch) for epoch in self.result.history],
            "losses": self.result.losses,
            "read": self.read,
            "failures": {name: list(found.items()) for name, found in self.failures.items()},
        }
        metadata = {"about": json.dumps(about), "progress": json.dumps(progress)}
        plain = {name: value.contiguous().cpu() for name, value in tensors.items()}
        write_whole(path, lambda part: save_file(plain, part, metadata))

    def load(self, path: Path, about: dict[str, Any]) -> None:
        """Takes up the state of a checkpoint; ValueError if it is of another training or damaged."""
        found, progress, tensors = _read(path)
        if found != about:
            differing = [name for name in about if found.get(name) != about[name]]
            told = "; ".join(f"{name} is {found.get(name)}, expected {about[name]}" for name in differing)
            raise ValueError(f"{path} belongs to another training: {told}. Remove it, or choose another checkpoint")
        for name, value in self.result.heads.state.items():
            value.detach().copy_(tensors[f"head.{name}"])
        states: dict[int, dict[str, Tensor]] = {}
        for name, tensor in tensors.items():
            kind, _, rest = name.partition(".")
            if kind == "optimizer":
                number, _, part = rest.partition(".")
                states.setdefault(int(number), {})[part] = tensor
        self.optimizer.load_state_dict({**self.optimizer.state_dict(), "state": states})
        self.loss_sums.copy_(tensors["loss_sums"])
        self.step = progress["step"]
        self.result.history.extend(Accuracy(tuple(e["correct"]), e["total"]) for e in progress["history"])
        self.result.losses.extend(progress["losses"])
        # Checkpoints of version 0.1 lack what follows; all of their clips can be read.
        self.read = progress.get("read", self.step % self.steps_per_epoch * self.recipe.batch_size)
        for name, found in progress.get("failures", {}).items():
            self.failures[name].update((int(number), error) for number, error in found)


def load_heads(checkpoint: Path) -> tuple[HeadStack, tuple[Setting, ...]]:
    """The latest heads of a checkpoint, and their settings.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is not a checkpoint of a probe, or is damaged.
    """
    about, _, tensors = _read(checkpoint)
    state = {name.removeprefix("head."): value for name, value in tensors.items() if name.startswith("head.")}
    settings = tuple(Setting(**setting) for setting in about["recipe"]["settings"])
    stack = HeadStack([AttentiveHead(about["hidden"], about["classes"])] * len(settings))
    stack.state = {name: state[name].requires_grad_() for name in stack.state}
    return stack, settings


def _read(path: Path) -> tuple[dict[str, Any], dict[str, Any], dict[str, Tensor]]:
    """What a checkpoint is of, how far it is, and its tensors."""
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
        return json.loads(metadata["about"]), json.loads(metadata["progress"]), tensors
    except (safetensors.SafetensorError, KeyError, ValueError) as error:
        raise ValueError(
            f"{path} is damaged, or not a checkpoint of a probe: {error}; remove it to start again"
        ) from None


def _check(train: FeatureSet, val: FeatureSet, num_classes: int) -> None:
    if train.hidden_size != val.hidden_size:
        raise ValueError(
            f"train and val must have the same number of channels, got {train.hidden_size} and {val.hidden_size}"
        )
    for name, features in (("train", train), ("val", val)):
        labels = features.labels
        if len(labels) == 0:
            raise ValueError(f"{name} holds no clips")
        if labels.min() < 0 or labels.max() >= num_classes:
            raise ValueError(
                f"labels of {name} must be from 0 to {num_classes - 1}, got {labels.min()} to {labels.max()}"
            )


__getattr__ = renamed(__name__, Recipe="ProbeRecipe")
