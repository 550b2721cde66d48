"""Selection on a GPU: pictures go up as they are decoded, and everything after that is made there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch

from ove_codec import _core, cuda
from ove_codec._pictures import Pictures, Planes, read_planes
from ove_codec.presets import resolve

if TYPE_CHECKING:
    from ove_codec.selection import Geometry, Selection

# Of pictures that are on the GPU at a time, where percentiles do not need the whole clip.
_MOST_BYTES = 1 << 28


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
        ids = (self.frame_ids if clip_scope else self.frame_ids[t : t + 1]).tolist()
        reader = self._pictures.open().for_gpu()
        geometry = self.geometry
        with cuda.working_on(self.scores.device):
            canvas = self.scores.new_zeros((geometry.canvas_height, geometry.canvas_width))
            intra = reader.intra(ids)
            if self.params["i_pictures"] == "zero":
                if intra[t if clip_scope else 0]:
                    return canvas
                t -= int(intra[:t].sum()) if clip_scope else 0
                ids = [i for i, is_intra in zip(ids, intra, strict=True) if not is_intra]
            scorer: DeviceScorer | None = None
            for planes in read_planes(reader, ids, self.params):
                scorer = scorer or DeviceScorer(self.params, planes, len(ids), self.scores.device)
                scorer.take_in(planes)
            assert scorer is not None
            scorer.score(self.scores.new_empty((len(ids), *self.scores.shape[1:])))
            scorer.render(t if clip_scope else 0, canvas)
        return canvas


class DeviceScorer:
    """Scores the pictures of one clip on the current device and stream, up to `capacity` of them at a time."""

    def __init__(self, params: dict[str, Any], first: Planes, capacity: int, device: torch.device) -> None:
        self.device = device
        coded_samples = first.width * first.height if first.coefficients else 0
        self._plan = _core.HeatPlan(params, first.window, first.rotation, first.ctb_size, coded_samples)
        with cuda.launching(device) as (kernels, _):
            per_picture = kernels.arrays_bytes(self._plan.tables, 1) + kernels.heat_work_bytes(self._plan.tables, 1)
            if params["percentile_scope"] == "frame":
                capacity = max(1, min(capacity, _MOST_BYTES // per_picture))
            self.capacity = capacity
            self._arrays = self._memory(kernels.arrays_bytes(self._plan.tables, capacity))
            self._work = self._memory(kernels.heat_work_bytes(self._plan.tables, capacity))
        self._block = cuda.upload(self._plan.block, device)
        self._staging = cuda.Staging()
        self.taken = 0

    def _memory(self, size: int) -> torch.Tensor:
        return torch.empty(size, dtype=torch.uint8, device=self.device)

    @property
    def _addresses(self) -> tuple[int, int, int, int]:
        return self._block.data_ptr(), self._arrays.data_ptr(), self._work.data_ptr(), self.capacity

    def take_in(self, planes: Planes) -> None:
        if isinstance(planes.arrays, dict) and any(map(cuda.lies_on_gpu, planes.arrays.values())):
            on_device, sizes = _pack_there(self._plan, planes, planes.arrays, self.device)
        else:
            record = self._staging.room(planes.record_bytes(self._plan))
            size, sizes = planes.pack(self._plan, record.data_ptr())
            on_device = record[:size].to(self.device, non_blocking=True)
            self._staging.keep(size)
        with cuda.launching(self.device) as (kernels, stream):
            kernels.take_in(self._plan.tables, self._addresses, sizes, on_device.data_ptr(), self.taken, stream)
        self.taken += 1

    def score(self, scores: torch.Tensor) -> None:
        """Scores the pictures taken in, to as many rows, and begins anew."""
        with cuda.launching(self.device) as (kernels, stream):
            kernels.score(self._plan.tables, self._addresses, self.taken, scores.data_ptr(), stream)
        self.scored, self.taken = self.taken, 0

    def render(self, picture: int, canvas: torch.Tensor) -> None:
        """The heat of one of the pictures scored last."""
        with cuda.launching(self.device) as (kernels, stream):
            kernels.render(self._plan.tables, self._addresses, self.scored, picture, canvas.data_ptr(), stream)


def _pack_there(
    plan: _core.HeatPlan, planes: Planes, arrays: dict[str, Any], device: torch.device
) -> tuple[torch.Tensor, bytes]:
    """The record of a picture (``HeatPlan.pack``) whose arrays lie on the device."""
    for name, array in arrays.items():
        if not (array is None or isinstance(array, int)) and getattr(array, "device", None) != device:
            where = getattr(array, "device", "the CPU")
            raise ValueError(f"{name} lies on {where}, and is to be selected from on {device}: move it there first")
    cuda.use(array for array in arrays.values() if hasattr(array, "device"))
    blocks, levels_at, size, sizes = plan.dense(arrays["poc"], planes.intra)
    sections, (rows, columns) = plan.sections, plan.grid
    x, y, width, height = planes.window
    record = torch.empty(size, dtype=torch.uint8, device=device)

    def put(offset: int, part: torch.Tensor) -> None:
        part = part.contiguous().view(-1).view(torch.uint8)
        record[offset : offset + len(part)] = part

    def block_rows(name: str, *tail: int) -> torch.Tensor:
        array: torch.Tensor = arrays[name]
        shape = (-(-planes.height // 4), -(-planes.width // 4), *tail)
        if tuple(array.shape) != shape:
            raise ValueError(f"{name} must have the shape {shape} for this picture, not {tuple(array.shape)}")
        return array[y // 4 : y // 4 + rows, x // 4 : x // 4 + columns]

    if sections["pred"] > sections["mv"]:  # vectors count
        if arrays["mv"] is None:
            raise ValueError("mv is missing: pass it, or set mv_weight=0")
        mv = block_rows("mv", 2, 2)
        put(sections["mv"], mv)
        used = (mv != 0).any(dim=3).to(torch.uint8)
        put(sections["pred"], used[..., 0] | used[..., 1] << 1 if arrays["pred"] is None else block_rows("pred"))
    if sections["bits"] > sections["ref_poc"]:
        if arrays["ref_poc"] is None:
            raise ValueError("ref_poc is missing: pass it (and poc), or choose another vector than 'displacement'")
        put(sections["ref_poc"], block_rows("ref_poc", 2))
    if sections["level_blocks"] > sections["bits"]:
        side = arrays["ctb_size"]
        if arrays["bits"] is None or side <= 0:
            raise ValueError("bits are missing: pass them (and ctb_size), or set bits_weight=0")
        here = arrays["bits"][y // side : -(-(y + height) // side), x // side : -(-(x + width) // side)]
        put(sections["bits"], here.to(torch.float64).clamp(min=0).log1p().to(torch.float32))
    if blocks:
        residual = arrays["residual"]
        if residual is None or tuple(residual.shape) != (planes.height, planes.width):
            raise ValueError("residual is missing or not of the picture's shape: pass it, or set residual_weight=0")
        put(sections["level_blocks"], cuda.upload(blocks, device))
        shown = residual[y : y + height, x : x + width] >> (arrays["bit_depth"] - 8)
        put(levels_at, shown.clamp(-128, 127).abs().to(torch.uint8))
    return record, sizes


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
    from ove_codec.selection import geometry_of, sampled_frames, scored_pictures

    reader = pictures.open().for_gpu()
    frame_ids = sampled_frames(reader, params)
    ids: list[int] = frame_ids.tolist()
    intra = reader.intra(ids)
    scored = scored_pictures(intra, params)
    scored_ids = [ids[t] for t in scored]
    zero = bool(params["i_pictures"] == "zero" and intra.all())
    scorer: DeviceScorer | None = None
    scores = torch.empty(0, device=device)
    done, window, rotation = 0, (0, 0, 0, 0), 0
    on_cpu: _core.Scorer | None = None
    for planes in read_planes(reader, scored_ids, params):
        if scorer is None or on_cpu is None:
            on_cpu = _core.Scorer(params, planes.window, planes.rotation)
            window, rotation = planes.window, planes.rotation
            scorer = DeviceScorer(params, planes, len(scored_ids), device)
            scores = torch.zeros((len(scored_ids), *on_cpu.valid().shape), dtype=torch.float32, device=device)
        if zero:
            break
        scorer.take_in(planes)
        if scorer.taken == scorer.capacity:
            scorer.score(scores[done : done + scorer.taken])
            done += scorer.scored
    assert scorer is not None and on_cpu is not None
    if scorer.taken:
        scorer.score(scores[done:])
    if len(scored_ids) < len(ids):
        whole = torch.zeros((len(ids), *scores.shape[1:]), dtype=torch.float32, device=device)
        scores = whole.index_copy_(0, cuda.upload(scored.astype(np.int64), device), scores)
    return ScoredClip(
        frame_ids=frame_ids,
        scores=scores,
        valid=on_cpu.valid(),
        keep_whole=intra if params["i_pictures"] == "keep" else np.zeros_like(intra),
        full_score=on_cpu.full_score,
        geometry=geometry_of(params, window, rotation, on_cpu),
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
