"""NAL units, parameter sets and slice headers of H.264 (7.3.1 to 7.3.3), as far as this writer needs them."""

from dataclasses import dataclass, field

from support.hevc.bits import BitWriter, escape

SLICE, IDR, SPS, PPS = 1, 5, 7, 8  # nal_unit_type
P_SLICE, B_SLICE, I_SLICE = range(3)  # slice_type
FRAME, TOP, BOTTOM = range(3)  # structures, as in picture.field
FIELDS = (TOP, BOTTOM)

Modification = tuple[int, int]  # modification_of_pic_nums_idc and what follows it
Marking = tuple[int, ...]  # memory_management_control_operation and what follows it
Weight = tuple[int, int] | None  # weight and offset of luma


def nal_unit(nal_type: int, ref_idc: int, rbsp: bytes) -> bytes:
    """A NAL unit with its start code."""
    return b"\0\0\0\1" + bytes([ref_idc << 5 | nal_type]) + escape(rbsp)[0]


@dataclass
class Sps:
    width_in_mbs: int = 4
    height_in_mbs: int = 4  # of frames
    profile_idc: int = 100
    chroma_format_idc: int = 1
    log2_max_frame_num: int = 4
    poc_type: int = 0
    log2_max_poc_lsb: int = 6
    offset_for_non_ref_pic: int = 0
    offset_for_top_to_bottom: int = 0
    offsets_for_ref_frame: list[int] = field(default_factory=list)
    max_num_ref_frames: int = 4
    gaps_allowed: bool = False
    interlaced: bool = False
    mbaff: bool = False
    num_reorder: int = 0

    @property
    def max_frame_num(self) -> int:
        return 1 << self.log2_max_frame_num

    def nal(self) -> bytes:
        out = BitWriter()
        out.u(self.profile_idc, 8)
        out.u(0, 8)
        out.u(51, 8)  # level_idc
        out.ue(0)
        if self.profile_idc in (44, 100, 110, 122, 244):
            out.ue(self.chroma_format_idc)
            if self.chroma_format_idc == 3:
                out.flag(False)  # separate_colour_plane_flag
            out.ue(0)
            out.ue(0)
            out.u(0, 2)  # no transform bypass, no scaling matrix
        out.ue(self.log2_max_frame_num - 4)
        out.ue(self.poc_type)
        if self.poc_type == 0:
            out.ue(self.log2_max_poc_lsb - 4)
        elif self.poc_type == 1:
            out.flag(False)  # delta_pic_order_always_zero_flag
            out.se(self.offset_for_non_ref_pic)
            out.se(self.offset_for_top_to_bottom)
            out.ue(len(self.offsets_for_ref_frame))
            for offset in self.offsets_for_ref_frame:
                out.se(offset)
        out.ue(self.max_num_ref_frames)
        out.flag(self.gaps_allowed)
        out.ue(self.width_in_mbs - 1)
        out.ue(self.height_in_mbs // (2 if self.interlaced else 1) - 1)
        out.flag(not self.interlaced)
        if self.interlaced:
            out.flag(self.mbaff)
        out.flag(True)  # direct_8x8_inference_flag
        out.flag(False)  # no cropping
        out.flag(True)  # VUI, with bitstream_restriction alone
        out.u(0, 8)
        out.flag(True)
        out.flag(True)
        for value in (0, 0, 16, 16, self.num_reorder, 16):
            out.ue(value)
        out.trailing()
        return nal_unit(SPS, 3, out.to_bytes())


@dataclass
class Pps:
    weighted_pred: bool = False
    weighted_bipred_idc: int = 0
    redundant_pic_cnt_present: bool = False

    def nal(self) -> bytes:
        out = BitWriter()
        out.ue(0)
        out.ue(0)
        out.flag(False)  # CAVLC
        out.flag(True)  # bottom_field_pic_order_in_frame_present_flag
        out.ue(0)
        out.ue(0)
        out.ue(0)
        out.flag(self.weighted_pred)
        out.u(self.weighted_bipred_idc, 2)
        out.se(0)
        out.se(0)
        out.se(0)
        out.flag(True)  # deblocking_filter_control_present_flag
        out.flag(False)
        out.flag(self.redundant_pic_cnt_present)
        out.trailing()
        return nal_unit(PPS, 3, out.to_bytes())


@dataclass
class SliceHeader:
    slice_type: int = I_SLICE
    nal_type: int = SLICE
    ref_idc: int = 1
    first_mb: int = 0
    frame_num: int = 0
    structure: int = FRAME
    idr_pic_id: int = 0
    poc_lsb: int = 0
    deltas: tuple[int, int] = (0, 0)  # type 0: (unused, delta_pic_order_cnt_bottom); type 1: delta_pic_order_cnt
    redundant_pic_cnt: int = 0
    num_ref_idx: tuple[int, ...] = ()  # by list
    modifications: tuple[list[Modification], ...] = ([], [])
    log2_weight_denom: int = 0
    weights: tuple[list[Weight], ...] | None = None  # explicit ones, by list
    marking: list[Marking] | None = None  # None: the sliding window, or of an IDR picture a short-term one
    long_term_reference: bool = False  # of an IDR picture

    def write(self, out: BitWriter, sps: Sps, pps: Pps) -> None:
        """Writes the header. The QP is 26, loop filters are off, and direct prediction is spatial."""
        out.ue(self.first_mb)
        out.ue(self.slice_type)
        out.ue(0)
        out.u(self.frame_num, sps.log2_max_frame_num)
        if sps.interlaced:
            out.flag(self.structure != FRAME)
            if self.structure != FRAME:
                out.flag(self.structure == BOTTOM)
        if self.nal_type == IDR:
            out.ue(self.idr_pic_id)
        if sps.poc_type == 0:
            out.u(self.poc_lsb, sps.log2_max_poc_lsb)
        elif sps.poc_type == 1:
            out.se(self.deltas[0])
        if sps.poc_type < 2 and self.structure == FRAME:
            out.se(self.deltas[1])
        if pps.redundant_pic_cnt_present:
            out.ue(self.redundant_pic_cnt)
        if self.slice_type == B_SLICE:
            out.flag(True)  # direct_spatial_mv_pred_flag
        if self.slice_type != I_SLICE:
            out.flag(True)  # num_ref_idx_active_override_flag
            for count in self.num_ref_idx:
                out.ue(count - 1)
            for modifications in self.modifications[: len(self.num_ref_idx)]:
                self._write_modifications(out, modifications)
        if self.weights is not None:
            self._write_weights(out, sps, self.weights)
        if self.ref_idc:
            self._write_marking(out)
        out.se(0)  # slice_qp_delta
        out.ue(1)  # disable_deblocking_filter_idc

    def _write_modifications(self, out: BitWriter, modifications: list[Modification]) -> None:
        out.flag(bool(modifications))
        for idc, value in modifications:
            out.ue(idc)
            out.ue(value)
        if modifications:
            out.ue(3)

    def _write_weights(self, out: BitWriter, sps: Sps, weights: tuple[list[Weight], ...]) -> None:
        out.ue(self.log2_weight_denom)
        if sps.chroma_format_idc:
            out.ue(0)
        for weight in (weight for side in weights for weight in side):
            out.flag(weight is not None)
            for value in weight or ():
                out.se(value)
            if sps.chroma_format_idc:
                out.flag(False)

    def _write_marking(self, out: BitWriter) -> None:
        if self.nal_type == IDR:
            out.flag(False)  # no_output_of_prior_pics_flag
            out.flag(self.long_term_reference)
            return
        out.flag(self.marking is not None)
        if self.marking is not None:
            for value in (value for operation in [*self.marking, (0,)] for value in operation):
                out.ue(value)
