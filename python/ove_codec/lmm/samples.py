"""Conversations as tokens, and their batches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ove_codec.lmm.vision import VisionTokens

IGNORED = -100  # label of a token that is no target


@dataclass(frozen=True)
class LMMSample:
    """One conversation, ready for a batch. A label is the token itself, or -100 if it is not a target."""

    input_ids: list[int]
    labels: list[int]
    vision: list[VisionTokens]


def one_row(samples: Sequence[LMMSample]) -> dict[str, Tensor]:
    """All samples in one row (1, L): `input_ids`, `labels`, and `position_ids` that restart with each sample."""
    return {
        "input_ids": torch.tensor([[token for s in samples for token in s.input_ids]]),
        "position_ids": torch.cat([torch.arange(len(s.input_ids)) for s in samples])[None],
        # The first token of a sample is no target of the one before it.
        "labels": torch.tensor([[x for s in samples for x in (IGNORED, *s.labels[1:])]]),
    }


def padded_rows(
    samples: Sequence[LMMSample], padding_side: str, length: int | None, pad_token_id: int
) -> dict[str, Tensor]:
    """A row for each sample (B, L): `input_ids`, `attention_mask`, `labels`. L is `length`, or that of the longest."""
    size = length or max(len(s.input_ids) for s in samples)

    def padded(rows: list[list[int]], value: int) -> Tensor:
        fill = [[value] * (size - len(row)) for row in rows]
        pairs = zip(rows, fill, strict=True)
        return torch.tensor([f + row if padding_side == "left" else row + f for row, f in pairs])

    return {
        "input_ids": padded([s.input_ids for s in samples], pad_token_id),
        "attention_mask": padded([[1] * len(s.input_ids) for s in samples], 0),
        "labels": padded([s.labels for s in samples], IGNORED),
    }
