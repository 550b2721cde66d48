"""The training loop: one packed pass of the backbone per micro-batch, all heads, one update per step."""

from __future__ import annotations

import json
import math
import signal
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor import DTensor

from ove_codec.data import PackedBatch
from ove_codec.models import OVEncoderConfig
from ove_codec.training import checkpoint
from ove_codec.training.centre_optimizer import CentreAdamW
from ove_codec.training.evaluation import evaluate
from ove_codec.training.journal import Journal, peak_flops
from ove_codec.training.losses import ClusterLoss, seed_of
from ove_codec.training.meter import Meter, Rows
from ove_codec.training.optimization import Average, clip_factor, gradient_norm, learning_rate, parameter_groups
from ove_codec.training.parts import (
    STATES,
    make_backbone,
    make_head,
    make_mixture,
    make_states,
    over_ranks,
    synchronising,
)
from ove_codec.training.profiling import Profile
from ove_codec.training.ranks import Ranks
from ove_codec.training.recipe import TrainingRecipe, as_json
from ove_codec.training.skips import Skips, TrainingError
from ove_codec.training.termination import Ending, Termination


class Trainer:
    """A run of a recipe in one process of a group.

    Args:
        recipe: what to train.
        ranks: the processes, from `launch.process_group`.
        device: of this process.

    Attributes:
        step, total: steps done so far, and steps of the whole run.
        backbone: the encoder; its parameters are sharded if the recipe says so.
        heads: the loss of each head.

    Raises:
        ValueError, OSError: the recipe does not match the data, bank or weights; the message says how.
    """

    def __init__(self, recipe: TrainingRecipe, ranks: Ranks, device: torch.device) -> None:
        run, optimizer = recipe.run, recipe.optimizer
        if run.ranks is not None and run.ranks != ranks.world:
            raise ValueError(
                f"the recipe is for {run.ranks} ranks, but {ranks.world} are running: start {run.ranks}, or set "
                "run.ranks to null and adapt the learning rate to the new batch size"
            )
        self.recipe, self.ranks, self.device = recipe, ranks, device
        self.folder = Path(recipe.output.folder)
        self.accumulate = recipe.accumulate(ranks.world)
        self.total = recipe.steps(ranks.world)
        self.step = self.micro = 0
        self.config = recipe.model.resolved()
        self.half = run.precision == "bf16"
        self.mixture = make_mixture(recipe, self.config.patch_size, ranks)
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
            parameter_groups(
                self.backbone, optimizer.weight_decay, optimizer.layer_decay, self.config.num_hidden_layers
            ),
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
        self.skips = Skips(recipe.data.max_skipped, run.max_skipped_steps)
        self.peak = peak_flops(device, run.peak_tflops)
        self.meter = self._new_meter()
        self.journal = Journal(self.folder, -1, 0, self.total)
        self.checkpoints = checkpoint.Checkpoints(self.folder, recipe.output.keep, ranks, recipe.output.keep_every)

    def _new_meter(self) -> Meter:
        return Meter(self.config, self.ranks.world, self.peak, self.device)

    # One step

    def gradients(self, batches: Iterator[PackedBatch]) -> tuple[Tensor, dict[str, Tensor], list[Rows]]:
        """Computes the gradients of one step in place. Returns the loss, the loss of each head, and the losses of this
        rank's samples."""
        step = [self._next(batches) for _ in range(self.accumulate)]
        labels = {name: torch.stack([batch.labels[name] for batch in step]).to(self.device) for name in self.heads}
        total = torch.zeros((), device=self.device)
        parts = {name: torch.zeros((), device=self.device) for name in self.heads}
        rows = [Rows(batch) for batch in step]
        for number, batch in enumerate(step):
            # What a pass draws depends on its samples' place in the run, and not on what was drawn before.
            torch.manual_seed(seed_of(self.recipe.run.seed, 4, self.mixture.part(self.micro)))
            with synchronising(self.model, self.recipe.run, number == self.accumulate - 1):
                loss = self._loss(batch.to(self.device), labels, number, parts, rows[number])
                (loss / self.accumulate).backward()
            total += loss.detach() / self.accumulate
            self.micro += 1
        return total, {name: part / self.accumulate for name, part in parts.items()}, rows

    def _next(self, batches: Iterator[PackedBatch]) -> PackedBatch:
        """The next micro-batch; TrainingError for data that cannot be trained with."""
        begin = time.perf_counter()
        batch = next(batches)
        self.meter.waited += time.perf_counter() - begin
        if batch.error is not None:
            raise TrainingError(f"step {self.step}: {batch.error}")
        self.journal.skipped(self.step, batch.skipped)
        return batch

    def _loss(
        self, batch: PackedBatch, labels: dict[str, Tensor], micro: int, parts: dict[str, Tensor], rows: Rows
    ) -> Tensor:
        cast = self.half and self.recipe.run.parallel != "fsdp"
        with torch.autocast(self.device.type, torch.bfloat16, enabled=cast):
            out = self.model(batch.patches, batch.positions, batch.cu_seqlens, max_seqlen=self.longest)
        pooled = out.pooler_output
        total = pooled.new_zeros((), dtype=torch.float32)
        first = 0
        for name, head in self.heads.items():
            count = labels[name].shape[1]
            if count:
                out = head(pooled[first : first + count].float(), labels[name], self.step, micro)
                total = total + self.recipe.heads[name].loss_weight * out.loss
                parts[name] += out.loss.detach()
                rows.losses.append(out.rows)
            first += count
        return total

    def update(self, loss: Tensor, parts: dict[str, Tensor], rows: list[Rows]) -> dict[str, float]:
        """Updates the parameters with the current gradients. Returns the figures of the step.

        Steps with a loss or gradient that is not finite are skipped, up to run.max_skipped_steps times, and have no
        figures.

        Raises:
            TrainingError: too many steps or samples are skipped. Weights and checkpoints do not change.
        """
        optimizer = self.recipe.optimizer
        backbone, centres = list(self.backbone.parameters()), list(self.heads.parameters())
        norm = gradient_norm(backbone, centres, self.ranks)
        skipped = [sum(len(part.skipped) for part in rows), sum(len(part.names) for part in rows)]
        counts = self.ranks.sum_(torch.tensor(skipped, dtype=torch.float32, device=self.device))
        # The only wait for the device in a step.
        figures = torch.stack([*counts, loss, norm, *parts.values()]).tolist()
        if self.skips.add(int(figures[0]), int(figures[1])):
            self._too_many_skipped(rows)
        if not all(map(math.isfinite, figures)):
            self._not_finite(figures[2], figures[3], rows)
            self._forget_gradients()
            self.step += 1
            return {}
        rate = learning_rate(self.step, self.total, optimizer)
        for group in self.optimizer.param_groups:
            group["lr"] = optimizer.lr * rate * group["scale"]
        for group in self.centre_optimizer.param_groups:
            group["lr"] = optimizer.lr * optimizer.centre_lr * rate
        factor = clip_factor(norm, optimizer.clip_norm)
        for parameter in backbone:
            if parameter.grad is not None:
                grad = parameter.grad
                (grad.to_local() if isinstance(grad, DTensor) else grad).mul_(factor)
        self.optimizer.step()
        self.centre_optimizer.step(factor=factor)
        self._forget_gradients()
        if self.average is not None:
            self.average.update(self.backbone, self.step)
        self.step += 1
        named = {f"loss_{name}": value for name, value in zip(parts, figures[4:], strict=True)}
        return {"loss": figures[2], "grad_norm": figures[3], "lr": optimizer.lr * rate, **named}

    def _forget_gradients(self) -> None:
        self.optimizer.zero_grad(set_to_none=True)
        self.centre_optimizer.zero_grad(set_to_none=True)

    def _too_many_skipped(self, rows: list[Rows]) -> None:
        own = [f"{name}: {reason}" for part in rows for name, reason in part.skipped]
        texts = [text for text in self.ranks.texts(own[-1] if own else "", self.device) if text]
        self.checkpoints.wait()  # all ranks are here: what was begun before is written to the end
        raise TrainingError(
            f"step {self.step}: {self.skips.samples} of {self.skips.seen} samples could not be read, more than "
            f"data.max_skipped={self.recipe.data.max_skipped} allows; the last one is {texts[-1]}"
        )

    def _not_finite(self, loss: float, norm: float, rows: list[Rows]) -> None:
        bad = [name for part in rows for name in part.not_finite()]
        texts = self.ranks.texts(
            ", ".join(bad[:3]) + (f" and {len(bad) - 3} more" if len(bad) > 3 else ""), self.device
        )
        samples = "; ".join(text for text in texts if text)
        what = f"the loss is {loss}" if not math.isfinite(loss) else f"the norm of the gradients is {norm}"
        where = f", from the sample {samples}" if samples else ", though the loss of every sample is finite"
        if not self.skips.add_step():
            self.journal.warn(f"step {self.step}: {what}{where}. The step is skipped")
            return
        self.checkpoints.wait()  # all ranks are here: what was begun before is written to the end
        found = checkpoint.complete(self.folder)
        left = f"the last checkpoint is {found[-1].name}" if found else "there is no checkpoint yet"
        raise TrainingError(
            f"step {self.step}: {what}{where}. Nothing was updated, and {left}: check the sample, lower optimizer.lr, "
            f"or allow more than {self.skips.max_steps} such steps with run.max_skipped_steps"
        )

    # A whole run

    def run(self, resume: bool = True) -> dict[str, float]:
        """Trains to the end, from the newest complete checkpoint if there is one. Returns the last figures.

        After run.max_minutes, a checkpoint is written and training stops: `step` is less than `total`.

        Raises:
            TrainingError: as for `update`.
            FileExistsError: there are checkpoints, and `resume` is False.
            ValueError: all checkpoints are damaged, or they do not match the recipe.
            SystemExit: the process got SIGTERM; a checkpoint of this step is written first.
        """
        if checkpoint.complete(self.folder) and not resume:
            raise FileExistsError(f"{self.folder} already holds checkpoints: choose another output.folder, or resume")
        try:
            with Termination(self.recipe.run.max_minutes) as termination:
                return self._run(termination)
        finally:
            self.checkpoints.close()

    def _run(self, termination: Termination) -> dict[str, float]:
        found = self._newest()
        if found is not None:
            self.load(found)
        output = self.recipe.output
        self.journal = Journal(
            self.folder,
            self.ranks.rank,
            self.step,
            self.total,
            tensorboard=output.tensorboard,
            wandb=output.wandb,
            settings=self.recipe.model_dump(mode="json"),
        )
        trace = Profile(output.profile, self.folder / "profile" / f"rank-{self.ranks.rank}.json", self.device)
        try:
            return self._steps(termination, trace)
        finally:
            trace.close()
            self.journal.close()

    def _steps(self, termination: Termination, trace: Profile) -> dict[str, float]:
        """All steps that are left; the last figures."""
        output, data = self.recipe.output, self.recipe.data
        figures: dict[str, float] = {}
        if self.step >= self.total:
            return figures
        end = self.micro + (self.total - self.step) * self.accumulate
        batches = self.mixture.batches(end, data.workers, data.prefetch, pin_memory=self.device.type == "cuda")
        self.meter = self._new_meter()
        ending = Ending.NO
        while self.step < self.total and not ending:
            trace.begin(self.step + 1)
            loss, parts, rows = self.gradients(batches)
            self.meter.add(rows, self.update(loss, parts, rows))
            trace.end(self.step)
            self.journal.step()
            ending = termination.asked(self.ranks, self.device)
            if self.step % output.log_every == 0 or self.step == self.total or ending:
                means = self.meter.figures()
                figures |= means
                self.journal.log(self.step, {**means, **self.meter.mix, **self.skips.figures()})
                self.meter = self._new_meter()
            if self.step % output.checkpoint_every == 0 or self.step == self.total or ending:
                self.save()
            if not ending and self._evaluation_is_due():
                found = self.evaluate()
                figures |= found
                self.journal.log(self.step, found)
                self.meter = self._new_meter()
        self.checkpoints.wait()
        if ending == Ending.SIGNAL:
            raise SystemExit(128 + signal.SIGTERM)
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

    def evaluate(self) -> dict[str, float]:
        """Accuracies of the current backbone, with averaged weights if there are any; see `recipe.Evaluation`."""
        assert self.recipe.evaluation is not None
        workers = self.recipe.data.workers
        if self.average is None:
            return evaluate(self.backbone, self.recipe.evaluation, self.ranks, workers)
        with self.average.in_place(self.backbone):
            return evaluate(self.backbone, self.recipe.evaluation, self.ranks, workers)

    # State

    def tensors(self) -> dict[str, Tensor]:
        """All tensors of a checkpoint by name, as views."""
        found: dict[str, Tensor] = {}
        for name, parameter in self.backbone.named_parameters():
            found[f"backbone.{name}"] = parameter.detach()
            if parameter.requires_grad:
                state = self.optimizer.state[parameter]
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

    def save(self) -> None:
        """Starts to write a checkpoint of the current state."""
        state = {
            "step": self.step,
            "data": self.mixture.state_dict(self.micro),
            "skips": self.skips.state_dict(),
            "world": self.ranks.world,
            "weights": ["backbone"] if self.average is None else ["backbone", "average"],
            "config": self.config.to_dict(),
            "recipe": as_json(self.recipe),
        }
        self.checkpoints.save(self.step, self.tensors(), state)

    def load(self, path: Path) -> None:
        """Resumes from a checkpoint, of any number of ranks.

        Raises:
            ValueError: it is damaged, or belongs to another model or bank.
        """
        state = checkpoint.read_state(path)
        if OVEncoderConfig.from_dict(state["config"]) != self.config:
            raise ValueError(f"{path} belongs to another model than the recipe's: use a new output.folder")
        recipe = json.loads(state["recipe"])
        before = {"ranks": state["world"], "data.batch": recipe["data"]["batch"]}
        now = {"ranks": self.ranks.world, "data.batch": self.recipe.data.batch}
        whole = self.recipe.data.global_batch
        same = whole is not None and whole == recipe["data"].get("global_batch")
        if before != now and not same and not self.recipe.run.elastic:
            raise ValueError(
                f"{path} was written with {_listed(before)}, but this run has {_listed(now)}: use the same, allow "
                "others with run.elastic: true, or set data.global_batch from the first run on"
            )
        checkpoint.load_tensors(path, self.tensors(), self.ranks.background)
        self.mixture.load_state_dict(state["data"])
        self.step, self.micro = state["step"], self.mixture.micro
        self.skips.load_state_dict(state.get("skips", {}))


def _listed(values: Mapping[str, int]) -> str:
    return " and ".join(f"{name} {value}" for name, value in values.items())
