"""Macroblocks of H.264 in CAVLC (7.3.4, 7.3.5), of slices so short that no neighbour predicts anything.

Every slice is one macroblock, or one pair of an MBAFF frame. So predicted vectors are zero, or those of the macroblock
above in the same pair, and the writer knows every vector without the derivations of a decoder.
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from support.h264.syntax import B_SLICE, I_SLICE, Sps
from support.hevc.bits import BitWriter

Vector = tuple[int, int]

# codeNum of coded_block_pattern without chroma, in inter macroblocks (Table 9-4): with chroma planes of their own kind
# in the stream, and without
PATTERNS_420 = {0: 0, 1: 2, 2: 3, 4: 4, 8: 5, 3: 7, 5: 8, 10: 9, 12: 10, 15: 11}
PATTERNS_OTHER = {0: 0, 1: 1, 2: 2, 4: 3, 8: 4, 3: 5, 5: 6, 10: 7, 12: 8, 15: 9}


@dataclass
class Macroblock:
    """What is written of a macroblock. `kind`: "skip", "pcm", "intra" (16x16, DC prediction), or a partitioning."""

    kind: str = "16x16"
    lists: tuple[int, ...] = (0,)  # of the whole macroblock; B slices know "16x16" only
    ref_idx: list[tuple[int, int]] = field(default_factory=lambda: [(0, 0)])  # by partition, then list
    mvd: list[tuple[Vector, Vector]] = field(default_factory=lambda: [((0, 0), (0, 0))])
    samples: NDArray[np.uint8] | None = None  # luma of "pcm"
    pattern: int = 0  # coded_block_pattern of luma
    levels: NDArray[np.int64] | None = None  # (planes, 16) the one level of each block, or 0
    positions: NDArray[np.int64] | None = None  # (planes, 16) and where it is in the scan
    dc: tuple[int, int] = (0, 0)  # of "intra": level and position

    @property
    def partitions(self) -> int:
        return 2 if self.kind in ("16x8", "8x16") else 1


class MacroblockWriter:
    def __init__(self, out: BitWriter, sps: Sps, slice_type: int, num_ref_idx: tuple[int, ...]) -> None:
        self.out, self.sps, self.slice_type, self.num_ref_idx = out, sps, slice_type, num_ref_idx

    def write(self, mb: Macroblock, field_references: bool = False) -> None:
        """Writes all from mb_type on, unless the macroblock is skipped. `field_references`: twice as many."""
        out = self.out
        first_intra = {I_SLICE: 0, B_SLICE: 23}.get(self.slice_type, 5)
        planes = 3 if self.sps.chroma_format_idc == 3 else 1
        if mb.kind == "pcm":
            out.ue(first_intra + 25)
            out.align_zero()
            assert mb.samples is not None
            chroma = {0: 0, 1: 128, 3: 512}[self.sps.chroma_format_idc]
            out.data(mb.samples.tobytes() + b"\x80" * chroma)
            return
        if mb.kind == "intra":
            out.ue(first_intra + 1 + 2)  # Intra_16x16, DC, nothing coded but the DC level
            if self.sps.chroma_format_idc == 1:
                out.ue(0)  # intra_chroma_pred_mode
            out.se(0)  # mb_qp_delta
            for plane in range(planes):
                self._block(mb.dc[0] if plane == 0 else 0, mb.dc[1])
            return
        if self.slice_type == B_SLICE:
            out.ue({(0,): 1, (1,): 2, (0, 1): 3}[mb.lists])
        else:
            out.ue({"16x16": 0, "16x8": 1, "8x16": 2}[mb.kind])
        for side in mb.lists:
            for part in range(mb.partitions):
                self._ref_idx(mb.ref_idx[part][side], self.num_ref_idx[side] << field_references)
        for side in mb.lists:
            for part in range(mb.partitions):
                for value in mb.mvd[part][side]:
                    out.se(value)
        out.ue((PATTERNS_420 if self.sps.chroma_format_idc == 1 else PATTERNS_OTHER)[mb.pattern])
        if mb.pattern:
            out.se(0)  # mb_qp_delta
            assert mb.levels is not None and mb.positions is not None
            for plane in range(planes):
                for block in range(16):
                    if mb.pattern >> block // 4 & 1:
                        self._block(int(mb.levels[plane, block]), int(mb.positions[plane, block]))

    def _ref_idx(self, value: int, count: int) -> None:
        if count == 2:
            self.out.flag(value == 0)
        elif count > 2:
            self.out.ue(value)

    def _block(self, level: int, position: int) -> None:
        """residual_block_cavlc() of 16 coefficients with one of them at most, for nC below 2."""
        out = self.out
        if level == 0:
            out.flag(True)
            return
        if abs(level) == 1:
            out.u(1, 2)  # one coefficient, a trailing one
            out.flag(level < 0)
        else:
            out.u(5, 6)  # one coefficient, no trailing one
            out.u(1, 2 * (abs(level) - 2) + (level < 0) + 1)  # level_prefix
        # total_zeros (Table 9-7, one coefficient)
        if position == 0:
            out.flag(True)
        elif position == 15:
            out.u(1, 9)
        else:
            out.u(2 + position % 2, (position + 1) // 2 + 2)
