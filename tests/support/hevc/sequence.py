"""Hand-made sequences, NAL unit by NAL unit, of one-slice pictures."""

from dataclasses import replace
from typing import Any

import numpy as np

from support.hevc.bits import nal_unit
from support.hevc.parameter_sets import EOS_NUT, Pps, ReferencePictureSet, Sps
from support.hevc.random_stream import noise_unit
from support.hevc.slice_data import Chooser, CodingUnit, PictureWriter, Unit
from support.hevc.slice_header import I_SLICE, IDR_N_LP, P_SLICE, TRAIL_R, SliceHeader


def moved(x: int, y: int, log2: int, may_split: bool) -> CodingUnit:
    """Every coding unit moves by its position, so that no two pictures and no two vectors are the same."""
    return CodingUnit("inter", units=[Unit(mvd=((x // 4 + 5, y // 4 - 7), (0, 0)))])


class Sequence:
    """`nals` holds the NAL units; `pictures` the index in it of each picture's slice; `bytes()` is the stream."""

    def __init__(self, sps: Sps | None = None, pps: Pps | None = None, seed: int = 0) -> None:
        self.sps, self.pps = sps or Sps(), pps or Pps()
        self.nals = [self.sps.vps(), self.sps.nal(), self.pps.nal()]
        self.pictures: list[int] = []
        self.slice_data_bytes: list[int] = []
        self._rng = np.random.default_rng(seed)

    def bytes(self) -> bytes:
        return b"".join(self.nals)

    def set_sps(self, sps: Sps) -> None:
        self.sps = sps
        self.nals += [sps.vps(), sps.nal()]

    def set_pps(self, **fields: Any) -> None:
        """Sends the PPS again, under the same id, with changes."""
        self.pps = replace(self.pps, **fields)
        self.nals.append(self.pps.nal())

    def end_of_sequence(self) -> None:
        self.nals.append(nal_unit(EOS_NUT, b""))

    def noise(self, poc: int, nal_type: int = IDR_N_LP, **fields: Any) -> None:
        """An intra picture of PCM noise."""

        def choose(x: int, y: int, log2: int, may_split: bool) -> CodingUnit:
            return noise_unit(self._rng, log2)

        self._add(SliceHeader(nal_type, I_SLICE, poc, **fields), choose)

    def inter(
        self, poc: int, *references: int, choose: Chooser = moved, nal_type: int = TRAIL_R, keep: tuple[int, ...] = (),
        **fields: Any,
    ) -> None:  # fmt: skip
        """A P (or B) picture whose short-term references are the POCs `references`; `keep` stay in the DPB only."""
        deltas = [(p - poc, True) for p in references] + [(p - poc, False) for p in keep]
        rps = ReferencePictureSet(
            sorted((d for d in deltas if d[0] < 0), reverse=True), sorted(d for d in deltas if d[0] > 0)
        )
        fields = {"slice_type": P_SLICE, "rps": rps, **fields}
        self._add(SliceHeader(nal_type, poc=poc, **fields), choose)

    def _add(self, header: SliceHeader, choose: Chooser) -> None:
        writer = PictureWriter(self.sps, self.pps)
        self.pictures.append(len(self.nals))
        self.nals.append(writer.segment(header, self.sps.ctb_columns * self.sps.ctb_rows, choose))
        self.slice_data_bytes.append(writer.slice_data_bytes)
