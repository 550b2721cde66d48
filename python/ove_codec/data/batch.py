"""Samples of clips, and packed batches of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ove_codec.data.packed import Packed
from ove_codec.data.shards import DataError
from ove_codec.models.inputs import pack
from ove_codec.tokenizer import Tokens


class Place(NamedTuple):
    """Where a batch stands.

    Attributes:
        epoch: counted from 0.
        number: index of the batch within its rank and epoch.
    """

    epoch: int
    number: int


class BatchIndices(list[int]):
    """The indices of the clips of a batch, and the position of the batch."""

    place: Place | None = None


@dataclass(frozen=True)
class ClipSample:
    """The tokens of one clip.

    Attributes:
        name: what the clip is called.
        tokens: its patches and positions, one sequence.
        label: a number, or a list of numbers; None if there is none.
        row: its other columns in the table.
        place: of its batch, if a ``ClipSampler`` made that batch.
    """

    name: str
    tokens: Tokens
    label: Any = None
    row: dict[str, Any] = field(default_factory=dict)
    place: Place | None = None


@dataclass(frozen=True)
class SkippedClip:
    """A clip that could not be read.

    Attributes:
        name: what the clip is called.
        reason: the kind of error, and its message.
        place: as of a ``ClipSample``.
    """

    name: str
    reason: str
    place: Place | None = None


@dataclass(frozen=True, kw_only=True)
class ClipBatch(Packed):
    """Clips of one batch: `model(batch.patches, batch.positions, batch.cu_seqlens, max_seqlen=batch.max_seqlen)`.

    Skipped clips are not among the B clips. If all were skipped, there are no rows: `len(batch)` is 0, and the batch
    must not go to a model.

    Attributes:
        max_seqlen: tokens of the longest clip.
        labels: (B, ...) int64 or float32; None if no clip has one.
        rows: (B,) the other columns of each clip in its table.
        place: epoch and number of the batch, for ``state_dict``; None for batches of other samplers.
    """

    max_seqlen: int
    labels: Tensor | None = None
    rows: tuple[dict[str, Any], ...] = ()
    place: Place | None = None

    def __len__(self) -> int:
        """The number of clips."""
        return len(self.names)


def collate(samples: Sequence[ClipSample | SkippedClip]) -> ClipBatch:
    """One packed batch of samples, in their order; the `collate_fn` of a DataLoader.

    Raises:
        DataError: labels differ in kind or number; the message names the clip.
        ValueError: there are no samples, or patches differ in size.
    """
    if not samples:
        raise ValueError("there must be at least one sample")
    clips = [sample for sample in samples if isinstance(sample, ClipSample)]
    if clips:
        tokens = pack([clip.tokens for clip in clips])
    else:
        tokens = Tokens(torch.zeros(0, 0), torch.zeros(0, 3, dtype=torch.int64), torch.zeros(1, dtype=torch.int32))
    return ClipBatch(
        patches=tokens.patches,
        positions=tokens.positions,
        cu_seqlens=tokens.cu_seqlens,
        max_seqlen=max((len(clip.tokens) for clip in clips), default=0),
        labels=_labels(clips),
        names=tuple(clip.name for clip in clips),
        rows=tuple(clip.row for clip in clips),
        skipped=tuple((sample.name, sample.reason) for sample in samples if isinstance(sample, SkippedClip)),
        place=samples[0].place,
    )


def _labels(clips: Sequence[ClipSample]) -> Tensor | None:
    missing = [clip for clip in clips if clip.label is None]
    if len(missing) == len(clips):
        return None
    if missing:
        raise DataError(
            f"{missing[0].name} has no label, but other clips of the batch have: label every clip, or pass label=None"
        )
    arrays = [np.asarray(clip.label) for clip in clips]
    for clip, array in zip(clips, arrays, strict=True):
        if array.dtype.kind not in "biuf":
            raise DataError(
                f"the label of {clip.name} is {clip.label!r}, not a number: pass as label a function from the row to "
                "its number, such as names.index"
            )
        if array.shape != arrays[0].shape:
            raise DataError(
                f"the label of {clip.name}, {clip.label!r}, does not fit that of {clips[0].name}, {clips[0].label!r}: "
                "labels must all be single numbers, or lists of the same length"
            )
    stacked = np.stack(arrays)
    return torch.from_numpy(stacked.astype(np.float32 if stacked.dtype.kind == "f" else np.int64))
