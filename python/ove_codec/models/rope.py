"""Rotary positions in three axes: time slot, patch row, patch column."""

from __future__ import annotations

import torch
from torch import Tensor


def rope_angles(positions: Tensor, head_dim: int, theta: float, layout: str) -> Tensor:
    """Rotary angles (N, head_dim), float32, of positions (N, 3) = (t, h, w).

    Of head_dim/2 angles the first 4/16 belong to t, then 6/16 each to h and w: angle i of an axis with n is
    position * theta^(-i/n). "interleaved" gives both channels of a pair (2p, 2p+1) the angle p: a rotation. "legacy"
    repeats the whole row instead, so the two channels of a pair turn by different angles: not a rotation, but what the
    published weights were trained with. Computed at call time because a buffer would be rounded by `.to(bfloat16)`,
    and lost by loaders that build a model without memory.
    """
    shares = (head_dim // 8, 3 * head_dim // 16, 3 * head_dim // 16)
    axes = []
    for axis, n in enumerate(shares):
        frequencies = theta ** (-torch.arange(n, dtype=torch.float32, device=positions.device) / n)
        axes.append(positions[:, axis, None].float() * frequencies)
    angles = torch.cat(axes, dim=1)
    return angles.repeat(1, 2) if layout == "legacy" else angles.repeat_interleave(2, dim=1)


def rope_tables(positions: Tensor, head_dim: int, theta: float, layout: str) -> tuple[Tensor, Tensor]:
    """Cosines, and sines with the sign that `apply_rope` wants, of all angles: (N, 1, head_dim) each, float32."""
    angles = rope_angles(positions, head_dim, theta, layout)[:, None]
    sign = torch.ones(head_dim, device=angles.device)
    sign[0::2] = -1
    return angles.cos(), angles.sin() * sign


def apply_rope(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turns channel pairs (2p, 2p+1) of x (N, heads, head_dim): x * cos + (x with its pairs swapped) * sin.

    cos and sin are those of `rope_tables`; products and sums are float32 whatever the type of x.
    """
    swapped = x.unflatten(-1, (-1, 2)).flip(-1).flatten(-2)
    # One pass less over memory than the plain sum; the product that it adds to is nobody else's.
    return (x * cos).addcmul_(swapped, sin).to(x.dtype)
