"""What a writer of H.264 streams knows of the frames that are shown."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from support.h264.macroblocks import Macroblock
from support.h264.references import Stored
from support.h264.syntax import FRAME


@dataclass
class Reference:
    """An entry of a reference list, with the order counts that it has while a picture is decoded."""

    stored: Stored
    structure: int
    poc: int
    field_pocs: dict[int, int]


class Expected:
    """What is shown of one frame: arrays by 4x4 block, and what the oracle must know."""

    def __init__(self, stored: Stored, epoch: int, shape: tuple[int, int], field_pocs: dict[int, int]) -> None:
        self.stored, self.epoch, self.field_pocs = stored, epoch, field_pocs  # epoch: grows where order counts restart
        self.output_poc = min(field_pocs.values())
        self.mbaff = False
        self.pred, self.field, self.known = np.zeros(shape, int), np.zeros(shape, int), np.ones(shape, bool)
        self.mv, self.ref_poc = np.zeros((*shape, 2, 2), int), np.zeros((*shape, 2), int)
        self.slice_data_bits = 0
        self.coded: list[tuple[int, int]] = []  # (structure or 3 for MBAFF, POC) of its coded pictures
        self.references: dict[int, Stored] = {}  # frames by POC
        self.field_references: dict[tuple[int, int], tuple[Stored, int]] = {}  # by field of the block, and POC
        self.pcm: list[tuple[int, int, int, NDArray[np.uint8]]] = []  # field, x and y in it, luma
        self.intra: list[tuple[int, int, int]] = []  # likewise, of macroblocks predicted by the middle of the range

    def place(self, structure: int, x: int, y: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Rows and columns of the 4x4 blocks of a macroblock, which counts in its frame or field."""
        rows = 4 * y + np.arange(4)
        if structure != FRAME:
            rows = 2 * rows + structure - 1
        return rows[:, None], 4 * x + np.arange(4)[None]

    def add(self, structure: int, x: int, y: int, mb: Macroblock, lists: list[list[Reference]]) -> None:
        """Enters a macroblock. Its vectors are those of `mb`, in units of its frame or field."""
        at = self.place(structure, x, y)
        self.field[at] = structure
        if mb.kind == "pcm" and mb.samples is not None:
            self.pcm.append((structure, 16 * x, 16 * y, mb.samples))
        elif mb.kind == "intra":
            self.intra.append((structure, 16 * x, 16 * y))
        else:
            for part, inside in enumerate(PARTS.get(mb.kind, PARTS["16x16"])):
                for side in mb.lists:
                    self._refer(structure, (at[0][inside[0]], at[1][:, inside[1]]), side, mb, part, lists)

    def add_unknown(self, structure: int, x: int, y: int, mb: Macroblock) -> None:
        """Enters a macroblock whose motion only a decoder derives."""
        at = self.place(structure, x, y)
        self.known[at] = False
        self.field[at] = structure
        if mb.samples is not None:
            self.pcm.append((structure, 16 * x, 16 * y, mb.samples))

    def _refer(
        self,
        structure: int,
        blocks: tuple[NDArray[np.int64], NDArray[np.int64]],
        side: int,
        mb: Macroblock,
        part: int,
        lists: list[list[Reference]],
    ) -> None:
        index, (x, y) = mb.ref_idx[part][side], mb.mvd[part][side]
        if structure != FRAME and self.mbaff:
            entry = lists[side][index // 2]
            field = 3 - structure if index % 2 else structure
            poc = entry.field_pocs[field]
        else:
            entry = lists[side][index]
            field, poc = entry.structure, entry.poc
        if field == FRAME:
            assert self.references.setdefault(poc, entry.stored) is entry.stored
        else:
            assert self.field_references.setdefault((structure, poc), (entry.stored, field)) == (entry.stored, field)
        self.pred[blocks] |= 1 << side
        self.mv[(*blocks, side)] = x, y * (1 if structure == FRAME else 2)
        self.ref_poc[(*blocks, side)] = poc


ALL = slice(None)
PARTS = {
    "16x16": [(ALL, ALL)],
    "16x8": [(slice(0, 2), ALL), (slice(2, 4), ALL)],
    "8x16": [(ALL, slice(0, 2)), (ALL, slice(2, 4))],
}  # of 4x4 blocks: rows, columns
