"""One process of a stage of training that is sharded by FSDP2: `python -m support.fsdp_stage RANK WORLD PORT FOLDER`.

accelerate shards on GPUs only. What it decides by are a kind of launch and devices; here processes on the CPU pass as
such, which PyTorch shards as well.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any


def stage(folder: Path, **arguments: Any) -> dict[str, Any]:
    """A stage of four steps of four samples in all."""
    given = {
        "use_cpu": True, "max_steps": 4, "save_steps": 2, "learning_rate": 1e-2, "lr_scheduler_type": "constant",
        "logging_steps": 1, "disable_tqdm": True, "optim": "sgd", "max_grad_norm": 0.0, **arguments,
    }  # fmt: skip
    parts = ["vision_tower", "projector", "language_model"]
    rates = {"vision_tower": 1e-3}
    return {
        "name": "full",
        "data": str(folder / "data.jsonl"),
        "train": parts,
        "learning_rates": rates,
        "arguments": given,
    }


def pass_as_gpus() -> None:
    import accelerate
    from accelerate.state import AcceleratorState, PartialState
    from accelerate.utils import DistributedType

    begin, gather = AcceleratorState.__init__, accelerate.Accelerator.get_state_dict

    def init(self: Any, *args: Any, **options: Any) -> None:
        PartialState(cpu=True)
        PartialState._shared_state["distributed_type"] = DistributedType.MULTI_GPU
        begin(self, *args, **options)

    def whole(self: Any, *args: Any, **options: Any) -> dict[str, Any]:
        # What is moved to the CPU from a GPU is whole there; what was there before may still be a DTensor.
        found = gather(self, *args, **options).items()
        return {name: (t.full_tensor() if hasattr(t, "full_tensor") else t).clone() for name, t in found}

    AcceleratorState.__init__ = init
    accelerate.Accelerator.get_state_dict = whole


def main() -> None:
    rank, world, port, folder = sys.argv[1], sys.argv[2], sys.argv[3], Path(sys.argv[4])
    os.environ |= {
        "RANK": rank,
        "LOCAL_RANK": rank,
        "WORLD_SIZE": world,
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": port,
    }
    import torch
    from torch.distributed.fsdp import FSDPModule
    from torch.distributed.tensor import DTensor

    from ove_codec.lmm import train
    from support import lmm as tiny

    torch.set_num_threads(1)
    pass_as_gpus()
    config = {"version": 2, "state_dict_type": "FULL_STATE_DICT", "activation_checkpointing": True}
    model = tiny.model()
    options = stage(folder, per_device_train_batch_size=2, fsdp=True, fsdp_config=config)
    trainer = train.run_stage(model, tiny.processor(model.config), options, folder / "out")
    assert all(isinstance(parameter, DTensor) for parameter in trainer.model.parameters())
    facts = {
        "losses": [entry["loss"] for entry in trainer.state.log_history if "loss" in entry],
        "sharded": sorted({type(m).__mro__[2].__name__ for m in trainer.model.modules() if isinstance(m, FSDPModule)}),
    }
    (folder / f"facts-{rank}.json").write_text(json.dumps(facts))


if __name__ == "__main__":
    main()
