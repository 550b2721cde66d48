"""Batches of clips on a GPU: each is scored and made into tokens by itself, all of a batch are ranked together."""

from __future__ import annotations

import functools
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any, TypeAlias

from ove_codec import cuda
from ove_codec._device_selection import DeviceSelection, ScoredClip, rank, score_on_device
from ove_codec._jobs import Submit, together
from ove_codec._pictures import VideoPictures
from ove_codec.limits import Limits
from ove_codec.presets import resolve
from ove_codec.tokens import Tokens, tokenize

Made: TypeAlias = tuple[DeviceSelection, Tokens, Any]  # of a clip, with an event behind its tokens


class DeviceWork:
    """The work on clips, each part of it on a stream that is nobody else's meanwhile."""

    def __init__(
        self,
        device: Any,
        workers: int,
        preset: str,
        params: dict[str, Any],
        threads: int,
        limits: Limits | None,
        tokenizing: dict[str, Any],
    ) -> None:
        with cuda.working_on(device) as chosen:
            self.device = chosen
            self._streams = deque(cuda.new_stream(chosen) for _ in range(workers))
        self._preset, self._params = preset, resolve(preset, params)
        self._threads, self._limits = threads, limits
        self._tokenizing = tokenizing

    @contextmanager
    def _stream(self) -> Iterator[Any]:
        stream = self._streams.popleft()  # there is one for every worker
        try:
            with cuda.working_on(stream):
                yield stream
        finally:
            self._streams.append(stream)

    def score(self, source: Any) -> tuple[ScoredClip, Any]:
        """The scored clip, and an event behind its scores."""
        with self._stream():
            clip = score_on_device(VideoPictures(source, self._threads, self._limits), self._params, self.device)
            return clip, cuda.record(self.device)

    def rank(self, scored: Sequence[tuple[ScoredClip, Any]]) -> list[DeviceSelection]:
        with self._stream():
            for clip, event in scored:
                cuda.wait(event, [clip.scores])
            return rank([clip for clip, _ in scored], self._preset, self._params, fetch=True)

    def tokenize(self, source: Any, selection: DeviceSelection) -> tuple[Tokens, Any]:
        """The tokens, and an event behind them."""
        with self._stream() as stream:
            tokens = tokenize(source, selection, device=stream, **self._tokenizing)
            return tokens, cuda.record(self.device)


def begin(work: DeviceWork, sources: Sequence[Any], submit: Submit) -> Future[list[Made]]:
    """Begins a batch: whoever scores its last clip ranks all of them, and then each is made into tokens."""
    done: Future[list[Made]] = Future()

    def ranked(scored: list[tuple[ScoredClip, Any]]) -> None:
        def made(source: Any, selection: DeviceSelection) -> Made:
            return selection, *work.tokenize(source, selection)

        parts = [functools.partial(made, *pair) for pair in zip(sources, work.rank(scored), strict=True)]
        together(parts, submit, done.set_result, done)

    together([functools.partial(work.score, source) for source in sources], submit, ranked, done)
    return done
