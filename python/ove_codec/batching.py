"""Packed batches for training: the next ones are decoded while one is at work."""

from __future__ import annotations

import functools
import itertools
from collections import deque
from collections.abc import Generator, Iterable, Iterator, Sequence, Sized
from concurrent.futures import Future
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from typing_extensions import Unpack

from ove_codec._backend import Backend, backend_for
from ove_codec._colors import CLIP_MEAN, CLIP_STD, Color
from ove_codec._jobs import Pool, Submit, numbered, together
from ove_codec._pictures import VideoPictures
from ove_codec._progress import watched
from ove_codec.limits import Limits
from ove_codec.presets import Parameters, resolve, with_parameters
from ove_codec.selection import ScoredClip, Selection, rank_clips, score_clip
from ove_codec.tokenizer import Tokens, tokenize
from ove_codec.transcoding import Recipe

if TYPE_CHECKING:
    import torch

Made: TypeAlias = tuple[Selection, Tokens, Any]  # of a clip, with an event behind its tokens


@dataclass(frozen=True)
class Batch:
    """Clips of one batch.

    Attributes:
        tokens: of all clips, packed (see ``Tokens``).
        sources: the clips, in the order of ``tokens.cu_seqlens``.
        selections: what was selected of each.
    """

    tokens: Tokens
    sources: tuple[Any, ...]
    selections: tuple[Selection, ...]


@with_parameters
def batches(
    sources: Iterable[Any],
    batch_size: int,
    preset: str = "paper",
    *,
    device: Any = None,
    decoder: str = "cpu",
    workers: int = 1,
    prefetch: int = 1,
    threads: int = 1,
    dtype: torch.dtype | str | None = None,
    mean: Color = CLIP_MEAN,
    std: Color = CLIP_STD,
    limits: Limits | None = None,
    transcode: bool | str | Recipe = False,
    on_damage: str = "raise",
    progress: bool | None = False,
    **params: Unpack[Parameters],
) -> Generator[Batch]:
    """Gives the clips' tokens, selected and packed, `batch_size` clips at a time. The last batch may be smaller.

    Args:
        sources: clips as for ``ove_codec.open``; an iterable is consumed as needed.
        preset, params: as for ``select``.
        device: as for ``select``. On a GPU every worker has its own stream, all clips of a batch are ranked together,
            and the batch is ready on the stream that is current when you take it.
        decoder: of pixels, as for ``tokenize``.
        workers: clips processed at the same time, each in a thread, mostly without the GIL.
        prefetch: batches prepared ahead, in addition to the next one.
        threads: decoding threads of each worker, 0 for all cores.
        dtype, mean, std: as for ``tokenize``.
        limits, transcode, on_damage: as for ``select``; tokens are of the source's own pixels.
        progress: whether to show a progress bar of batches; None shows it if standard error is a terminal.

    Raises:
        ValueError: batch_size, workers or prefetch are too small.
        Error: and all errors of ``select`` and ``tokenize``, raised at the batch with the failing clip. Messages begin
            with the clip's number among `sources`, from 0.
    """
    if batch_size < 1 or workers < 1 or prefetch < 0:
        raise ValueError(
            f"batch_size and workers must be 1 or more and prefetch 0 or more, not {batch_size}, {workers}, {prefetch}"
        )
    selecting = {"preset": preset, "params": resolve(preset, dict(params)), "transcode": transcode}
    tokenizing = {"decoder": decoder, "dtype": dtype, "mean": mean, "std": std}
    work = _Work(device, workers, selecting, tokenizing, {"threads": threads, "limits": limits, "on_damage": on_damage})
    total = -(-len(sources) // batch_size) if isinstance(sources, Sized) else None
    made = _batches(iter(sources), batch_size, workers, prefetch, work)
    return made if progress is False else _watched(made, total, progress)


def _watched(made: Generator[Batch], total: int | None, progress: bool | None) -> Generator[Batch]:
    with closing(made):  # its threads end with this generator
        yield from watched(made, total, progress, " batches")


def _batches(sources: Iterator[Any], batch_size: int, workers: int, prefetch: int, work: _Work) -> Generator[Batch]:
    pending: deque[tuple[Sequence[Any], Future[list[Made]]]] = deque()
    pool = Pool(workers)
    numbers = itertools.count()
    try:
        while True:
            while len(pending) <= prefetch and (chosen := list(itertools.islice(sources, batch_size))):
                number = next(numbers)
                submit = functools.partial(pool.submit, number)
                pending.append((chosen, work.begin(chosen, number * batch_size, submit)))
            if not pending:
                return
            clips, future = pending.popleft()
            yield work.pack(clips, future.result())
    finally:
        pool.close()


class _Work:
    """The work on clips, each part of it on a stream that is nobody else's meanwhile: each clip is scored and made into
    tokens by itself, all of a batch are ranked together."""

    def __init__(
        self,
        device: Any,
        workers: int,
        selecting: dict[str, Any],
        tokenizing: dict[str, Any],
        opening: dict[str, Any],
    ) -> None:
        self._backend = backend_for(device)
        self._free = deque(self._backend.workers(workers))
        self._preset, self._params = selecting["preset"], selecting["params"]
        self._transcode = selecting["transcode"]
        self._tokenizing, self._opening = tokenizing, opening

    @contextmanager
    def _worker(self) -> Iterator[Backend]:
        backend = self._free.popleft()  # there is one for every worker
        try:
            with backend.on():
                yield backend
        finally:
            self._free.append(backend)

    def begin(self, sources: Sequence[Any], first: int, submit: Submit) -> Future[list[Made]]:
        """Begins a batch, whose first clip has this number among all: whoever scores its last clip ranks all of them,
        and then each is made into tokens."""
        done: Future[list[Made]] = Future()

        def ranked(scored: list[tuple[ScoredClip, Any]]) -> None:
            clips = zip(itertools.count(first), sources, self._rank(scored))
            together([functools.partial(self._tokenize, *clip) for clip in clips], submit, done.set_result, done)

        clips = enumerate(sources, first)
        together([functools.partial(self._score, *clip) for clip in clips], submit, ranked, done)
        return done

    def _score(self, number: int, source: Any) -> tuple[ScoredClip, Any]:
        """The scored clip, and an event behind its scores."""
        with self._worker() as backend, numbered(number):
            pictures = VideoPictures(source, **self._opening, transcode=self._transcode).checked(self._params)
            return score_clip(pictures, self._params, backend), backend.record()

    def _rank(self, scored: Sequence[tuple[ScoredClip, Any]]) -> list[Selection]:
        with self._worker() as backend:
            for clip, event in scored:
                backend.wait(event, [clip.scored.values])
            return rank_clips([clip for clip, _ in scored], self._preset, self._params, backend, fetch=True)

    def _tokenize(self, number: int, source: Any, selection: Selection) -> Made:
        with self._worker() as backend, numbered(number):
            tokens = tokenize(source, selection, device=backend, **self._tokenizing, **self._opening)
            return selection, tokens, backend.record()

    def pack(self, sources: Sequence[Any], made: list[Made]) -> Batch:
        """The clips one behind the other, ready on the current stream."""
        import torch

        for selection, tokens, event in made:
            selection.wait()
            self._backend.wait(event, [tokens.patches, tokens.positions, tokens.cu_seqlens])
        parts = [tokens for _, tokens, _ in made]
        tokens = Tokens(
            torch.cat([part.patches for part in parts]),
            torch.cat([part.positions for part in parts]),
            self._backend.tensor(np.cumsum([0, *map(len, parts)], dtype=np.int32)),
        )
        return Batch(tokens, tuple(sources), tuple(selection for selection, _, _ in made))
