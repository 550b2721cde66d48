"""The processes of a run: as torchrun started them, or one alone."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.distributed as dist

from ove_codec.training.ranks import Ranks


def choose_device(name: str) -> torch.device:
    """The device of this process: its own GPU where there are some ("auto") or must be ("cuda"), or the CPU.

    Raises:
        ValueError: there is no GPU for it.
    """
    local = int(os.environ.get("LOCAL_RANK", "0"))
    if name == "cpu" or (name == "auto" and not torch.cuda.is_available()):
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise ValueError("device cuda was requested, but PyTorch finds no GPU: set device to cpu")
    if local >= torch.cuda.device_count():
        raise ValueError(
            f"process {local} of this machine has no GPU, as there are {torch.cuda.device_count()}: start fewer "
            f"(torchrun --nproc-per-node)"
        )
    torch.cuda.set_device(local)
    return torch.device("cuda", local)


@contextmanager
def process_group(device: torch.device) -> Iterator[Ranks]:
    """The default group: of all processes under torchrun, else of this one (over no network)."""
    backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
    if "RANK" in os.environ and "WORLD_SIZE" in os.environ:
        dist.init_process_group(backend)
    else:
        dist.init_process_group(backend, store=dist.HashStore(), rank=0, world_size=1)
    try:
        yield Ranks(dist.get_rank(), dist.get_world_size(), None, dist.new_group(backend="gloo"))
    finally:
        dist.destroy_process_group()
