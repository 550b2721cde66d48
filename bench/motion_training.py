"""A small encoder trained from scratch on the tokens of one method."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from typing import Any

import motion_clips
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ove_codec.models import OVEncoder, OVEncoderConfig

EVAL_BATCH = 256


@dataclasses.dataclass(frozen=True)
class Training:
    hidden: int
    layers: int
    heads: int
    epochs: int
    batch: int
    learning_rate: float
    weight_decay: float = 0.05
    warmup: float = 0.1  # of all steps
    rope_theta: float = 10000.0


@dataclasses.dataclass
class TokenSet:
    """patches (clips, budget, 3*p*p), positions (clips, budget, 3), labels (clips,)."""

    patches: Tensor
    positions: Tensor
    labels: Tensor

    def to(self, device: str) -> TokenSet:
        return TokenSet(*(getattr(self, field.name).to(device) for field in dataclasses.fields(self)))


class Classifier(nn.Module):
    """The encoder with its pooling head, and a linear layer for the classes."""

    def __init__(self, training: Training, patch_size: int) -> None:
        super().__init__()
        config = OVEncoderConfig(
            hidden_size=training.hidden,
            intermediate_size=2 * training.hidden,
            num_hidden_layers=training.layers,
            num_attention_heads=training.heads,
            patch_size=patch_size,
            use_head=True,
            initializer_range=training.hidden**-0.5,
            rope_theta=training.rope_theta,
        )
        self.encoder = OVEncoder(config)
        self.classes = nn.Linear(training.hidden, len(motion_clips.CLASSES))

    def forward(self, patches: Tensor, positions: Tensor) -> Tensor:
        count, length = patches.shape[:2]
        bounds = torch.arange(0, (count + 1) * length, length)
        pooled = self.encoder(patches.flatten(0, 1), positions.flatten(0, 1), bounds).pooler_output
        return self.classes(pooled)


def mirrored(patches: Tensor, positions: Tensor, labels: Tensor, side: int, patch: int, kind: int) -> TokenSet:
    """The clips mirrored in x (bit 0 of `kind`), mirrored in y (bit 1), with x and y exchanged (bit 2)."""
    pixels = patches.unflatten(-1, (-1, patch, patch))
    t, h, w = positions.unbind(-1)
    last = side // patch - 1
    for bit, axes, table in (
        (1, (-1,), motion_clips.MIRRORED_X),
        (2, (-2,), motion_clips.MIRRORED_Y),
        (4, (), motion_clips.TRANSPOSED),
    ):
        if not kind & bit:
            continue
        labels = torch.tensor(table, device=labels.device)[labels]
        pixels = pixels.flip(axes) if axes else pixels.transpose(-1, -2)
        h, w = {1: (h, last - w), 2: (last - h, w), 4: (w, h)}[bit]
    return TokenSet(pixels.flatten(-3), torch.stack([t, h, w], -1), labels)


def _batches(tokens: TokenSet, size: int, generator: torch.Generator) -> Iterator[Tensor]:
    order = torch.randperm(len(tokens.labels), generator=generator)
    for begin in range(0, len(order) - size + 1, size):
        yield order[begin : begin + size].to(tokens.labels.device)


def train(
    train_set: TokenSet, test_set: TokenSet, training: Training, size: int, patch: int, seed: int, device: str
) -> dict[str, Any]:
    """Trains for a fixed number of epochs; returns the predictions for the test set after the last one, and losses.

    Every batch is mirrored in one of eight ways, its classes likewise. `seed` decides weights, order and mirrors.
    """
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    model = Classifier(training, patch).to(device)
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=training.learning_rate, weight_decay=training.weight_decay, betas=(0.9, 0.98)
    )
    steps = training.epochs * (len(train_set.labels) // training.batch)
    warmup = max(1, int(training.warmup * steps))

    def rate(step: int) -> float:
        if step < warmup:
            return (step + 1) / warmup
        return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))

    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, rate)
    train_set, test_set = train_set.to(device), test_set.to(device)
    losses = []
    model.train()
    for _ in range(training.epochs):
        total, count = torch.zeros((), device=device), 0
        for rows in _batches(train_set, training.batch, generator):
            kind = int(torch.randint(8, (), generator=generator))
            batch = mirrored(
                train_set.patches[rows].float(), train_set.positions[rows], train_set.labels[rows], size, patch, kind
            )
            loss = F.cross_entropy(model(batch.patches, batch.positions), batch.labels, label_smoothing=0.05)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            total += loss.detach()
            count += 1
        losses.append(float(total / max(1, count)))
    return {"predicted": predict(model, test_set), "losses": losses}


@torch.inference_mode()
def predict(model: Classifier, tokens: TokenSet) -> list[int]:
    model.eval()
    found = [
        model(tokens.patches[i : i + EVAL_BATCH].float(), tokens.positions[i : i + EVAL_BATCH]).argmax(1)
        for i in range(0, len(tokens.labels), EVAL_BATCH)
    ]
    return [int(label) for label in torch.cat(found)]
