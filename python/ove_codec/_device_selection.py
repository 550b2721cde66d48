"""Selection on a GPU: what is kept of clips whose patches are scored there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch

from ove_codec import _core, cuda
from ove_codec._device_scoring import counted_pictures, score_pictures
from ove_codec._pictures import Pictures, read_planes
from ove_codec.presets import resolve

if TYPE_CHECKING:
    from ove_codec.selection import Geometry, Selection


@dataclass(frozen=True, eq=False)
class DeviceSelection:
    """A ``Selection`` whose arrays are tensors on a GPU, ready on the stream that was current (or given).

    Attributes are those of ``Selection``: frame_ids stays a NumPy array; positions (N, 3) int32, scores
    (T, rows, columns) float32, mask (T, rows, columns) bool and valid (rows, columns) bool are CUDA tensors.
    """

    frame_ids: npt.NDArray[np.int64]
    positions: torch.Tensor
    scores: torch.Tensor
    mask: torch.Tensor
    valid: torch.Tensor
    geometry: Geometry
    preset: str
    params: dict[str, Any]
    _pictures: Pictures | None = field(default=None, repr=False)
    _ready: Any = field(default=None, repr=False)  # event behind what makes the tensors
    _positions: npt.NDArray[np.int32] | None = field(default=None, repr=False)  # on the CPU, where they were fetched

    def __len__(self) -> int:
        return len(self.positions)

    def tensors(self) -> tuple[torch.Tensor, ...]:
        return self.positions, self.scores, self.mask, self.valid

    def wait(self) -> None:
        """Queues what comes next on the current stream behind what makes the tensors, on whichever stream that is."""
        cuda.wait(self._ready, self.tensors())

    def positions_on_cpu(self) -> npt.NDArray[np.int32]:
        """The positions in a NumPy array. Waits for the GPU unless they are there."""
        if self._positions is not None:
            return self._positions
        self.wait()
        positions: npt.NDArray[np.int32] = self.positions.cpu().numpy()
        return positions

    def cpu(self) -> Selection:
        """The same selection in NumPy arrays. Waits for the GPU."""
        from ove_codec.selection import Selection

        self.wait()
        return Selection(
            frame_ids=self.frame_ids,
            positions=self.positions_on_cpu(),
            scores=self.scores.cpu().numpy(),
            mask=self.mask.cpu().numpy(),
            valid=self.valid.cpu().numpy(),
            geometry=self.geometry,
            preset=self.preset,
            params=self.params,
            _pictures=self._pictures,
        )

    def heat(self, t: int) -> torch.Tensor:
        """``Selection.heat``, a (canvas_height, canvas_width) float32 tensor on the GPU."""
        if not 0 <= t < len(self.frame_ids):
            raise IndexError(f"t must lie in 0..{len(self.frame_ids) - 1}, not {t}")
        assert self._pictures is not None
        clip_scope = self.params["percentile_scope"] == "clip"
        reader = self._pictures.open().for_gpu()
        geometry = self.geometry
        with cuda.working_on(self.scores.device):
            canvas = self.scores.new_zeros((geometry.canvas_height, geometry.canvas_width))
            counted = counted_pictures(
                reader, self.frame_ids, range(len(self.frame_ids)) if clip_scope else [t], self.params
            )
            slots = sorted({slot for _, slot in counted})
            if t in slots:
                scored = score_pictures(reader, counted, self.params, self.scores.device)
                scored.scorer.render(slots.index(t), canvas)
        return canvas


@dataclass(frozen=True, eq=False)
class ScoredClip:
    """A clip whose patches are scored, on a GPU, and what ranking needs to know of it."""

    frame_ids: npt.NDArray[np.int64]
    scores: torch.Tensor
    valid: npt.NDArray[np.bool_]
    keep_whole: npt.NDArray[np.bool_]
    full_score: float
    geometry: Geometry
    pictures: Pictures


def select_on_device(pictures: Pictures, preset: str, overrides: dict[str, Any], device: Any) -> DeviceSelection:
    """``select`` with a device; see there."""
    params = resolve(preset, overrides)
    with cuda.working_on(device) as chosen:
        return rank([score_on_device(pictures, params, chosen)], preset, params)[0]


def score_on_device(pictures: Pictures, params: dict[str, Any], device: torch.device) -> ScoredClip:
    """Scores the sampled pictures on the current stream."""
    from ove_codec.selection import geometry_of, sampled_frames

    reader = pictures.open().for_gpu()
    frame_ids = sampled_frames(reader, params)
    intra = reader.intra(frame_ids.tolist())
    counted = counted_pictures(reader, frame_ids, range(len(frame_ids)), params)
    scored = score_pictures(reader, counted, params, device) if counted else None
    # Where nothing has heat, a picture is read for its size.
    layout = scored or next(read_planes(reader, [int(frame_ids[0])], params))
    on_cpu = _core.Scorer(params, layout.window, layout.rotation)
    slots = sorted({slot for _, slot in counted})
    if scored and len(slots) == len(frame_ids):
        scores = scored.values
    else:
        scores = torch.zeros((len(frame_ids), *on_cpu.valid().shape), dtype=torch.float32, device=device)
        if scored:
            scores.index_copy_(0, cuda.upload(np.array(slots, np.int64), device), scored.values)
    return ScoredClip(
        frame_ids=frame_ids,
        scores=scores,
        valid=on_cpu.valid(),
        keep_whole=intra if params["i_pictures"] == "keep" else np.zeros_like(intra),
        full_score=on_cpu.full_score,
        geometry=geometry_of(params, layout.window, layout.rotation, on_cpu),
        pictures=pictures,
    )


class _Tables:
    """Arrays that go up to a device together."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._size = 0

    def add(self, array: npt.NDArray[Any]) -> int:
        """Where its first byte lies among those that go up."""
        begin, part = self._size, array.tobytes()
        self._parts += [part, bytes(-len(part) % 16)]
        self._size += len(part) + -len(part) % 16
        return begin

    def send(self, device: torch.device) -> torch.Tensor:
        return cuda.upload(b"".join(self._parts), device)


def rank(
    clips: Sequence[ScoredClip], preset: str, params: dict[str, Any], fetch: bool = False
) -> list[DeviceSelection]:
    """Ranks the patches of all clips in one go, on the current stream. How many are kept is known beforehand unless
    `tau` decides it, which waits for the GPU; so does `fetch`, which brings the positions to the CPU too."""
    device = clips[0].scores.device
    plans = [_core.ranking_plan(clip.valid, clip.keep_whole, params) for clip in clips]
    kept = [plan[3] for plan in plans]
    by_tau = None in kept
    tables = _Tables()
    valid = [tables.add(clip.valid) for clip in clips]
    classes = [[0 if array is None else tables.add(array) for array in plan[:2]] for plan in plans]
    there = tables.send(device)
    first = np.cumsum([0, *(clip.scores.numel() for clip in clips)]).tolist()
    first_kept = np.cumsum([0, *(n or 0 for n in kept)]).tolist()
    mask = torch.empty(first[-1], dtype=torch.bool, device=device)
    positions = torch.empty((first_kept[-1], 3), dtype=torch.int32, device=device)
    with cuda.launching(device) as (kernels, stream):
        work = torch.empty(kernels.rank_work_bytes(first[-1], len(clips)), dtype=torch.uint8, device=device)
        ranked = cuda.upload(
            b"".join(
                kernels.ranked_clip(
                    clip.scores.data_ptr(),
                    there.data_ptr() + valid[i],
                    there.data_ptr() + classes[i][0],
                    there.data_ptr() + classes[i][1] if plans[i][1] is not None else 0,
                    (first[i], first_kept[i]),
                    clip.scores.shape[0],
                    tuple(clip.scores.shape[1:]),
                    plans[i][2],
                    kept[i] or 0,
                    clip.full_score,
                )
                for i, clip in enumerate(clips)
            ),
            device,
        )
        kernels.rank_patches(
            ranked.data_ptr(),
            len(clips),
            first[-1],
            None if by_tau else first_kept[-1],
            params,
            work.data_ptr(),
            mask.data_ptr(),
            positions.data_ptr(),
            stream,
        )
    masks = [mask[first[i] : first[i + 1]].view(clip.scores.shape) for i, clip in enumerate(clips)]
    if by_tau:
        chosen = [m.nonzero().to(torch.int32) for m in masks]
        on_cpu = [c.cpu().numpy() for c in chosen] if fetch else None
    else:
        chosen = [positions[first_kept[i] : first_kept[i + 1]] for i in range(len(clips))]
        on_cpu = np.split(positions.cpu().numpy(), first_kept[1:-1]) if fetch else None
    ready = cuda.record(device)
    return [
        DeviceSelection(
            frame_ids=clip.frame_ids,
            positions=chosen[i],
            scores=clip.scores,
            mask=masks[i],
            valid=there[valid[i] : valid[i] + clip.valid.size].view(torch.bool).view(clip.valid.shape),
            geometry=clip.geometry,
            preset=preset,
            params=params,
            _pictures=clip.pictures,
            _ready=ready,
            _positions=None if on_cpu is None else on_cpu[i],
        )
        for i, clip in enumerate(clips)
    ]
