"""transformers' `Trainer` for a model of parts: which are trained, at what rates, and what could not be read."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import Trainer, TrainingArguments

from ove_codec.lmm.data import Collator, LlavaDataset, Unreadable
from ove_codec.lmm.model import PARTS, LMMForConditionalGeneration
from ove_codec.lmm.processor import LMMProcessor
from ove_codec.lmm.samples import LMMSample


def set_trainable(model: LMMForConditionalGeneration, parts: Sequence[str]) -> None:
    """Trains these of "vision_tower", "projector" and "language_model", and freezes the others.

    Raises ValueError for a name that is no part, or none at all.
    """
    if unknown := sorted(set(parts) - set(PARTS)):
        raise ValueError(f"train must name parts of {', '.join(PARTS)}, not {', '.join(unknown)}")
    if not parts:
        raise ValueError(f"train must name one or more of {', '.join(PARTS)}")
    for name in PARTS:
        model.get_submodule(name).requires_grad_(name in parts)


class LMMTrainer(Trainer):
    """`Trainer` with a learning rate for each part, and a list of the samples that could not be read.

    Args:
        model, args, processor, train_dataset: what is trained, how, and on what.
        learning_rates: by part; `args.learning_rate` for the others. The schedule scales all of them alike.
        max_unreadable: share of the data set; more unreadable samples than that stop the training.
        packed: put the samples of a batch into one row without padding, see `LMMProcessor.collate`.
        **kwargs: further arguments of `Trainer`.

    Attributes:
        unreadable: the samples that this process could not read so far, each once.
    """

    def __init__(
        self,
        model: LMMForConditionalGeneration,
        args: TrainingArguments,
        processor: LMMProcessor,
        train_dataset: LlavaDataset | Sequence[LMMSample | Unreadable] | None = None,
        *,
        learning_rates: Mapping[str, float] | None = None,
        max_unreadable: float = 0.05,
        packed: bool = False,
        **kwargs: Any,
    ) -> None:
        self.learning_rates = dict(learning_rates or {})
        if unknown := sorted(set(self.learning_rates) - set(PARTS)):
            raise ValueError(f"learning_rates must be for the parts {', '.join(PARTS)}, not {', '.join(unknown)}")
        self.max_unreadable = max_unreadable
        self.unreadable: dict[tuple[str, int], Unreadable] = {}
        if args.n_gpu > 1:
            raise ValueError(
                f"one process cannot train on {args.n_gpu} GPUs, because packed patches are not split by sample: start "
                "it with torchrun or accelerate launch, or set CUDA_VISIBLE_DEVICES to one GPU"
            )
        args.remove_unused_columns = False  # a column of the batch is not an argument of forward
        super().__init__(
            model=model,
            args=args,
            train_dataset=train_dataset,
            data_collator=Collator(processor, packed),
            processing_class=processor,
            **kwargs,
        )

    def create_optimizer(self, *args: Any, **kwargs: Any) -> torch.optim.Optimizer:
        """Trainer's optimizer, its parameter groups split by part."""
        made = self.optimizer is None
        optimizer: torch.optim.Optimizer = super().create_optimizer(*args, **kwargs)
        if made and self.learning_rates:
            part_of = {
                id(parameter): name for name in PARTS for parameter in self.model.get_submodule(name).parameters()
            }
            groups = []
            for group in optimizer.param_groups:
                for part in PARTS:
                    members = [p for p in group["params"] if part_of.get(id(p)) == part]
                    if members:
                        rate = self.learning_rates.get(part, group["lr"])
                        groups.append({**group, "params": members, "lr": rate})
            if sum(len(g["params"]) for g in groups) != sum(len(g["params"]) for g in optimizer.param_groups):
                raise ValueError("learning_rates cannot be used when the parameters are sharded or flattened (FSDP)")
            optimizer.param_groups[:] = groups
        return optimizer

    def _prepare_inputs(self, inputs: dict[str, Any]) -> dict[str, Any]:
        for sample in inputs.pop("unreadable", ()):
            self.unreadable.setdefault((sample.file, sample.line), sample)
        allowed = self.max_unreadable * len(self.train_dataset) if self.train_dataset is not None else float("inf")
        if len(self.unreadable) > allowed:
            first = next(iter(self.unreadable.values()))
            raise RuntimeError(
                f"{len(self.unreadable)} of {len(self.train_dataset)} samples cannot be read, more than the "
                f"max_unreadable share of {self.max_unreadable}; the first is {first.file}, line {first.line}: "
                f"{first.reason}"
            )
        prepared: dict[str, Any] = super()._prepare_inputs(inputs)
        return prepared

    def log(self, logs: dict[str, float], *args: Any, **kwargs: Any) -> None:
        """Logs, with the number of unreadable samples where there are any."""
        if self.unreadable:
            logs = {**logs, "unreadable": len(self.unreadable)}
        super().log(logs, *args, **kwargs)

    def write_unreadable(self, directory: str | Path, *, resumed: bool = False) -> Path | None:
        """Lists the samples that this process could not read in `unreadable-RANK.jsonl`; None where there are none.

        Where a run was `resumed`, those that the file lists already stay in it.
        """
        file = Path(directory) / f"unreadable-{self.args.process_index}.jsonl"
        if resumed and file.is_file():
            for line in file.read_text(encoding="utf-8").splitlines():
                sample = Unreadable(**json.loads(line))
                self.unreadable.setdefault((sample.file, sample.line), sample)
        if not self.unreadable:
            return None
        lines = [json.dumps(sample.to_dict(), ensure_ascii=False) for sample in self.unreadable.values()]
        file.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return file
