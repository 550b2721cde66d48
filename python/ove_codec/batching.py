"""Packed batches for training: the next ones are decoded while one is at work."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ove_codec import cuda
from ove_codec.limits import Limits
from ove_codec.selection import Selection, select
from ove_codec.tokens import CLIP_MEAN, CLIP_STD, Color, Tokens, tokenize

if TYPE_CHECKING:
    import torch

    from ove_codec._device_selection import DeviceSelection


@dataclass(frozen=True)
class Batch:
    """Clips of one batch.

    tokens: of all clips, packed (see ``Tokens``).
    sources: the clips, in the order of ``tokens.cu_seqlens``.
    selections: what was selected of each.
    """

    tokens: Tokens
    sources: tuple[Any, ...]
    selections: tuple[Selection | DeviceSelection, ...]


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
    dtype: torch.dtype | None = None,
    mean: Color = CLIP_MEAN,
    std: Color = CLIP_STD,
    limits: Limits | None = None,
    **params: Any,
) -> Generator[Batch]:
    """Gives the clips' tokens, selected and packed, `batch_size` clips at a time; the last batch may be smaller.

    Args:
        sources: what ``ove_codec.open`` takes, one a clip; taken as they are needed.
        preset, params: as for ``select``.
        device: as for ``select``; on a GPU every worker has a stream of its own, and a batch is ready on the stream
            that is current when it is taken.
        decoder: of pixels, as for ``tokenize``.
        workers: clips that are worked on at a time, each in a thread, outside the GIL for the most part.
        prefetch: batches that are begun before they are asked for, beside the one that is.
        threads: decoding threads of each worker, 0 for all cores.
        dtype, mean, std: as for ``tokenize``.

    Raises:
        ValueError: batch_size, workers or prefetch are too small.
        What ``select`` and ``tokenize`` raise, at the batch of the clip at fault, which messages name.
    """
    if batch_size < 1 or workers < 1 or prefetch < 0:
        raise ValueError(
            f"batch_size and workers must be 1 or more and prefetch 0 or more, not {batch_size}, {workers}, {prefetch}"
        )
    return _batches(
        iter(sources), batch_size, workers, prefetch, device,
        {"preset": preset, "threads": threads, "limits": limits, **params},
        {"decoder": decoder, "threads": threads, "limits": limits, "dtype": dtype, "mean": mean, "std": std},
    )  # fmt: skip


def _batches(
    sources: Iterator[Any],
    batch_size: int,
    workers: int,
    prefetch: int,
    device: Any,
    selecting: dict[str, Any],
    tokenizing: dict[str, Any],
) -> Generator[Batch]:
    streams: deque[Any] = deque()
    if not cuda.is_cpu(device):
        with cuda.working_on(device) as chosen:
            streams.extend(cuda.new_stream(chosen) for _ in range(workers))

    def work(source: Any) -> tuple[Any, Selection | DeviceSelection, Tokens, Any]:
        if cuda.is_cpu(device):
            selection = select(source, **selecting)
            return source, selection, tokenize(source, selection, **tokenizing), None
        stream = streams.popleft()  # there is one for every worker
        try:
            on_gpu = select(source, device=stream, **selecting)
            tokens = tokenize(source, on_gpu, device=stream, **tokenizing)
            return source, on_gpu, tokens, cuda.record(stream)
        finally:
            streams.append(stream)

    pending: deque[Future[tuple[Any, Selection | DeviceSelection, Tokens, Any]]] = deque()
    with ThreadPoolExecutor(workers, thread_name_prefix="ove_codec") as pool:
        try:
            while True:
                ahead = (prefetch + 1) * batch_size - len(pending)
                pending.extend(pool.submit(work, source) for source in itertools.islice(sources, ahead))
                if not pending:
                    return
                done = [pending.popleft().result() for _ in range(min(batch_size, len(pending)))]
                yield _pack(done, device)
        finally:
            for future in pending:
                future.cancel()


def _pack(clips: list[tuple[Any, Any, Tokens, Any]], device: Any) -> Batch:
    import torch

    for _, selection, tokens, event in clips:
        if event is not None:
            cuda.wait(event, [selection.positions, selection.scores, selection.mask, selection.valid,
                              tokens.patches, tokens.positions, tokens.cu_seqlens])  # fmt: skip
    parts = [tokens for _, _, tokens, _ in clips]
    lengths = torch.tensor([len(part) for part in parts], dtype=torch.int32)
    bounds = torch.cat([torch.zeros(1, dtype=torch.int32), lengths.cumsum(0, dtype=torch.int32)])
    tokens = Tokens(
        torch.cat([part.patches for part in parts]),
        torch.cat([part.positions for part in parts]),
        bounds if cuda.is_cpu(device) else cuda.upload(bounds.numpy(), parts[0].patches.device),
    )
    return Batch(tokens, tuple(clip[0] for clip in clips), tuple(clip[1] for clip in clips))
