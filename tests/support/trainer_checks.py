"""What several ranks check of the training loop, for `support.workers`."""

from __future__ import annotations

import copy
import functools
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import allreduce_hook
from torch.distributed.tensor import DTensor
from torch.nn.parallel import DistributedDataParallel

from ove_codec.training import checkpoint
from ove_codec.training.evaluation import linear_probe, nearest_neighbours
from ove_codec.training.losses import ClusterLoss
from ove_codec.training.ranks import Ranks
from ove_codec.training.skips import TrainingError
from ove_codec.training.trainer import Trainer
from support import recipes, workers

CPU = torch.device("cpu")
# Some gradients are zero but for rounding, of the bias of keys for one, which AdamW would blow up to whole steps.
CALM = {"optimizer__eps": 1e-2}


def data_of(ranks: Ranks, folder: Path) -> Path:
    """One data set for all checks."""
    data = folder.parent / "data"
    if ranks.rank == 0 and not data.exists():
        recipes.make_data(data)
    ranks.barrier()
    return data


def train(ranks: Ranks, data: Path, out: Path, **changes: Any) -> Trainer:
    trainer = Trainer(recipes.recipe(data, out, **changes), ranks, CPU)
    trainer.run()
    return trainer


def state(trainer: Trainer) -> dict[str, Tensor]:
    return {name: (t.to_local() if isinstance(t, DTensor) else t).clone() for name, t in trainer.tensors().items()}


def bank(trainer: Trainer) -> ClusterLoss:
    head = trainer.heads["pictures"]
    assert isinstance(head, ClusterLoss)
    return head


def resume_exactly(ranks: Ranks, folder: Path) -> None:
    """A run that is stopped and begun anew ends with the very bits of one that is not."""
    data = data_of(ranks, folder)
    whole = state(train(ranks, data, folder / "whole", run__accumulate=2))
    stopped = Trainer(recipes.recipe(data, folder / "parts", run__accumulate=2), ranks, CPU)
    batches = stopped.mixture.batches(6)
    for _ in range(3):
        stopped.update(*stopped.gradients(batches))
    stopped.save()
    stopped.checkpoints.wait()
    resumed = train(ranks, data, folder / "parts", run__accumulate=2)
    assert resumed.step == 6
    for name, tensor in state(resumed).items():
        assert torch.equal(tensor, whole[name]), name


def one_reduction(ranks: Ranks, folder: Path) -> None:
    """Gradients of the backbone are reduced once a step, however many micro-batches it has."""
    data = data_of(ranks, folder)
    counts = {}
    for accumulate in (1, 4):
        trainer = Trainer(recipes.recipe(data, folder / str(accumulate), run__accumulate=accumulate), ranks, CPU)
        assert isinstance(trainer.model, DistributedDataParallel)
        calls: list[int] = []
        trainer.model.register_comm_hook(ranks.group, _counting(calls))
        batches = trainer.mixture.batches(3 * accumulate)
        for _ in range(3):
            trainer.update(*trainer.gradients(batches))
        counts[accumulate] = len(calls)
    assert counts[1] == counts[4] and counts[1] % 3 == 0 and counts[1] > 0, counts


def _counting(calls: list[int]) -> Any:
    """DDP's own reduction of a bucket of gradients, counted. DDP reads annotations, and wants none or its own."""

    def count(bucket: Any) -> Any:
        calls.append(bucket.index())
        return bucket

    return lambda group, bucket: allreduce_hook(group, count(bucket))


def like_one_rank(ranks: Ranks, folder: Path) -> None:
    """Several ranks make the updates that one makes with as many samples, accumulated or not."""
    data = data_of(ranks, folder)
    options = {"heads__pictures__sample_rate": 1.0, "optimizer__clip_norm": 0.5, **CALM}
    many = Trainer(recipes.recipe(data, folder / "many", data__batch=4, **options), ranks, CPU)
    one = Trainer(
        recipes.recipe(data, folder / f"one-{ranks.rank}", data__batch=4 * ranks.world, **options), workers.alone, CPU
    )
    for trainer in (many, one):
        batches = trainer.mixture.batches(3)
        for _ in range(3):
            trainer.update(*trainer.gradients(batches))
    for a, b in zip(many.backbone.parameters(), one.backbone.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)
    mine, whole = bank(many), bank(one)
    torch.testing.assert_close(mine.weight, whole.weight[mine.rows.start : mine.rows.stop], rtol=1e-4, atol=1e-5)


def fsdp_like_ddp(ranks: Ranks, folder: Path) -> None:
    """Sharded parameters make the same updates, and their checkpoint goes into unsharded ones."""
    data = data_of(ranks, folder)
    options: dict[str, Any] = {"run__accumulate": 2, "run__checkpoint_activations": True, "run__steps": 2, **CALM}
    plain = train(ranks, data, folder / "ddp", **options)
    sharded = train(ranks, data, folder / "fsdp", run__parallel="fsdp", **options)
    full = {name: p.full_tensor() for name, p in sharded.backbone.named_parameters() if isinstance(p, DTensor)}
    assert len(full) == len(list(plain.backbone.parameters()))
    for name, parameter in plain.backbone.named_parameters():
        torch.testing.assert_close(full[name], parameter.detach(), rtol=1e-4, atol=1e-5)
    ranks.barrier()
    again = Trainer(recipes.recipe(data, folder / "fsdp", **options), ranks, CPU)
    again.load(folder / "fsdp" / "step-00000002")
    for name, parameter in again.backbone.named_parameters():
        assert torch.equal(parameter.detach(), full[name]), name


def same_global_batch(ranks: Ranks, folder: Path) -> None:
    """A step has the same samples, draws and loss on any number of ranks; and a run goes on with another number."""
    data = data_of(ranks, folder)
    options: dict[str, Any] = {
        "data__batch": 4, "data__global_batch": 16, "heads__pictures__positives": 2, "heads__pictures__weight": 2.5,
        "heads__more": {**recipes.values(data, folder)["heads"]["pictures"], "sample_rate": 0.2}, "run__steps": 6,
        "heads__pictures__inputs": {"image": {"size": 64, "least": 0.3}, "ocr": {"budget": 12, "weight": 0.5}},
        "model__drop_path": 0.5, "optimizer__layer_decay": 0.7, "model__freeze": ["encoder.layers.0.*"], **CALM,
    }  # fmt: skip
    many = Trainer(recipes.recipe(data, folder / "many", **options), ranks, CPU)
    one = Trainer(recipes.recipe(data, folder / f"one-{ranks.rank}", **options), workers.alone, CPU)
    assert (many.accumulate, one.accumulate) == (4 // ranks.world, 4)
    losses = []
    for trainer in (many, one):
        batches = trainer.mixture.batches(5 * trainer.accumulate)
        losses.append([trainer.update(*trainer.gradients(batches))["loss"] for _ in range(4)])
    assert all(abs(a - b) <= 1e-6 * abs(b) for a, b in zip(*losses, strict=True)), losses
    many.save()
    many.checkpoints.wait()
    again = Trainer(recipes.recipe(data, folder / f"again-{ranks.rank}", **options), workers.alone, CPU)
    again.load(folder / "many" / "step-00000004")
    following = [
        trainer.update(*trainer.gradients(rest))["loss"]
        for trainer, rest in ((one, batches), (again, again.mixture.batches(5 * 4)))
    ]
    assert abs(following[0] - following[1]) <= 1e-6 * following[0], following


def whole_recipe(ranks: Ranks, folder: Path) -> None:
    """Sharded parameters, compiled blocks, recomputed activations and bfloat16 in one recipe, resumed."""
    data = data_of(ranks, folder)
    options: dict[str, Any] = {"run__accumulate": 2, "run__steps": 2, "run__precision": "bf16", **CALM}
    plain = Trainer(recipes.recipe(data, folder / "plain", **options), ranks, CPU).run()
    options |= {"run__parallel": "fsdp", "run__compile": True, "run__checkpoint_activations": True}
    first = Trainer(recipes.recipe(data, folder / "whole", **{**options, "run__max_minutes": 1e-9}), ranks, CPU)
    first.run()
    assert first.step == 1  # its time was over
    figures = train(ranks, data, folder / "whole", **options)
    assert figures.step == 2
    last = (folder / "whole" / "log.jsonl").read_text().splitlines()[-1]
    assert abs(json.loads(last)["loss"] - plain["loss"]) < 0.02 * plain["loss"], (last, plain)


def evaluation(ranks: Ranks, folder: Path) -> None:
    """Accuracies do not depend on how many ranks share the samples, nor on one that has fewer."""
    generator = torch.Generator().manual_seed(3)
    centres = torch.randn(5, 8, generator=generator)
    names = torch.randint(0, 5, (2, 51), generator=generator)
    train, test = centres[names] + 0.9 * torch.randn(2, 51, 8, generator=generator)
    size = -(-51 // ranks.world)
    own = slice(ranks.rank * size, (ranks.rank + 1) * size)
    part, labels = torch.zeros(size, 8), torch.full((size,), -1)
    part[: len(train[own])], labels[: len(train[own])] = train[own], names[0][own]
    measures: list[Any] = [functools.partial(nearest_neighbours, k=7, rows=10), linear_probe]
    for measure in measures:
        whole = measure(train, names[0], test, names[1])
        assert measure(part, labels, test, names[1], ranks=ranks) == whole
        assert 0.5 < whole < 0.95, whole


def skipped_samples(ranks: Ranks, folder: Path) -> None:
    """Samples that cannot be read are counted over all ranks, in checkpoints too, and end all ranks alike."""
    if ranks.rank == 0:
        recipes.make_broken_data(folder / "data")
    ranks.barrier()
    options: dict[str, Any] = {"data__batch": 1, "run__steps": 60, "output__checkpoint_every": 5}
    trainer = Trainer(recipes.recipe(folder / "data", folder / "run", **options, data__max_skipped=0.1), ranks, CPU)
    with pytest.raises(TrainingError, match=r"11 of .*data\.max_skipped=0\.1"):
        trainer.run()
    assert trainer.skips.samples == 11 and trainer.step > 5
    again = Trainer(recipes.recipe(folder / "data", folder / "run", **options, data__max_skipped=0.5), ranks, CPU)
    again.load(checkpoint.complete(folder / "run")[-1])
    assert 0 < again.skips.samples <= 11 and again.skips.seen == again.step * ranks.world


def make_checkpoint(ranks: Ranks, folder: Path) -> None:
    """Three steps on two ranks, for the checks below."""
    data = data_of(ranks, folder)
    trainer = train(ranks, data, folder, run__steps=3)
    if ranks.rank == 0:
        torch.save(trainer.mixture.state_dict(trainer.micro), folder / "position.pt")
    assert [p.name for p in sorted(folder.glob("step-*"))] == ["step-00000003"]


def reshard(ranks: Ranks, folder: Path) -> None:
    """The same checkpoint on any number of ranks: all tensors are there, and it goes on behind the consumed samples."""
    data = data_of(ranks, folder)
    source = folder.parent / "make_checkpoint_2"
    trainer = Trainer(recipes.recipe(data, folder, run__elastic=True), ranks, CPU)
    trainer.load(source / "step-00000003")
    reference = Trainer(recipes.recipe(data, folder / f"one-{ranks.rank}", run__elastic=True), workers.alone, CPU)
    reference.load(source / "step-00000003")
    whole = state(reference)
    for name, tensor in trainer.tensors().items():
        local, expected = tensor, whole[name]
        if isinstance(tensor, DTensor):
            rows = bank(trainer).rows
            local, expected = tensor.to_local(), expected[rows.start : rows.stop]
        assert torch.equal(local, expected), name
        assert local.abs().sum() > 0 or name.endswith("bias"), name
    consumed = {plan.position for r in range(ranks.world) for plan in _plan(trainer, r)}
    assert min(consumed) == 3 * 2 * 8 and len(consumed) == ranks.world * 8
    trainer.update(*trainer.gradients(trainer.mixture.batches(trainer.micro + 1)))


def _plan(trainer: Trainer, rank: int) -> list[Any]:
    mixture = copy.copy(trainer.mixture)
    mixture.rank = rank
    return mixture.plan(trainer.micro)


CHECKS = {
    "resume_exactly_2": (2, resume_exactly),
    "one_reduction_2": (2, one_reduction),
    "like_one_rank_4": (4, like_one_rank),
    "fsdp_like_ddp_2": (2, fsdp_like_ddp),
    "same_global_batch_2": (2, same_global_batch),
    "same_global_batch_4": (4, same_global_batch),
    "evaluation_2": (2, evaluation),
    "skipped_samples_2": (2, skipped_samples),
    "whole_recipe_2": (2, whole_recipe),
    "make_checkpoint_2": (2, make_checkpoint),
    "reshard_4": (4, reshard),
    "reshard_1": (1, reshard),
}
