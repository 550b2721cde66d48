"""Slice segment data (7.3.8): coding tree units with skipped, inter and PCM coding units, of the caller's choosing."""

import copy
import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from support.hevc.bits import BitWriter, escape, nal_unit
from support.hevc.cabac import CabacWriter, Contexts, initial_contexts
from support.hevc.parameter_sets import Pps, Sps
from support.hevc.slice_header import B_SLICE, I_SLICE, SliceHeader

# Prediction units (x, y, width, height) in quarters of the coding block, by part_mode.
PARTS = {
    "2Nx2N": [(0, 0, 4, 4)],
    "2NxN": [(0, 0, 4, 2), (0, 2, 4, 2)],
    "Nx2N": [(0, 0, 2, 4), (2, 0, 2, 4)],
    "NxN": [(0, 0, 2, 2), (2, 0, 2, 2), (0, 2, 2, 2), (2, 2, 2, 2)],
    "2NxnU": [(0, 0, 4, 1), (0, 1, 4, 3)],
    "2NxnD": [(0, 0, 4, 3), (0, 3, 4, 1)],
    "nLx2N": [(0, 0, 1, 4), (1, 0, 3, 4)],
    "nRx2N": [(0, 0, 3, 4), (3, 0, 1, 4)],
}


@dataclass
class Unit:
    """A prediction unit: merged when `merge_idx` is given, else with a vector difference per list in `lists`."""

    merge_idx: int | None = None
    lists: tuple[int, ...] = (0,)
    ref_idx: tuple[int, int] = (0, 0)
    mvd: tuple[tuple[int, int], tuple[int, int]] = ((0, 0), (0, 0))
    mvp: tuple[int, int] = (0, 0)


# (transform depth, may split) -> "split" or the level of the DC coefficient, 0 for none
LevelChooser = Callable[[int, bool], "int | Literal['split']"]


@dataclass
class CodingUnit:
    """A coding unit; without `levels` it has no residual."""

    mode: Literal["skip", "inter", "pcm"] = "skip"
    part: str = "2Nx2N"
    units: list[Unit] = field(default_factory=lambda: [Unit(merge_idx=0)])
    samples: tuple[NDArray[np.integer], ...] = ()  # PCM: luma, Cb, Cr
    levels: LevelChooser | None = None
    qp_delta: int = 0
    bypass: bool = False


# (x, y, log2 size, may split) -> "split" or the coding unit there
Chooser = Callable[[int, int, int, bool], "CodingUnit | Literal['split']"]


class PictureWriter:
    """Writes the slice segments of one picture, in order; keeps what the next ones depend on."""

    def __init__(self, sps: Sps, pps: Pps) -> None:
        self.sps, self.pps = sps, pps
        shape = (-(-sps.height // 8), -(-sps.width // 8))
        self.depth = np.zeros(shape, np.int8)
        self.skipped = np.zeros(shape, bool)
        self.region = np.full(shape, -1)  # slice address and tile of what is written
        columns, rows = pps.tiles or ([sps.ctb_columns], [sps.ctb_rows])
        x_edges, y_edges = np.cumsum([0, *columns]), np.cumsum([0, *rows])
        self.order = [  # CtbAddrTsToRs and tile
            (y * sps.ctb_columns + x, (y0, x0))
            for y0, y1 in itertools.pairwise(y_edges)
            for x0, x1 in itertools.pairwise(x_edges)
            for y in range(y0, y1)
            for x in range(x0, x1)
        ]
        self.slice_address = 0
        self.ends: Contexts = {}
        self.above: tuple[Contexts, int] | None = None  # contexts after the second CTB of a row, slice address

    def segment(self, header: SliceHeader, count: int, choose: Chooser) -> bytes:
        """The NAL unit of a slice segment of `count` CTUs."""
        if not header.dependent:
            self.slice_address, self.header = header.address, header
        start = next(i for i, (address, _) in enumerate(self.order) if address == header.address)
        data = BitWriter()
        self.cabac = CabacWriter(data)
        self.choose = choose
        substreams = []
        for n in range(start, start + count):
            address, tile = self.order[n]
            new_tile = n == 0 or self.order[n - 1][1] != tile
            x, y = address % self.sps.ctb_columns, address // self.sps.ctb_columns
            new_row = self.pps.wavefront and x == tile[1]
            self._start_ctu(n == start, new_tile, new_row, header)
            self.tile = tile
            self._coding_tree(x << self.sps.log2_ctb, y << self.sps.log2_ctb, self.sps.log2_ctb, 0)
            if self.pps.wavefront and x == tile[1] + 1:
                self.above = (copy.deepcopy(self.cabac.contexts), self.slice_address)
            last = n == start + count - 1
            self.cabac.terminate(int(last))
            if not last:
                next_address, next_tile = self.order[n + 1]
                if next_tile != tile or (self.pps.wavefront and next_address % self.sps.ctb_columns == tile[1]):
                    self.cabac.terminate(1)
                    substreams.append(data.length // 8)
        self.ends = copy.deepcopy(self.cabac.contexts)
        return self._nal(header, data.to_bytes(), substreams)

    def _nal(self, header: SliceHeader, data: bytes, ends: list[int]) -> bytes:
        """The NAL unit; entry points count the emulation prevention bytes of their substreams (7.4.7.1)."""
        sizes = [end - start for start, end in zip([0, *ends], ends, strict=False)]
        entry_points = sizes
        while True:
            out = BitWriter()
            header.write(out, self.sps, self.pps, entry_points)
            head = out.to_bytes()
            self.slice_data_bytes = len(data)
            positions = [position - len(head) for position in escape(head + data)[1]]
            exact = [
                end - start + sum(start <= position < end for position in positions)
                for start, end in zip([0, *ends], ends, strict=False)
            ]
            if exact == entry_points:
                return nal_unit(header.nal_type, head + data, header.temporal_id)
            entry_points = exact

    def _start_ctu(self, first: bool, new_tile: bool, new_row: bool, header: SliceHeader) -> None:
        """9.3.1: contexts at the start of slice segments, tiles and, with wavefronts, CTB rows."""
        qp = self.pps.init_qp + self.header.qp_delta
        fresh = initial_contexts(self.header.init_type(), qp)
        if new_tile:
            self.above = None
        if first or new_tile or new_row:
            self.cabac.start()
            if new_row and not new_tile and self.above and self.above[1] == self.slice_address:
                fresh = copy.deepcopy(self.above[0])
            elif first and header.dependent and not new_tile and not new_row:
                fresh = copy.deepcopy(self.ends)
            self.cabac.contexts = fresh
        self.qp_delta_coded = False

    def _available(self, x: int, y: int) -> bool:
        """6.4.1 for a neighbour to the left or above, which precedes in decoding order where it is available."""
        return x >= 0 and y >= 0 and self.region[y >> 3, x >> 3] == self._region()

    def _region(self) -> int:
        return (self.slice_address << 16) + (int(self.tile[0]) << 8) + int(self.tile[1])

    def _coding_tree(self, x: int, y: int, log2: int, depth: int) -> None:
        sps = self.sps
        inside = x + (1 << log2) <= sps.width and y + (1 << log2) <= sps.height
        chosen: CodingUnit | Literal["split"] = "split"
        if inside:
            chosen = self.choose(x, y, log2, log2 > sps.log2_min_cb)
        if inside and log2 > sps.log2_min_cb:
            neighbours = [(x - 1, y), (x, y - 1)]
            context = sum(self._available(nx, ny) and self.depth[ny >> 3, nx >> 3] > depth for nx, ny in neighbours)
            self.cabac.encode("split_cu_flag", int(chosen == "split"), context)
        if self.pps.cu_qp_delta_depth is not None and log2 >= sps.log2_ctb - self.pps.cu_qp_delta_depth:
            self.qp_delta_coded = False
        if isinstance(chosen, CodingUnit):
            self._coding_unit(chosen, x, y, log2, depth)
            return
        half = 1 << log2 - 1
        for dy in (0, half):
            for dx in (0, half):
                if x + dx < sps.width and y + dy < sps.height:
                    self._coding_tree(x + dx, y + dy, log2 - 1, depth + 1)

    def _coding_unit(self, unit: CodingUnit, x: int, y: int, log2: int, depth: int) -> None:
        cabac = self.cabac
        if self.pps.transquant_bypass:
            cabac.encode("cu_transquant_bypass_flag", int(unit.bypass))
        if self.header.slice_type != I_SLICE:
            neighbours = [(x - 1, y), (x, y - 1)]
            context = sum(self._available(nx, ny) and self.skipped[ny >> 3, nx >> 3] for nx, ny in neighbours)
            cabac.encode("cu_skip_flag", int(unit.mode == "skip"), int(context))
        area = np.s_[y >> 3 : (y >> 3) + (1 << log2 - 3), x >> 3 : (x >> 3) + (1 << log2 - 3)]
        self.skipped[area], self.depth[area], self.region[area] = unit.mode == "skip", depth, self._region()
        if unit.mode == "skip":
            self._merge_idx(unit.units[0].merge_idx or 0)
            return
        if self.header.slice_type != I_SLICE:
            cabac.encode("pred_mode_flag", int(unit.mode == "pcm"))
        if unit.mode == "pcm":
            self._pcm(unit, log2)
            return
        self._part_mode(unit.part, log2)
        for part, prediction in zip(PARTS[unit.part], unit.units, strict=True):
            self._prediction_unit(prediction, part[2] << log2 >> 2, part[3] << log2 >> 2, depth)
        merged = unit.part == "2Nx2N" and unit.units[0].merge_idx is not None
        if not merged:
            cabac.encode("rqt_root_cbf", int(unit.levels is not None))
        if unit.levels is not None:
            self._transform_tree(unit, log2, 0)
        elif merged:
            raise ValueError("a merged 2Nx2N coding unit without residual is a skipped one")

    def _pcm(self, unit: CodingUnit, log2: int) -> None:
        if log2 == self.sps.log2_min_cb:
            self.cabac.encode("part_mode", 1)
        self.cabac.terminate(1)  # pcm_flag, pcm_alignment_zero_bits
        for plane in unit.samples:
            if self.sps.pcm_bits == 8:
                self.cabac.out.data(plane.astype(np.uint8).tobytes())
                continue
            for sample in plane.ravel():
                self.cabac.out.u(int(sample), self.sps.pcm_bits)
        if self.cabac.out.length % 8:
            raise ValueError("pcm_sample() does not end at a byte")
        self.cabac.start()

    def _part_mode(self, part: str, log2: int) -> None:
        smallest = log2 == self.sps.log2_min_cb
        self.cabac.encode("part_mode", int(part == "2Nx2N"), 0)
        if part == "2Nx2N":
            return
        horizontal = part.startswith("2N")
        self.cabac.encode("part_mode", int(horizontal), 1)
        if smallest and log2 > 3 and not horizontal:
            self.cabac.encode("part_mode", int(part == "Nx2N"), 2)
        elif self.sps.amp and not smallest:
            symmetric = part in ("2NxN", "Nx2N")
            self.cabac.encode("part_mode", int(symmetric), 3)
            if not symmetric:
                self.cabac.bypass(int(part in ("2NxnD", "nRx2N")))

    def _merge_idx(self, value: int) -> None:
        for n in range(self.header.max_merge - 1):
            if n == 0:
                self.cabac.encode("merge_idx", int(value > 0))
            else:
                self.cabac.bypass(int(value > n))
            if value <= n:
                break

    def _prediction_unit(self, unit: Unit, width: int, height: int, depth: int) -> None:
        cabac, header = self.cabac, self.header
        cabac.encode("merge_flag", int(unit.merge_idx is not None))
        if unit.merge_idx is not None:
            self._merge_idx(unit.merge_idx)
            return
        both = len(unit.lists) == 2
        if header.slice_type == B_SLICE:
            if width + height != 12:
                cabac.encode("inter_pred_idc", int(both), depth)
            if not both:
                cabac.encode("inter_pred_idc", unit.lists[0], 4)
        for x in unit.lists:
            for n in range(header.num_ref_idx[x] - 1):
                more = int(unit.ref_idx[x] > n)
                if n < 2:
                    cabac.encode("ref_idx", more, n)
                else:
                    cabac.bypass(more)
                if not more:
                    break
            if not (x == 1 and both and header.mvd_l1_zero):
                self._mvd(unit.mvd[x])
            cabac.encode("mvp_flag", unit.mvp[x])

    def _mvd(self, mvd: tuple[int, int]) -> None:
        sizes = [abs(value) for value in mvd]
        for size in sizes:
            self.cabac.encode("abs_mvd_greater0_flag", int(size > 0))
        for size in sizes:
            if size > 0:
                self.cabac.encode("abs_mvd_greater1_flag", int(size > 1))
        for value, size in zip(mvd, sizes, strict=True):
            if size > 1:
                self.cabac.exp_golomb(size - 2, 1)
            if size > 0:
                self.cabac.bypass(int(value < 0))

    def _transform_tree(self, unit: CodingUnit, log2: int, depth: int) -> None:
        sps, cabac = self.sps, self.cabac
        assert unit.levels is not None
        may_split = sps.log2_min_tb < log2 <= sps.log2_max_tb and depth < sps.transform_depth_inter
        by_part = sps.transform_depth_inter == 0 and unit.part != "2Nx2N" and depth == 0
        if may_split:
            choice = unit.levels(depth, True)
            cabac.encode("split_transform_flag", int(choice == "split"), 5 - log2)
        elif log2 > sps.log2_max_tb or by_part:
            choice = "split"
        else:
            choice = unit.levels(depth, False)
        if log2 > 2 and depth == 0:
            cabac.encode("cbf_chroma", 0, depth)
            cabac.encode("cbf_chroma", 0, depth)
        if choice == "split":
            for _ in range(4):
                self._transform_tree(unit, log2 - 1, depth + 1)
            return
        if depth:
            cabac.encode("cbf_luma", int(choice != 0), 0)
        elif choice == 0:
            raise ValueError("cbf_luma is inferred to be 1 here")
        if choice:
            self._transform_unit(unit, log2, int(choice))

    def _transform_unit(self, unit: CodingUnit, log2: int, level: int) -> None:
        """cu_qp_delta and residual_coding of a block whose only coefficient is the one at (0, 0)."""
        cabac = self.cabac
        if self.pps.cu_qp_delta_depth is not None and not self.qp_delta_coded:
            self.qp_delta_coded = True
            size = abs(unit.qp_delta)
            for n in range(min(size, 5)):
                cabac.encode("cu_qp_delta_abs", 1, int(n > 0))
            if size < 5:
                cabac.encode("cu_qp_delta_abs", 0, int(size > 0))
            else:
                cabac.exp_golomb(size - 5, 0)
            if size:
                cabac.bypass(int(unit.qp_delta < 0))
        for name in ("last_sig_coeff_x_prefix", "last_sig_coeff_y_prefix"):
            cabac.encode(name, 0, 3 * (log2 - 2) + (log2 - 1 >> 2))
        size = abs(level)
        cabac.encode("coeff_abs_level_greater1_flag", int(size > 1), 1)
        if size > 1:
            cabac.encode("coeff_abs_level_greater2_flag", int(size > 2))
        cabac.bypass(int(level < 0))
        if size > 2:
            remaining = size - 3  # coeff_abs_level_remaining with cRiceParam 0 (9.3.3.11)
            for _ in range(min(remaining, 4)):
                cabac.bypass(1)
            if remaining < 4:
                cabac.bypass(0)
            else:
                cabac.exp_golomb(remaining - 4, 1)
