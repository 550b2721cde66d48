"""Slice segment headers (7.3.6), with every field that the parameter sets of this writer allow."""

from dataclasses import dataclass, field

from support.hevc.bits import BitWriter
from support.hevc.parameter_sets import Pps, ReferencePictureSet, Sps

TRAIL_N, TRAIL_R, TSA_N, TSA_R, STSA_N, STSA_R, RADL_N, RADL_R, RASL_N, RASL_R = range(10)
BLA_W_LP, BLA_W_RADL, BLA_N_LP, IDR_W_RADL, IDR_N_LP, CRA = range(16, 22)
B_SLICE, P_SLICE, I_SLICE = range(3)  # slice_type


@dataclass
class LongTermPicture:
    """One long-term entry of a slice header. `sps_index` (lt_idx_sps) or else `lsb` says which picture."""

    lsb: int = 0
    used: bool = True
    sps_index: int | None = None
    msb_cycle: int | None = None  # DeltaPocMsbCycleLt; None: delta_poc_msb_present_flag is 0


@dataclass
class SliceHeader:
    nal_type: int = TRAIL_R
    slice_type: int = I_SLICE
    poc: int = 0
    temporal_id: int = 0
    address: int = 0  # first CTB, raster scan
    dependent: bool = False
    no_output_of_prior_pics: bool = False
    pps_id: int = 0
    pic_output: bool = True
    rps: ReferencePictureSet = field(default_factory=ReferencePictureSet)
    rps_index: int | None = None  # short_term_ref_pic_set_idx; None: the set is written in the header
    long_term: list[LongTermPicture] = field(default_factory=list)  # those with sps_index first
    temporal_mvp: bool = True
    num_ref_idx: tuple[int, int] = (1, 1)
    list_entries: tuple[list[int] | None, list[int] | None] = (None, None)  # list_entry_l0, list_entry_l1
    mvd_l1_zero: bool = False
    cabac_init: bool = False
    collocated_from_l0: bool = True
    collocated_ref_idx: int = 0
    log2_weight_denom: int = 0
    weights: tuple[list[tuple[int, int] | None], list[tuple[int, int] | None]] = ([], [])  # luma (weight, offset)
    max_merge: int = 5
    qp_delta: int = 0
    extension: bytes = b""

    @property
    def is_irap(self) -> bool:
        return 16 <= self.nal_type <= 23

    @property
    def is_idr(self) -> bool:
        return self.nal_type in (IDR_W_RADL, IDR_N_LP)

    def lists(self) -> range:
        """The reference picture lists of this slice type."""
        return range({I_SLICE: 0, P_SLICE: 1, B_SLICE: 2}[self.slice_type])

    def total_references(self, sps: Sps) -> int:
        """NumPicTotalCurr (7-55)."""
        rps = self.rps if self.rps_index is None else sps.rps[self.rps_index]
        count = sum(used for _, used in rps.before + rps.after)
        for picture in self.long_term:
            sps_used = sps.long_term[picture.sps_index][1] if sps.long_term and picture.sps_index is not None else False
            count += sps_used if picture.sps_index is not None else picture.used
        return count

    def write(self, out: BitWriter, sps: Sps, pps: Pps, entry_points: list[int]) -> None:
        """Writes the header and its byte alignment. `entry_points`: sizes in bytes of all substreams but the last."""
        first = self.address == 0
        out.flag(first)
        if self.is_irap:
            out.flag(self.no_output_of_prior_pics)
        out.ue(self.pps_id)
        if not first:
            if pps.dependent_slices:
                out.flag(self.dependent)
            out.u(self.address, (sps.ctb_columns * sps.ctb_rows - 1).bit_length())
        if not self.dependent:
            self._write_independent(out, sps, pps)
        if pps.tiles or pps.wavefront:
            out.ue(len(entry_points))
            if entry_points:
                out.ue(31)  # offset_len_minus1: a fixed size, so that sizes do not move the data
                for size in entry_points:
                    out.u(size - 1, 32)
        if pps.header_extension_present:
            out.ue(len(self.extension))
            out.data(self.extension)
        out.trailing()

    def _write_independent(self, out: BitWriter, sps: Sps, pps: Pps) -> None:
        out.u((1 << pps.extra_slice_header_bits) - 1, pps.extra_slice_header_bits)  # slice_reserved_flag: ignored
        out.ue(self.slice_type)
        if pps.output_flag_present:
            out.flag(self.pic_output)
        if not self.is_idr:
            self._write_reference_pictures(out, sps)
        if self.slice_type != I_SLICE:
            self._write_inter(out, sps, pps)
        out.se(self.qp_delta)
        # No slice chroma QP offsets, no deblocking override; with the deblocking filter and SAO off,
        # slice_loop_filter_across_slices_enabled_flag is absent.

    def _write_reference_pictures(self, out: BitWriter, sps: Sps) -> None:
        out.u(self.poc & (1 << sps.poc_lsb_bits) - 1, sps.poc_lsb_bits)
        out.flag(self.rps_index is not None)
        if self.rps_index is None:
            self.rps.write(out, len(sps.rps), sps.rps)
        else:
            out.u(self.rps_index, (len(sps.rps) - 1).bit_length())
        if sps.long_term is not None:
            from_sps = sum(picture.sps_index is not None for picture in self.long_term)
            if sps.long_term:
                out.ue(from_sps)
            out.ue(len(self.long_term) - from_sps)
            cycle = 0  # DeltaPocMsbCycleLt so far, by (7-52)
            for i, picture in enumerate(self.long_term):
                if picture.sps_index is not None:
                    out.u(picture.sps_index, (len(sps.long_term) - 1).bit_length())
                else:
                    out.u(picture.lsb, sps.poc_lsb_bits)
                    out.flag(picture.used)
                out.flag(picture.msb_cycle is not None)
                if picture.msb_cycle is not None:
                    out.ue(picture.msb_cycle - (0 if i == from_sps else cycle))
                    cycle = picture.msb_cycle
                elif i == from_sps:
                    cycle = 0
        if sps.temporal_mvp:
            out.flag(self.temporal_mvp)

    def _write_inter(self, out: BitWriter, sps: Sps, pps: Pps) -> None:
        override = any(self.num_ref_idx[x] != pps.num_ref_idx_default[x] for x in self.lists())
        out.flag(override)
        if override:
            for x in self.lists():
                out.ue(self.num_ref_idx[x] - 1)
        total = self.total_references(sps)
        if pps.lists_modification_present and total > 1:
            for x in self.lists():
                entries = self.list_entries[x]
                out.flag(entries is not None)
                for entry in entries or ():
                    out.u(entry, (total - 1).bit_length())
        if self.slice_type == B_SLICE:
            out.flag(self.mvd_l1_zero)
        if pps.cabac_init_present:
            out.flag(self.cabac_init)
        if sps.temporal_mvp and self.temporal_mvp:
            if self.slice_type == B_SLICE:
                out.flag(self.collocated_from_l0)
            if self.num_ref_idx[0 if self.collocated_from_l0 else 1] > 1:
                out.ue(self.collocated_ref_idx)
        if self.is_weighted(pps):
            out.ue(self.log2_weight_denom)
            out.se(0)  # delta_chroma_log2_weight_denom
            for x in self.lists():
                weights = self.weights[x] or [None] * self.num_ref_idx[x]
                for weight in weights:
                    out.flag(weight is not None)  # luma_weight_flag
                for _ in weights:
                    out.flag(False)  # chroma_weight_flag
                for weight in weights:
                    if weight is not None:
                        out.se(weight[0] - (1 << self.log2_weight_denom))
                        out.se(weight[1])
        out.ue(5 - self.max_merge)

    def is_weighted(self, pps: Pps) -> bool:
        return pps.weighted_pred if self.slice_type == P_SLICE else pps.weighted_bipred and self.slice_type == B_SLICE

    def init_type(self) -> int:
        """initType of 9.3.2.2."""
        return 0 if self.slice_type == I_SLICE else (1 if (self.slice_type == P_SLICE) != self.cabac_init else 2)
