"""What is trained: the data, the backbone, alone or over ranks, the heads, and the state of their optimiser."""

from __future__ import annotations

import fnmatch
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import torch
from torch import nn
from torch.distributed.device_mesh import DeviceMesh
from torch.nn.parallel import DistributedDataParallel

from ove_codec.data import HeadData, Mixture
from ove_codec.models import OVEncoder, OVEncoderConfig
from ove_codec.training.centre_file import load_centres
from ove_codec.training.losses import ClusterLoss
from ove_codec.training.ranks import Ranks
from ove_codec.training.recipe import Head, Run, TrainingRecipe

STATES = ("exp_avg", "exp_avg_sq")


def make_mixture(recipe: TrainingRecipe, patch_size: int, ranks: Ranks) -> Mixture:
    """The micro-batches of this rank."""
    heads = {
        name: HeadData(tuple(head.shards), head.centres, head.max_labels, recipe.share(name), head.inputs)
        for name, head in recipe.heads.items()
    }
    return Mixture(
        heads,
        patch_size,
        rank=ranks.rank,
        world=ranks.world,
        accumulate=recipe.accumulate(ranks.world),
        seed=recipe.run.seed,
        window=recipe.data.window,
        dtype=torch.bfloat16 if recipe.run.precision == "bf16" else torch.float32,
    )


def make_backbone(recipe: TrainingRecipe, config: OVEncoderConfig, device: torch.device) -> OVEncoder:
    """The encoder in training mode, its weights float32."""
    backbone = OVEncoder(config)
    if recipe.model.weights is not None:
        loaded = OVEncoder.from_pretrained(recipe.model.weights, dtype=torch.float32)
        backbone.load_state_dict(loaded.state_dict())
    if recipe.run.checkpoint_activations:
        backbone.gradient_checkpointing_enable()
    freeze(backbone, recipe.model.freeze)
    backbone.encoder.drop_path = recipe.model.drop_path
    return backbone.train().to(device)


def freeze(backbone: nn.Module, patterns: list[str]) -> None:
    """Takes parameters whose names fit a pattern from what is trained.

    Raises:
        ValueError: no name fits a pattern, or nothing is left.
    """
    parameters = dict(backbone.named_parameters())
    for pattern in patterns:
        names = fnmatch.filter(parameters, pattern)
        if not names:
            parts = ", ".join(dict.fromkeys(name.partition(".")[0] + ".*" for name in parameters))
            raise ValueError(f"model.freeze: no parameter matches {pattern!r}; choose from {parts}")
        for name in names:
            parameters[name].requires_grad_(False)
    if not any(parameter.requires_grad for parameter in parameters.values()):
        raise ValueError("model.freeze leaves nothing to train: remove a pattern")


def make_head(run: Run, number: int, head: Head, width: int, ranks: Ranks, device: torch.device) -> ClusterLoss:
    """The loss of head `number` on features of `width` channels, with this rank's centres."""
    loss = ClusterLoss(
        head.centres,
        width,
        mode=head.mode,
        sample_rate=head.sample_rate,
        scale=head.scale,
        margin=head.margin,
        filter=head.filter,
        positives=head.positives,
        compute_dtype=torch.bfloat16 if run.precision == "bf16" else torch.float32,
        seed=run.seed * 1000 + number,
        ranks=ranks,
        device=device,
    )
    if head.init is not None:
        centres = load_centres(Path(head.init), loss.rows, (head.centres, width))
        with torch.no_grad():
            loss.weight.copy_(torch.from_numpy(centres))
    return loss


def over_ranks(backbone: OVEncoder, run: Run, ranks: Ranks, mesh: DeviceMesh, device: torch.device) -> nn.Module:
    """The backbone as it is called: its blocks compiled, and with its gradients averaged over ranks."""
    if run.compile:
        for block in backbone.encoder.layers:  # one graph serves them all, and weights are gathered outside of it
            block.compile()
    if run.parallel == "fsdp":
        from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard

        half = torch.bfloat16 if run.precision == "bf16" else None
        # Of what a block is given only the tokens are in half precision; cosines and sines of positions are not.
        inner = MixedPrecisionPolicy(param_dtype=half, reduce_dtype=torch.float32, cast_forward_inputs=False)
        for block in backbone.encoder.layers:
            fully_shard(block, mesh=mesh, mp_policy=inner)
        outer = MixedPrecisionPolicy(param_dtype=half, reduce_dtype=torch.float32, output_dtype=torch.float32)
        fully_shard(backbone, mesh=mesh, mp_policy=outer)
        return backbone
    if ranks.world == 1:
        return backbone
    devices = [device.index] if device.type == "cuda" else None
    return DistributedDataParallel(
        backbone, device_ids=devices, process_group=ranks.group, gradient_as_bucket_view=True
    )


def synchronising(model: nn.Module, run: Run, last: bool) -> AbstractContextManager[None]:
    """Forward and backward pass of all micro-batches but the last send nothing over the network."""
    if isinstance(model, DistributedDataParallel):
        return nullcontext() if last else model.no_sync()
    if run.parallel == "fsdp":
        from torch.distributed.fsdp import FSDPModule

        assert isinstance(model, FSDPModule)
        model.set_requires_gradient_sync(last)
    return nullcontext()


def make_states(optimizer: torch.optim.Optimizer, backbone: nn.Module, device: torch.device) -> None:
    """AdamW's moments before the first step, so that a checkpoint finds where to go."""
    fused = device.type == "cuda"
    for parameter in filter(lambda p: p.requires_grad, backbone.parameters()):
        optimizer.state[parameter] = {
            "step": torch.zeros((), device=device if fused else "cpu"),
            **{name: torch.zeros_like(parameter) for name in STATES},
        }
