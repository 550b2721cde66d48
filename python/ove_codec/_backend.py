"""Where the work on a clip is done: the CPU, or a GPU. What is done, and in which order, is the same on both."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from ove_codec import _core, cuda
from ove_codec._jobs import numbered
from ove_codec._reading import Pictures, Places, Ranked, Reads, Scored, read_pictures, scorer_for

if TYPE_CHECKING:
    import torch


@runtime_checkable
class Backend(Protocol):
    """A device, and the stream that its work is queued on.

    Arrays are NumPy's on the CPU, tensors on a GPU.
    """

    is_cpu: bool
    decoders: tuple[str, ...]  # of pixels

    def on(self, *, behind_caller: bool = False) -> AbstractContextManager[None]:
        """Makes the device and stream current; they first wait for the caller's stream with `behind_caller`."""

    def current(self) -> Backend:
        """The same device, on whichever stream is current."""

    def workers(self, count: int) -> Sequence[Backend]:
        """Backends on this device, each of which one thread may use meanwhile."""

    def pictures(self, pictures: Iterator[Any]) -> Iterator[Any]:
        """The pictures with their arrays on this device."""

    def score(self, pictures: Pictures, reads: Reads, count: int, params: dict[str, Any]) -> Scored:
        """Scores of `count` sampled pictures; 0 for those that `reads` lack."""

    def heats(
        self,
        pictures: Pictures,
        reads: Reads,
        params: dict[str, Any],
        scorer: _core.Scorer,
        scales: Any,
    ) -> Iterator[Any]:
        """The heat of each slot of `reads` on its canvas, with these scales of the clip or None. `scorer` is of
        `params` and the geometry."""

    def rank(
        self, clips: Sequence[tuple[Scored, npt.NDArray[np.bool_]]], params: dict[str, Any], *, fetch: bool
    ) -> list[Ranked]:
        """What is kept of clips, each scored and with flags of the pictures that are kept whole; with `fetch` the
        positions are known on the CPU too."""

    def patches(self, clips: Sequence[Places], decoder: str, dtype: torch.dtype) -> torch.Tensor:
        """Rows of the patches of all clips, one clip after the other."""

    def tensor(self, array: npt.NDArray[Any]) -> torch.Tensor:
        """The array in a tensor on this device."""

    def record(self) -> Any:
        """An event behind what is queued."""

    def wait(self, event: Any, tensors: Sequence[Any]) -> None:
        """Queues what comes next behind the event, and says that it uses these arrays."""


class Cpu:
    """Everything at once, in NumPy arrays."""

    is_cpu = True
    decoders: tuple[str, ...] = ("cpu",)

    def on(self, *, behind_caller: bool = False) -> AbstractContextManager[None]:
        return nullcontext()

    def current(self) -> Cpu:
        return self

    def workers(self, count: int) -> Sequence[Cpu]:
        return [self] * count

    def pictures(self, pictures: Iterator[Any]) -> Iterator[Any]:
        return pictures

    def score(self, pictures: Pictures, reads: Reads, count: int, params: dict[str, Any]) -> Scored:
        ids = [i for i, _ in reads]
        scorer: _core.Scorer | None = None
        clip = params["percentile_scope"] == "clip"
        if clip:
            for picture, (_, slot) in zip(read_pictures(pictures, ids, params), reads, strict=True):
                scorer = scorer or scorer_for(picture, params)
                (scorer.accumulate if slot is None else scorer.measure)(picture)
        scored = pictures.score(reads, params, scorer) or _scored_one_by_one(pictures, reads, params, scorer)
        slots = [slot for _, slot in reads if slot is not None]
        values = scored.values
        if len(slots) < count:
            values = np.zeros((count, *values.shape[1:]), np.float32)
            values[slots] = scored.values
        return Scored(values, scored.scorer.scales if clip else None, scored.scorer)

    def heats(
        self,
        pictures: Pictures,
        reads: Reads,
        params: dict[str, Any],
        scorer: _core.Scorer,
        scales: Any,
    ) -> Iterator[Any]:
        if scales is not None:
            scorer.set_clip_scales(scales)
        for picture, (_, slot) in zip(read_pictures(pictures, [i for i, _ in reads], params), reads, strict=True):
            if slot is None:
                scorer.accumulate(picture)
            else:
                yield scorer.heat(picture)

    def rank(
        self, clips: Sequence[tuple[Scored, npt.NDArray[np.bool_]]], params: dict[str, Any], *, fetch: bool
    ) -> list[Ranked]:
        ranked = []
        for scored, keep_whole in clips:
            valid = scored.scorer.valid()
            mask = _core.keep_patches(scored.values, valid, keep_whole, scored.scorer.full_score, params)
            positions = np.argwhere(mask).astype(np.int32)
            ranked.append(Ranked(positions, mask, valid, positions))
        return ranked

    def patches(self, clips: Sequence[Places], decoder: str, dtype: torch.dtype) -> torch.Tensor:
        import torch

        rows = []
        for number, c in enumerate(clips):
            with numbered(number if len(clips) > 1 else None):
                rows.append(_core.gather_patches(**c.request, starts=c.starts, positions=c.positions))
        made = [torch.from_numpy(r).to(dtype) for r in rows]
        return made[0] if len(made) == 1 else torch.cat(made)

    def tensor(self, array: npt.NDArray[Any]) -> torch.Tensor:
        import torch

        return torch.from_numpy(array)

    def record(self) -> Any:
        return None

    def wait(self, event: Any, tensors: Sequence[Any]) -> None:
        pass


def _scored_one_by_one(pictures: Pictures, reads: Reads, params: dict[str, Any], scorer: _core.Scorer | None) -> Scored:
    values = []
    for picture, (_, slot) in zip(read_pictures(pictures, [i for i, _ in reads], params), reads, strict=True):
        scorer = scorer or scorer_for(picture, params)
        if slot is None:
            scorer.accumulate(picture)
        else:
            values.append(scorer.score(picture))
    assert scorer is not None  # reads are never empty, and read_pictures gives them all
    return Scored(np.stack(values), None, scorer)


def backend_for(device: Any) -> Backend:
    """The CPU for None and "cpu", a backend itself, else the GPU that `device` names; raises as ``cuda.working_on``."""
    if isinstance(device, Backend):
        return device
    if cuda.is_cpu(device):
        return CPU
    from ove_codec._cuda_backend import Cuda

    return Cuda(device)


CPU = Cpu()
