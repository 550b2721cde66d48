"""Token rows on a GPU from pictures decoded on the CPU."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ove_codec import _core, cuda
from ove_codec.ops.patches import DTYPES

if TYPE_CHECKING:
    from ove_codec.tokens import Color, Tokens

# Of decoded rows that go up at a time; a picture that needs more gets it.
_CHUNK_BYTES = 1 << 25
# Pictures of NVDEC that the kernel reads where they lie, before the decoder gets them back.
_KEPT_FRAMES = 4


class _Chosen:
    """What is read of a selection, on the CPU."""

    def __init__(self, selection: Any) -> None:
        there = selection.positions
        self.positions = there if isinstance(there, np.ndarray) else selection.positions_on_cpu()
        self.frame_ids = selection.frame_ids
        self.geometry = selection.geometry


class _Chunk:
    """Pictures that go up together: their touched rows in pinned memory, and what the kernel reads of them."""

    def __init__(self, capacity: int, device: torch.device) -> None:
        self.host = cuda.pinned(capacity)
        self.device = torch.empty(capacity, dtype=torch.uint8, device=device)
        self.used = 0
        self.clips: list[bytes] = []
        self.first = 0  # place of the first picture

    def add(self, reader: _core.PlaneReader, place: int, positions: Any) -> int:
        """Adds the picture that the reader gave last; 0, or the capacity it takes where there is too little room."""
        used, clip = reader.stage(positions, self.host.data_ptr(), self.used, self.host.numel(), self.device.data_ptr())
        if clip is None:
            return used - self.used
        if not self.clips:
            self.first = place
        self.used = used
        self.clips.append(clip)
        return 0


def tokenize_on_device(
    pixels: Sequence[Any],
    selections: Sequence[Any],
    device: Any,
    decoder: str,
    dtype: torch.dtype,
    mean: Color,
    std: Color,
) -> Tokens:
    """``tokenize`` with a device; see there."""
    from ove_codec.tokens import Tokens

    if dtype not in DTYPES:
        raise ValueError(f"dtype must be float32, float16 or bfloat16, not {dtype}")
    with cuda.working_on(device) as chosen:
        on_cpu = [_Chosen(s) for s in selections]
        lengths = np.cumsum([0, *(len(s.positions) for s in on_cpu)], dtype=np.int32)
        row = 3 * on_cpu[0].geometry.patch_size ** 2
        if any(3 * s.geometry.patch_size**2 != row for s in on_cpu):
            raise ValueError("selections of one batch must have one patch_size")
        patches = torch.empty((int(lengths[-1]), row), dtype=dtype, device=chosen)
        positions = np.concatenate([np.asarray(s.positions, np.int64).reshape(-1, 3) for s in on_cpu])
        for video, selection, begin, end in zip(pixels, on_cpu, lengths, lengths[1:], strict=False):
            _gather(video, selection, decoder, patches[begin:end], mean, std)
        return Tokens(
            patches,
            cuda.upload(positions, chosen),
            cuda.upload(lengths, chosen),
        )


def _gather(video: Any, selection: Any, decoder: str, rows: torch.Tensor, mean: Color, std: Color) -> None:
    from ove_codec.tokens import places

    chosen = places(video, selection, mean, std)
    if not len(rows):
        return
    starts, positions = chosen.starts, chosen.positions
    # A chunk's pictures are clips of one frame each to the kernel.
    there = np.zeros((len(positions), 3), np.int64)
    there[:, 1:] = positions
    on_device = cuda.upload(there, rows.device)
    number = (rows.device.index or 0) if decoder == "nvdec" else -1
    reader = _core.PlaneReader(**chosen.request, cuda_device=number)
    chunk = _Chunk(_CHUNK_BYTES, rows.device)

    def send(next_bytes: int = _CHUNK_BYTES) -> _Chunk:
        """Sends the chunk off and gives the next one."""
        if reader.num_kept:
            cuda.wait_for_decoder(rows.device)
        _send(chunk, selection, on_device, starts, rows)
        if reader.num_kept:
            cuda.synchronize(rows.device)
            reader.release()
        return _Chunk(next_bytes, rows.device)

    while (place := reader.next()) is not None:
        if chunk.clips and place != chunk.first + len(chunk.clips):  # rows of a chunk lie together
            chunk = send()
        touched = positions[starts[place] : starts[place + 1]]
        if missing := chunk.add(reader, place, touched):
            chunk = send(max(missing, _CHUNK_BYTES))
            chunk.add(reader, place, touched)
        if reader.num_kept == _KEPT_FRAMES:
            chunk = send()
    send(0)


def _send(chunk: _Chunk, selection: Any, positions: torch.Tensor, starts: Any, rows: torch.Tensor) -> None:
    if not chunk.clips:
        return
    device = rows.device
    first, end = chunk.first, chunk.first + len(chunk.clips)
    begin_row, end_row = int(starts[first]), int(starts[end])
    chunk.device[: chunk.used].copy_(chunk.host[: chunk.used], non_blocking=True)
    clips = cuda.upload(b"".join(chunk.clips), device)
    cu_seqlens = cuda.upload((starts[first : end + 1] - begin_row).astype(np.int32), device)
    with cuda.launching(device) as (kernels, stream):
        kernels.gather_patches(
            clips.data_ptr(),
            len(chunk.clips),
            selection.geometry.patch_size,
            cu_seqlens.data_ptr(),
            positions[begin_row:end_row].data_ptr(),
            end_row - begin_row,
            DTYPES[rows.dtype],
            rows[begin_row:end_row].data_ptr(),
            stream,
        )
