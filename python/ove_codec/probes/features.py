"""Features of clips as the probes read them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ove_codec.probes.workers import ahead

Job = tuple[Sequence[int], Sequence[int] | None]
"""Numbers of clips, and their views (0, the plain one, where None)."""


class FeatureBatch(NamedTuple):
    """Features of some clips.

    Attributes:
        tokens: (B, L, hidden), zero beyond a clip's own tokens.
        lengths: (B,) int64, tokens of each clip.
        labels: (B,) int64.
    """

    tokens: Tensor
    lengths: Tensor
    labels: Tensor


class FeatureSet(Protocol):
    """Clips with features and labels, in memory or on disk."""

    @property
    def labels(self) -> npt.NDArray[np.int64]:
        """(N,) class of every clip."""

    @property
    def hidden_size(self) -> int:
        """Channels of the features."""

    @property
    def views(self) -> int:
        """Views of every clip that there are; 1 for the plain one only."""

    @property
    def fingerprint(self) -> str:
        """Tells these features and labels from others."""

    def batch(self, indices: Sequence[int], views: Sequence[int] | None = None) -> FeatureBatch:
        """The clips of these numbers, each in the view named (0, the plain one, where None)."""


def stream(features: FeatureSet, jobs: Iterable[Job]) -> Iterator[FeatureBatch | None]:
    """The batches of these jobs in their order, made ahead of what the caller does with them.

    None for a job without clips, or of which no clip can be read. A set with a method `stream` has its own way.
    """
    own: Callable[[Iterable[Job]], Iterator[FeatureBatch | None]] | None = getattr(features, "stream", None)
    if own is not None:
        return own(jobs)
    return ahead(lambda job: features.batch(*job) if len(job[0]) else None, jobs)


class TensorFeatures:
    """Features in memory.

    Args:
        tokens: a (L, hidden) floating-point tensor for every clip, or (N, L, hidden) for clips of one length.
        labels: (N,) integers.
    """

    views = 1

    def __init__(self, tokens: Sequence[Tensor] | Tensor, labels: Sequence[int] | Tensor | npt.NDArray[np.integer]):
        self.labels: npt.NDArray[np.int64] = np.asarray(labels, np.int64)
        self._tokens = list(tokens)
        if not self._tokens or self.labels.shape != (len(self._tokens),):
            raise ValueError(f"there must be as many tokens as labels, got {len(self._tokens)} and {self.labels.shape}")
        self.hidden_size = int(self._tokens[0].shape[-1])
        for number, clip in enumerate(self._tokens):
            if clip.ndim != 2 or clip.shape[1] != self.hidden_size or len(clip) == 0 or not clip.is_floating_point():
                raise ValueError(
                    f"tokens[{number}] must be (L, {self.hidden_size}) floating point with L > 0, "
                    f"got {clip.dtype} {tuple(clip.shape)}"
                )

    @cached_property
    def fingerprint(self) -> str:
        digest = hashlib.sha256(np.ascontiguousarray(self.labels, "<i8").data)
        for clip in self._tokens:
            digest.update(repr((clip.dtype, tuple(clip.shape))).encode())
            digest.update(clip.detach().cpu().contiguous().view(torch.uint8).numpy().data)
        return digest.hexdigest()

    def batch(self, indices: Sequence[int], views: Sequence[int] | None = None) -> FeatureBatch:
        if views is not None and any(views):
            raise IndexError("features in memory have a single view of every clip, number 0")
        return padded([self._tokens[i] for i in indices], self.labels[list(indices)])


def padded(clips: Sequence[Tensor], labels: npt.NDArray[np.int64]) -> FeatureBatch:
    """One batch of clips (L, hidden) of different lengths."""
    tokens = torch.nn.utils.rnn.pad_sequence(list(clips), batch_first=True)
    return FeatureBatch(tokens, torch.tensor([len(clip) for clip in clips]), torch.from_numpy(labels.copy()))
