"""Features that are computed as they are asked for, from clips read anew each time; nothing is kept on disk."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from functools import cached_property

import numpy as np
import numpy.typing as npt

from ove_codec.probes.base_backbones import Backbone, Clip
from ove_codec.probes.cache import FailedClip, about_input, digest_of
from ove_codec.probes.features import FeatureBatch, Job, padded
from ove_codec.probes.files import file_state
from ove_codec.probes.manifest import LabelledClip
from ove_codec.probes.reading import CodecRequest, FrameRequest, read_clip
from ove_codec.probes.workers import ahead, in_order

FRESH = 1 << 62
"""So many views that no clip is likely to be seen in the same one twice."""


class LiveFeatures:
    """Features of the clips of a manifest, computed for every batch; threads read clips ahead of the backbone.

    A clip that cannot be read is left out of its batch, and noted in `failures`, which is complete once all clips have
    been read.

    Args:
        samples: of a manifest.
        backbone: what makes the features.
        wanted: its input (`Backbone.input_for`).
        views: of every clip, as `FeatureCache` has them; `FRESH` for a new one whenever a view is drawn.
        workers: clips that are read at a time, each in a thread.
        clips_at_once: that go through the backbone together.

    Attributes:
        labels: (N,) of all clips.
        failures: why clips cannot be read, by their numbers; filled as they are met.
        hidden_size, views: of the features.
        key: tells backbone and input from others.
    """

    def __init__(
        self,
        samples: Sequence[LabelledClip],
        backbone: Backbone,
        wanted: FrameRequest | CodecRequest,
        *,
        views: int = FRESH,
        workers: int = 1,
        clips_at_once: int = 8,
    ) -> None:
        if workers < 1 or clips_at_once < 1:
            raise ValueError(f"workers and clips_at_once must be 1 or more, got {workers} and {clips_at_once}")
        if not 1 <= views <= FRESH:
            raise ValueError(f"views must be 1 or more, got {views}")
        if not samples:
            raise ValueError("samples hold no clips")
        self._listed = list(samples)
        self._backbone, self._wanted = backbone, wanted
        self._workers, self._clips_at_once = workers, clips_at_once
        self.views, self.hidden_size = views, backbone.hidden_size
        self.labels: npt.NDArray[np.int64] = np.array([sample.label for sample in samples], np.int64)
        self.failures: dict[int, str] = {}
        self.key = digest_of(about_input(backbone, wanted) | {"views": views})[:20]

    @property
    def samples(self) -> list[LabelledClip]:
        """The clips, without those that were found unreadable."""
        return [clip for number, clip in enumerate(self._listed) if number not in self.failures]

    @property
    def unreadable(self) -> list[FailedClip]:
        """Those that were found unreadable."""
        clips = ((self._listed[number], error) for number, error in sorted(self.failures.items()))
        return [FailedClip(clip.name, clip.line, error) for clip, error in clips]

    @cached_property
    def fingerprint(self) -> str:
        files = [[clip.key, *file_state(clip.path)] for clip in self._listed]
        labels = hashlib.sha256(np.ascontiguousarray(self.labels, "<i8").data).hexdigest()
        return digest_of([self.key, files, labels])

    def batch(self, indices: Sequence[int], views: Sequence[int] | None = None) -> FeatureBatch:
        """See `FeatureSet.batch`; without the clips that cannot be read. Raises ValueError where there is no other."""
        found = next(self.stream([(indices, views)]))
        if found is None:
            raise ValueError(f"none of the {len(indices)} clips can be read: {self.failures[indices[0]]}")
        return found

    def stream(self, jobs: Iterable[Job]) -> Iterator[FeatureBatch | None]:
        """See `features.stream`. Clips of the next batches are read while one is in the backbone or at work."""
        listed = list(jobs)
        clips = (clip for numbers, views in listed for clip in zip(numbers, views or itertools.repeat(0), strict=False))
        longest = max((len(numbers) for numbers, _ in listed), default=0)
        with closing(in_order(self._read, clips, self._workers, self._workers + longest)) as read:

            def make(job: Job) -> FeatureBatch | None:
                return self._encoded(job[0], list(itertools.islice(read, len(job[0]))))

            with closing(ahead(make, listed)) as made:
                yield from made

    def _read(self, clip: tuple[int, int]) -> Clip | str:
        return read_clip(self._listed[clip[0]], self._wanted, clip[1])

    def _encoded(self, numbers: Sequence[int], clips: Sequence[Clip | str]) -> FeatureBatch | None:
        self.failures.update((n, clip) for n, clip in zip(numbers, clips, strict=True) if isinstance(clip, str))
        readable = [(n, clip) for n, clip in zip(numbers, clips, strict=True) if not isinstance(clip, str)]
        if not readable:
            return None
        features = []
        for start in range(0, len(readable), self._clips_at_once):
            features += self._backbone.encode([clip for _, clip in readable[start : start + self._clips_at_once]])
        return padded(features, self.labels[[n for n, _ in readable]])
