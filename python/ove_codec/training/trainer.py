"""The training loop: one packed pass of the backbone a micro-batch, all heads, one update a step."""

from __future__ import annotations

import json
import math
import signal
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor import DTensor

from ove_codec.data import HeadData, Mixture, PackedBatch
from ove_codec.models import OVEncoderConfig
from ove_codec.training import checkpoint
from ove_codec.training.centre_optimizer import CentreAdamW
from ove_codec.training.evaluation import evaluate
from ove_codec.training.journal import Journal, peak_flops
from ove_codec.training.losses import ClusterLoss
from ove_codec.training.meter import Meter, Rows
from ove_codec.training.optimization import Average, clip_factor, gradient_norm, learning_rate, parameter_groups
from ove_codec.training.parts import STATES, make_backbone, make_head, make_states, over_ranks, synchronising
from ove_codec.training.ranks import Ranks
from ove_codec.training.recipe import TrainingRecipe, as_json
from ove_codec.training.termination import Termination


class TrainingError(RuntimeError):
    """Training cannot go on; the message names the reason, the step and, where there is one, the sample."""


class Trainer:
    """A run of a recipe in one process of a group.

    Args:
        recipe: what to train.
        ranks: the processes, as `launch.process_group` gives them.
        device: of this process.

    Raises:
        ValueError, OSError: recipe and data, bank or weights do not fit; the message says what.
    """

    def __init__(self, recipe: TrainingRecipe, ranks: Ranks, device: torch.device) -> None:
        run, optimizer = recipe.run, recipe.optimizer
        if run.ranks is not None and run.ranks != ranks.world:
            raise ValueError(
                f"the recipe is made for {run.ranks} ranks, {ranks.world} run: start as many, or set run.ranks to null "
                f"and the learning rate to what the batch then is"
            )
        self.recipe, self.ranks, self.device = recipe, ranks, device
        self.folder = Path(recipe.output.folder)
        self.total = recipe.steps(ranks.world)
        self.step = self.micro = 0
        self.config = recipe.model.resolved()
        self.half = run.precision == "bf16"
        self.mixture = Mixture(
            {name: _head_data(recipe, name) for name in recipe.heads},
            self.config.patch_size,
            rank=ranks.rank,
            world=ranks.world,
            seed=run.seed,
            window=recipe.data.window,
            dtype=torch.bfloat16 if self.half else torch.float32,
        )
        # One bound for all batches: their values are not waited for, and one compiled graph serves them.
        self.longest = max(
            kind.most_tokens(self.config.patch_size) for head in recipe.heads.values() for kind in head.inputs.values()
        )
        self.mesh = DeviceMesh.from_group(ranks.group or dist.distributed_c10d._get_default_group(), device.type)
        torch.manual_seed(run.seed)
        self.backbone = make_backbone(recipe, self.config, device)
        self.heads = nn.ModuleDict(
            {
                name: make_head(run, number, head, self.config.hidden_size, ranks, device)
                for number, (name, head) in enumerate(recipe.heads.items())
            }
        )
        self.model = over_ranks(self.backbone, run, ranks, self.mesh, device)
        self.average = None if optimizer.ema is None else Average(self.backbone, optimizer.ema)
        betas = (optimizer.beta1, optimizer.beta2)
        self.optimizer = torch.optim.AdamW(
            parameter_groups(self.backbone, optimizer.weight_decay),
            lr=optimizer.lr,
            betas=betas,
            eps=optimizer.eps,
            fused=device.type == "cuda",
        )
        self.centre_optimizer = CentreAdamW(
            self.heads.parameters(),
            optimizer.lr * optimizer.centre_lr,
            betas,
            optimizer.eps,
            optimizer.centre_weight_decay,
        )
        make_states(self.optimizer, self.backbone, device)
        for parameter in self.heads.parameters():
            self.centre_optimizer.state_of(parameter)
        self.skipped = self.seen = 0
        self.peak = peak_flops(device, run.peak_tflops)
        self.journal = Journal(self.folder, -1, 0, self.total, False)
        self.checkpoints = checkpoint.Checkpoints(self.folder, recipe.output.keep, ranks)

    # One step

    def gradients(self, batches: Iterator[PackedBatch]) -> tuple[Tensor, dict[str, Tensor], list[Rows]]:
        """Gradients of one step in place; the loss, that of each head, and the rows of every sample of this rank."""
        accumulate = self.recipe.run.accumulate
        total = torch.zeros((), device=self.device)
        parts = {name: torch.zeros((), device=self.device) for name in self.heads}
        rows: list[Rows] = []
        for number in range(accumulate):
            batch = self._checked(next(batches))
            rows.append(Rows(batch))
            with synchronising(self.model, self.recipe.run, number == accumulate - 1):
                loss = self._loss(batch.to(self.device), parts, rows[-1])
                (loss / accumulate).backward()
            total += loss.detach() / accumulate
            self.micro += 1
        return total, {name: part / accumulate for name, part in parts.items()}, rows

    def _loss(self, batch: PackedBatch, parts: dict[str, Tensor], rows: Rows) -> Tensor:
        cast = self.half and self.recipe.run.parallel != "fsdp"
        with torch.autocast(self.device.type, torch.bfloat16, enabled=cast):
            out = self.model(batch.patches, batch.positions, batch.cu_seqlens, max_seqlen=self.longest)
        pooled = out.pooler_output
        total = pooled.new_zeros((), dtype=torch.float32)
        first = 0
        for name, labels in batch.labels.items():
            head = self.heads[name]
            if len(labels):
                out = head(pooled[first : first + len(labels)].float(), labels, draw=self.micro)
                total = total + self.recipe.heads[name].loss_weight * out.loss
                parts[name] += out.loss.detach()
                rows.losses.append(out.rows)
            first += len(labels)
        return total

    def _checked(self, batch: PackedBatch) -> PackedBatch:
        """Stops for data that cannot be trained with; counts and logs what could not be read."""
        if batch.error is not None:
            raise TrainingError(f"step {self.step}: {batch.error}")
        self.seen += len(batch.names)
        self.skipped += len(batch.skipped)
        self.journal.skipped(self.step, batch.skipped)
        most = self.recipe.data.max_skipped
        if self.skipped > max(10, most * self.seen) or (batch.skipped and most == 0):
            name, reason = batch.skipped[-1] if batch.skipped else ("", "")
            raise TrainingError(
                f"step {self.step}: {self.skipped} of {self.seen} samples could not be read, more than "
                f"data.max_skipped={most} allows; the last one is {name}: {reason}"
            )
        return batch

    def update(self, loss: Tensor, parts: dict[str, Tensor], rows: list[Rows]) -> dict[str, float]:
        """One update by the gradients that are there, unless anything is not finite; the figures of the step.

        Raises:
            TrainingError: loss or gradients are not finite. Weights and checkpoints are as before.
        """
        optimizer = self.recipe.optimizer
        backbone, centres = list(self.backbone.parameters()), list(self.heads.parameters())
        norm = gradient_norm(backbone, centres, self.ranks)
        # The only wait for the device in a step.
        figures = torch.stack([loss, norm, *parts.values()]).tolist()
        if not all(map(math.isfinite, figures)):
            self._not_finite(figures[0], figures[1], rows)
        rate = learning_rate(self.step, self.total, optimizer)
        for group in self.optimizer.param_groups:
            group["lr"] = optimizer.lr * rate
        for group in self.centre_optimizer.param_groups:
            group["lr"] = optimizer.lr * optimizer.centre_lr * rate
        factor = clip_factor(norm, optimizer.clip_norm)
        for parameter in backbone:
            if parameter.grad is not None:
                grad = parameter.grad
                (grad.to_local() if isinstance(grad, DTensor) else grad).mul_(factor)
        self.optimizer.step()
        self.centre_optimizer.step(factor=factor)
        self.optimizer.zero_grad(set_to_none=True)
        self.centre_optimizer.zero_grad(set_to_none=True)
        if self.average is not None:
            self.average.update(self.backbone, self.step)
        self.step += 1
        named = {f"loss_{name}": value for name, value in zip(parts, figures[2:], strict=True)}
        return {"loss": figures[0], "grad_norm": figures[1], "lr": optimizer.lr * rate, **named}

    def _not_finite(self, loss: float, norm: float, rows: list[Rows]) -> None:
        bad = [name for part in rows for name in part.not_finite()]
        texts = self.ranks.texts(
            ", ".join(bad[:3]) + (f" and {len(bad) - 3} more" if len(bad) > 3 else ""), self.device
        )
        samples = "; ".join(text for text in texts if text)
        self.checkpoints.wait()  # all ranks are here: what was begun before is written to the end
        what = f"the loss is {loss}" if not math.isfinite(loss) else f"the norm of the gradients is {norm}"
        where = f", from the sample {samples}" if samples else ", though the loss of every sample is finite"
        found = checkpoint.complete(self.folder)
        left = f"the last checkpoint is {found[-1].name}" if found else "there is no checkpoint yet"
        raise TrainingError(
            f"step {self.step}: {what}{where}. Nothing was updated, and {left}: look at the sample, or "
            f"lower optimizer.lr"
        )

    # A whole run

    def run(self, resume: bool = True) -> dict[str, float]:
        """Trains to the end, from the newest whole checkpoint where there is one; the last figures.

        Raises:
            TrainingError: see there.
            FileExistsError: there are checkpoints, and `resume` is False.
            ValueError: the checkpoints are all damaged, or do not fit.
            SystemExit: the process was asked to end (SIGTERM); a checkpoint of this step is written.
        """
        if checkpoint.complete(self.folder) and not resume:
            raise FileExistsError(f"{self.folder} holds checkpoints: choose another output.folder, or resume")
        try:
            with Termination() as termination:
                return self._run(termination)
        finally:
            self.checkpoints.close()

    def _run(self, termination: Termination) -> dict[str, float]:
        found = self._newest()
        if found is not None:
            self.load(found)
        run, output = self.recipe.run, self.recipe.output
        self.journal = Journal(self.folder, self.ranks.rank, self.step, self.total, output.tensorboard)
        figures: dict[str, float] = {}
        try:
            if self.step >= self.total:
                return figures
            batches = self.mixture.batches(
                self.micro + (self.total - self.step) * run.accumulate,
                self.recipe.data.workers,
                self.recipe.data.prefetch,
                pin_memory=self.device.type == "cuda",
            )
            meter = Meter(self.config, self.ranks.world, self.peak)
            while self.step < self.total:
                loss, parts, rows = self.gradients(batches)
                figures = self.update(loss, parts, rows)
                self.journal.step()
                meter.add(rows)
                if self.step % output.log_every == 0 or self.step == self.total:
                    figures |= meter.figures()
                    self.journal.log(self.step, {**figures, **meter.mix, "skipped": self.skipped})
                    meter = Meter(self.config, self.ranks.world, self.peak)
                ending = termination.asked(self.ranks, self.device)
                if self.step % output.checkpoint_every == 0 or self.step == self.total or ending:
                    self.save()
                if ending:
                    self.checkpoints.wait()
                    raise SystemExit(128 + signal.SIGTERM)
                if self._evaluation_is_due():
                    figures["knn_accuracy"] = self.evaluate()
                    self.journal.log(self.step, {"knn_accuracy": figures["knn_accuracy"]})
                    meter = Meter(self.config, self.ranks.world, self.peak)
            self.checkpoints.wait()
        finally:
            self.journal.close()
        return figures

    def _newest(self) -> Path | None:
        """The newest whole checkpoint, which the first rank finds for all."""
        found, error = "", ""
        if self.ranks.rank == 0:
            try:
                found = str(checkpoint.newest_whole(self.folder) or "")
            except ValueError as reason:
                error = str(reason)
        found, error = (self.ranks.texts(text, self.device)[0] for text in (found, error))
        if error:
            raise ValueError(error)
        return Path(found) if found else None

    def _evaluation_is_due(self) -> bool:
        evaluation = self.recipe.evaluation
        if evaluation is None:
            return False
        return self.step == self.total or (evaluation.every is not None and self.step % evaluation.every == 0)

    def evaluate(self) -> float:
        """k-nearest-neighbour accuracy of the backbone now, averaged weights where there are some."""
        assert self.recipe.evaluation is not None
        if self.average is None:
            return evaluate(self.backbone, self.recipe.evaluation, self.ranks)
        with self.average.in_place(self.backbone):
            return evaluate(self.backbone, self.recipe.evaluation, self.ranks)

    # State

    def tensors(self) -> dict[str, Tensor]:
        """All tensors of the run by name, as views: what a checkpoint holds."""
        found: dict[str, Tensor] = {}
        for name, parameter in self.backbone.named_parameters():
            state = self.optimizer.state[parameter]
            found[f"backbone.{name}"] = parameter.detach()
            found[f"optimizer.step.{name}"] = state["step"].view(1)
            found |= {f"optimizer.{kind}.{name}": state[kind] for kind in STATES}
        if self.average is not None:
            found |= {f"average.{name}": weight for name, weight in self.average.weights.items()}
        for name, head in self.heads.items():
            assert isinstance(head, ClusterLoss)
            state = self.centre_optimizer.state_of(head.weight)
            for kind, local in {"centres": head.weight.detach(), **state}.items():
                found[f"head.{name}.{kind}"] = checkpoint.sharded(local, head.num_centres, self.mesh)
        return found

    def _random_states(self) -> dict[str, Tensor]:
        states = {f"random.{self.ranks.rank}.cpu": torch.get_rng_state()}
        if self.device.type == "cuda":
            states[f"random.{self.ranks.rank}.cuda"] = torch.cuda.get_rng_state(self.device)
        return states

    def save(self) -> None:
        """Begins to write a checkpoint of this moment."""
        state = {
            "step": self.step,
            "data": self.mixture.state_dict(self.micro),
            "world": self.ranks.world,
            "weights": ["backbone"] if self.average is None else ["backbone", "average"],
            "config": self.config.to_dict(),
            "recipe": as_json(self.recipe),
        }
        self.checkpoints.save(self.step, {**self.tensors(), **self._random_states()}, state)

    def load(self, path: Path) -> None:
        """Goes on from a checkpoint, of any number of ranks.

        Raises:
            ValueError: it is damaged, or of another model or bank.
        """
        state = checkpoint.read_state(path)
        if OVEncoderConfig.from_dict(state["config"]) != self.config:
            raise ValueError(f"{path} is of another model than this recipe's: begin a new output.folder")
        before = {"ranks": state["world"], "data.batch": json.loads(state["recipe"])["data"]["batch"]}
        now = {"ranks": self.ranks.world, "data.batch": self.recipe.data.batch}
        if before != now and not self.recipe.run.elastic:
            raise ValueError(
                f"{path} was written with {_listed(before)}, this run has {_listed(now)}: take the same, or allow "
                f"others with run.elastic: true"
            )
        random = self._random_states() if state["world"] == self.ranks.world else {}
        checkpoint.load_tensors(path, {**self.tensors(), **random}, self.ranks.background)
        for name, value in random.items():
            if name.endswith(".cuda"):
                torch.cuda.set_rng_state(value, self.device)
            else:
                torch.set_rng_state(value)
        self.step, self.micro = state["step"], state["data"]["micro"]
        self.mixture.load_state_dict(state["data"])


def _listed(values: Mapping[str, int]) -> str:
    return " and ".join(f"{name} {value}" for name, value in values.items())


def _head_data(recipe: TrainingRecipe, name: str) -> HeadData:
    head = recipe.heads[name]
    return HeadData(tuple(head.shards), head.centres, head.max_labels, recipe.share(name), head.inputs)
