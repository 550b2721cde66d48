"""Slow, obvious twin of the probes: one head at a time, from PyTorch's own modules."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn


class TwinMLP(nn.Module):
    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(hidden, 4 * hidden), nn.Linear(4 * hidden, hidden)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(nn.functional.gelu(self.fc1(x)))


class TwinPool(nn.Module):
    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.probe = nn.Parameter(torch.randn(1, 1, hidden))
        self.attention = nn.MultiheadAttention(hidden, max(1, hidden // 64), batch_first=True)
        self.norm = nn.RMSNorm(hidden)
        self.mlp = TwinMLP(hidden)

    def forward(self, tokens: Tensor) -> Tensor:
        x, _ = self.attention(self.probe, tokens, tokens, need_weights=False)
        return (x + self.mlp(self.norm(x)))[:, 0]


class TwinHead(nn.Module):
    """The probe's head as its formula says: attention over all tokens, residual MLP, LayerNorm, linear layer."""

    def __init__(self, hidden: int, classes: int) -> None:
        super().__init__()
        self.pool = TwinPool(hidden)
        self.norm = nn.LayerNorm(hidden, eps=1e-5)
        self.fc = nn.Linear(hidden, classes)

    def forward(self, clips: Sequence[Tensor]) -> Tensor:
        return self.fc(self.norm(torch.cat([self.pool(clip[None].float()) for clip in clips])))


def train_alone(
    head: TwinHead, clips: Sequence[Tensor], labels: Sequence[int], batches: Sequence[Sequence[int]], lr: float,
    weight_decay: float,
) -> None:  # fmt: skip
    """Trains in place over the batches of clip numbers, with PyTorch's optimiser and schedule."""
    optimizer = torch.optim.AdamW(head.parameters(), lr=lr, weight_decay=weight_decay)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 1e-7 / lr, total_iters=len(batches))
    loss_of = nn.CrossEntropyLoss(label_smoothing=0.1)
    for batch in batches:
        optimizer.zero_grad()
        loss = loss_of(head([clips[i] for i in batch]), torch.tensor([labels[i] for i in batch]))
        loss.backward()
        nn.utils.clip_grad_norm_(head.parameters(), 5.0)
        optimizer.step()
        schedule.step()


def clusters(
    classes: int, clips: int, hidden: int, seed: int, noise: float = 1.0, lengths: tuple[int, int] = (3, 9)
) -> tuple[list[Tensor], list[int]]:
    """Clips of several lengths; one token in each tells the class, the others are noise."""
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(99).normal(size=(classes, hidden)) * 2
    tokens, labels = [], []
    for number in range(clips):
        label = number % classes
        clip = rng.normal(size=(int(rng.integers(*lengths)), hidden)) * noise
        clip[rng.integers(len(clip))] += centres[label]
        tokens.append(torch.tensor(clip, dtype=torch.float32))
        labels.append(label)
    return tokens, labels
