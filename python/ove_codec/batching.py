"""Packed batches for training: the next ones are decoded while one is at work."""

from __future__ import annotations

import functools
import itertools
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ove_codec import cuda
from ove_codec._jobs import Pool, Submit, together
from ove_codec.limits import Limits
from ove_codec.selection import Selection, select
from ove_codec.tokens import CLIP_MEAN, CLIP_STD, Color, Tokens, tokenize

if TYPE_CHECKING:
    import torch

    from ove_codec._device_batches import Made
    from ove_codec._device_selection import DeviceSelection


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
        device: as for ``select``; on a GPU every worker has a stream of its own, all clips of a batch are ranked in one
            go, and the batch is ready on the stream that is current when it is taken.
        decoder: of pixels, as for ``tokenize``.
        workers: clips that are worked on at a time, each in a thread, outside the GIL for the most part.
        prefetch: batches that are begun before they are asked for, beside the one that is.
        threads: decoding threads of each worker, 0 for all cores.
        dtype, mean, std: as for ``tokenize``.

    Raises:
        ValueError: batch_size, workers or prefetch are too small.
        Error: and whatever else ``select`` and ``tokenize`` raise, at the batch of the clip at fault, which messages
            name.
    """
    if batch_size < 1 or workers < 1 or prefetch < 0:
        raise ValueError(
            f"batch_size and workers must be 1 or more and prefetch 0 or more, not {batch_size}, {workers}, {prefetch}"
        )
    selecting = {"preset": preset, "threads": threads, "limits": limits, **params}
    tokenizing = {"decoder": decoder, "threads": threads, "limits": limits, "dtype": dtype, "mean": mean, "std": std}
    begin: Callable[[Sequence[Any], Submit], Future[Any]]
    pack: Callable[[Sequence[Any], Any], Batch]
    if cuda.is_cpu(device):
        begin, pack = functools.partial(_begin, selecting, tokenizing), _pack
    else:
        from ove_codec import _device_batches

        work = _device_batches.DeviceWork(device, workers, preset, params, threads, limits, tokenizing)
        begin, pack = functools.partial(_device_batches.begin, work), _pack_on_device
    return _batches(iter(sources), batch_size, workers, prefetch, begin, pack)


def _batches(
    sources: Iterator[Any],
    batch_size: int,
    workers: int,
    prefetch: int,
    begin: Callable[[Sequence[Any], Submit], Future[Any]],
    pack: Callable[[Sequence[Any], Any], Batch],
) -> Generator[Batch]:
    pending: deque[tuple[Sequence[Any], Future[Any]]] = deque()
    pool = Pool(workers)
    numbers = itertools.count()
    try:
        while True:
            while len(pending) <= prefetch and (chosen := list(itertools.islice(sources, batch_size))):
                pending.append((chosen, begin(chosen, functools.partial(pool.submit, next(numbers)))))
            if not pending:
                return
            clips, future = pending.popleft()
            yield pack(clips, future.result())
    finally:
        pool.close()


def _begin(
    selecting: dict[str, Any], tokenizing: dict[str, Any], sources: Sequence[Any], submit: Submit
) -> Future[list[tuple[Selection, Tokens]]]:
    """Begins a batch on the CPU."""
    done: Future[list[tuple[Selection, Tokens]]] = Future()

    def made(source: Any) -> tuple[Selection, Tokens]:
        selection = select(source, **selecting)
        return selection, tokenize(source, selection, **tokenizing)

    together([functools.partial(made, source) for source in sources], submit, done.set_result, done)
    return done


def _pack(sources: Sequence[Any], made: list[tuple[Selection, Tokens]]) -> Batch:
    tokens = _packed([part for _, part in made], lambda bounds: bounds)
    return Batch(tokens, tuple(sources), tuple(selection for selection, _ in made))


def _pack_on_device(sources: Sequence[Any], made: list[Made]) -> Batch:
    for selection, tokens, event in made:
        selection.wait()
        cuda.wait(event, [tokens.patches, tokens.positions, tokens.cu_seqlens])
    tokens = _packed(
        [part for _, part, _ in made], lambda bounds: cuda.upload(bounds.numpy(), made[0][1].patches.device)
    )
    return Batch(tokens, tuple(sources), tuple(selection for selection, _, _ in made))


def _packed(parts: Sequence[Tokens], place: Callable[[torch.Tensor], torch.Tensor]) -> Tokens:
    """The clips one behind the other; `place` brings the bounds to where the tokens are."""
    import torch

    lengths = torch.tensor([0, *(len(part) for part in parts)])
    return Tokens(
        torch.cat([part.patches for part in parts]),
        torch.cat([part.positions for part in parts]),
        place(lengths.cumsum(0).to(torch.int32)),
    )
