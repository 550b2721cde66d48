"""Scores of sampled pictures on a GPU: pictures go up as they are decoded, and heat and sums are made there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from ove_codec import _core, cuda
from ove_codec._pictures import Planes, Reader, read_planes

# Of pictures that are on the GPU at a time, where percentiles do not need the whole clip; a quarter of it for those
# that are to be added up.
_MOST_BYTES = 1 << 28


class DeviceScorer:
    """Scores the sampled pictures of one clip on the current device and stream, up to `capacity` of them at a time.

    Args:
        first: of the clip's pictures.
        pictures, sampled: how many are taken in for how many sampled ones, all in all.
    """

    def __init__(
        self, params: dict[str, Any], first: Planes, pictures: int, sampled: int, device: torch.device
    ) -> None:
        self.device = device
        coded_samples = first.width * first.height if first.coefficients else 0
        self._plan = _core.HeatPlan(params, first.window, first.rotation, first.ctb_size, coded_samples)
        self._accumulates = params["accumulate"] != "none"
        with cuda.launching(device) as (kernels, _):
            self.capacity, self._room = self._rooms(kernels, params["percentile_scope"] == "clip", pictures, sampled)
            tables = self._plan.tables
            self._arrays = self._memory(kernels.arrays_bytes(tables, self._room))
            self._sums = self._memory(kernels.sums_bytes(tables, self.capacity))
            self._work = self._memory(kernels.heat_work_bytes(tables, self._room, self.capacity))
        self._block = cuda.upload(self._plan.block, device)
        self._staging = cuda.Staging()
        self.taken = 0  # sampled pictures, wholly
        self._waiting: list[int] = []  # to be added up: of each picture taken in, the number of the sampled one
        self._begun = False  # the sums hold those of pictures that are not scored yet

    def _rooms(self, kernels: ModuleType, whole: bool, pictures: int, sampled: int) -> tuple[int, int]:
        """For how many sampled pictures there is to be room, and for how many that are taken in."""
        tables = self._plan.tables

        def most(count: int, bytes_each: int, bytes_in_all: int) -> int:
            return max(1, min(count, bytes_in_all // bytes_each))

        if not self._accumulates:
            each = kernels.arrays_bytes(tables, 1) + kernels.heat_work_bytes(tables, 1, 1)
            capacity = sampled if whole else most(sampled, each, _MOST_BYTES)
            return capacity, capacity
        each = kernels.sums_bytes(tables, 1) + kernels.heat_work_bytes(tables, 0, 1)
        room = most(pictures, kernels.arrays_bytes(tables, 1) + kernels.heat_work_bytes(tables, 1, 0), _MOST_BYTES // 4)
        return sampled if whole else most(sampled, each, _MOST_BYTES - _MOST_BYTES // 4), room

    def _memory(self, size: int) -> torch.Tensor:
        return torch.empty(size, dtype=torch.uint8, device=self.device)

    @property
    def _addresses(self) -> tuple[int, int, int, int, int, int]:
        arrays, sums, work = (memory.data_ptr() for memory in (self._arrays, self._sums, self._work))
        return self._block.data_ptr(), arrays, sums, work, self._room, self.capacity

    def take_in(self, planes: Planes, last: bool = True) -> None:
        """Takes in a picture that counts for the next sampled one, whose `last` one it is."""
        place = self.taken
        if self._accumulates:
            if len(self._waiting) == self._room:
                self._accumulate()
            place = len(self._waiting)
            self._waiting.append(self.taken)
        if isinstance(planes.arrays, dict) and any(map(cuda.lies_on_gpu, planes.arrays.values())):
            on_device, sizes = _pack_there(self._plan, planes, planes.arrays, self.device)
        else:
            record = self._staging.room(planes.record_bytes(self._plan))
            size, sizes = planes.pack(self._plan, record.data_ptr())
            on_device = record[:size].to(self.device, non_blocking=True)
            self._staging.keep(size)
        with cuda.launching(self.device) as (kernels, stream):
            kernels.take_in(self._plan.tables, self._addresses, sizes, on_device.data_ptr(), place, stream)
        self.taken += last

    def _accumulate(self) -> None:
        """Adds up the pictures that wait for it."""
        if not self._begun:
            self._sums.zero_()
            self._begun = True
        with cuda.launching(self.device) as (kernels, stream):
            kernels.accumulate(self._plan.tables, self._addresses, self._waiting, stream)
        self._waiting = []

    def score(self, scores: torch.Tensor) -> None:
        """Scores the sampled pictures taken in, to as many rows, and begins anew."""
        if self._waiting:
            self._accumulate()
        self._begun = False
        with cuda.launching(self.device) as (kernels, stream):
            kernels.score(self._plan.tables, self._addresses, self.taken, scores.data_ptr(), stream)
        self.scored, self.taken = self.taken, 0

    def render(self, picture: int, canvas: torch.Tensor) -> None:
        """The heat of one of the sampled pictures scored last."""
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
    bits_shape = (0, 0) if arrays["bits"] is None else tuple(arrays["bits"].shape)
    if len(bits_shape) != 2:
        raise ValueError("bits must have two dimensions, rows and columns of CTUs")
    blocks, levels_at, size, sizes = plan.dense(
        {name for name, array in arrays.items() if array is not None},
        width=planes.width,
        height=planes.height,
        poc=arrays["poc"],
        bits_shape=bits_shape,
        ctb_size=arrays["ctb_size"],
        bit_depth=arrays["bit_depth"],
        intra=planes.intra,
    )
    sections, (rows, columns) = plan.sections, plan.grid
    x, y, width, height = planes.window
    record = torch.empty(size, dtype=torch.uint8, device=device)

    def put(offset: int, part: torch.Tensor) -> None:
        part = part.contiguous().view(-1).view(torch.uint8)
        record[offset : offset + len(part)] = part

    def shaped(name: str, *shape: int) -> torch.Tensor:
        array: torch.Tensor = arrays[name]
        if tuple(array.shape) != shape:
            raise ValueError(f"{name} must have the shape {shape} for this picture, not {tuple(array.shape)}")
        return array

    def block_rows(name: str, *tail: int) -> torch.Tensor:
        array = shaped(name, -(-planes.height // 4), -(-planes.width // 4), *tail)
        return array[y // 4 : y // 4 + rows, x // 4 : x // 4 + columns]

    if sections["pred"] > sections["mv"]:  # vectors count
        mv = block_rows("mv", 2, 2)
        put(sections["mv"], mv)
        used = (mv != 0).any(dim=3).to(torch.uint8)
        put(sections["pred"], used[..., 0] | used[..., 1] << 1 if arrays["pred"] is None else block_rows("pred"))
    if sections["bits"] > sections["ref_poc"]:
        put(sections["ref_poc"], block_rows("ref_poc", 2))
    if sections["level_blocks"] > sections["bits"]:
        side = arrays["ctb_size"]
        here = arrays["bits"][y // side : -(-(y + height) // side), x // side : -(-(x + width) // side)]
        put(sections["bits"], here.clamp(min=0))
    if blocks:
        residual = shaped("residual", planes.height, planes.width)
        put(sections["level_blocks"], cuda.upload(blocks, device))
        shown = residual[y : y + height, x : x + width] >> (arrays["bit_depth"] - 8)
        put(levels_at, shown.clamp(-128, 127).abs().to(torch.uint8))
    return record, sizes


def counted_pictures(
    reader: Reader, frame_ids: npt.NDArray[np.int64], slots: Sequence[int], params: dict[str, Any]
) -> list[tuple[int, int]]:
    """Display indices of the pictures that add heat to the sampled ones `slots` (ascending indices of `frame_ids`), in
    this order, each with the slot that it counts for: without I pictures, where these have no heat."""
    from ove_codec.selection import readings

    reads = readings(reader, frame_ids, slots, params)
    ids = [i for i, _ in reads]
    off = reader.intra(ids) if params["i_pictures"] == "zero" else np.zeros(len(ids), bool)
    counted: list[tuple[int, int]] = []
    following = -1
    for (i, slot), is_off in zip(reversed(reads), reversed(off.tolist()), strict=True):
        following = following if slot is None else slot
        if not is_off:
            counted.append((i, following))
    return counted[::-1]


@dataclass(frozen=True)
class Scored:
    """Scores of the sampled pictures that have heat, and what they were made with."""

    values: torch.Tensor
    scorer: DeviceScorer
    window: tuple[int, int, int, int]
    rotation: int


def score_pictures(
    reader: Reader, counted: Sequence[tuple[int, int]], params: dict[str, Any], device: torch.device
) -> Scored:
    """Scores the sampled pictures of `counted` (``counted_pictures``, not empty) on the current stream."""
    slots = [slot for _, slot in counted]
    sampled = len(set(slots))
    scorer: DeviceScorer | None = None
    window, rotation = (0, 0, 0, 0), 0
    values = torch.empty(0, device=device)
    done = 0
    planes_read = read_planes(reader, [i for i, _ in counted], params)
    for planes, slot, following in zip(planes_read, slots, [*slots[1:], None], strict=True):
        if scorer is None:
            window, rotation = planes.window, planes.rotation
            scorer = DeviceScorer(params, planes, len(counted), sampled, device)
            grid = _core.Scorer(params, window, rotation).valid().shape
            values = torch.empty((sampled, *grid), dtype=torch.float32, device=device)
        scorer.take_in(planes, last=slot != following)
        if scorer.taken == scorer.capacity or following is None:
            scorer.score(values[done : done + scorer.taken])
            done += scorer.scored
    assert scorer is not None
    return Scored(values, scorer, window, rotation)
