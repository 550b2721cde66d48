"""Video, sequence and picture parameter sets (7.3.2), with the fields that the tests vary."""

from dataclasses import dataclass, field

from support.hevc.bits import BitWriter, nal_unit

VPS_NUT, SPS_NUT, PPS_NUT, AUD_NUT, EOS_NUT, EOB_NUT = 32, 33, 34, 35, 36, 37


@dataclass
class ReferencePictureSet:
    """A short-term RPS: (delta POC, used_by_curr_pic) of earlier (nearest first) and later pictures (nearest first).

    `predicted` = (delta_idx, delta_rps) writes it by inter RPS prediction (7.4.8) from an earlier set of the list.
    """

    before: list[tuple[int, bool]] = field(default_factory=list)
    after: list[tuple[int, bool]] = field(default_factory=list)
    predicted: tuple[int, int] | None = None

    def write(self, out: BitWriter, index: int, sets: list["ReferencePictureSet"]) -> None:
        if index:
            out.flag(self.predicted is not None)
        if self.predicted is not None:
            self._write_predicted(out, index, sets)
            return
        out.ue(len(self.before))
        out.ue(len(self.after))
        for entries, sign in ((self.before, -1), (self.after, 1)):
            last = 0
            for delta, used in entries:
                out.ue(sign * (delta - last) - 1)
                out.flag(used)
                last = delta

    def _write_predicted(self, out: BitWriter, index: int, sets: list["ReferencePictureSet"]) -> None:
        assert self.predicted is not None
        delta_idx, delta_rps = self.predicted
        if index == len(sets):  # in a slice header
            out.ue(delta_idx - 1)
        elif delta_idx != 1:
            raise ValueError("a set of the SPS is predicted from the one before it")
        out.flag(delta_rps < 0)
        out.ue(abs(delta_rps) - 1)
        source = sets[index - delta_idx]
        wanted = dict(self.before + self.after)
        for delta in [delta for delta, _ in source.before + source.after] + [0]:
            used = wanted.pop(delta + delta_rps, None)
            out.flag(bool(used))
            if not used:
                out.flag(used is not None)  # use_delta_flag
        if wanted:
            raise ValueError(f"{sorted(wanted)} cannot be predicted")


@dataclass
class Sps:
    width: int = 64
    height: int = 64
    sps_id: int = 0
    window: tuple[int, int, int, int] | None = None  # left, right, top, bottom, in chroma units
    poc_lsb_bits: int = 8
    sub_layers: int = 1
    max_dec_pic_buffering: int = 6
    num_reorder: int = 0
    max_latency_plus1: int = 0
    log2_min_cb: int = 3
    log2_ctb: int = 4
    log2_min_tb: int = 2
    log2_max_tb: int = 4
    transform_depth_inter: int = 0
    amp: bool = False
    pcm_bits: int = 8
    rps: list[ReferencePictureSet] = field(default_factory=list)
    long_term: list[tuple[int, bool]] | None = None  # (POC LSBs, used_by_curr_pic); None: no long-term pictures
    temporal_mvp: bool = True
    range_extension: tuple[int, ...] = ()  # its nine flags (7.3.2.2.2)
    palette: bool = False  # a screen content coding extension with palette mode

    @property
    def ctb_columns(self) -> int:
        return -(-self.width // (1 << self.log2_ctb))

    @property
    def ctb_rows(self) -> int:
        return -(-self.height // (1 << self.log2_ctb))

    def rbsp(self) -> bytes:
        out = BitWriter()
        out.u(0, 4)  # sps_video_parameter_set_id
        out.u(self.sub_layers - 1, 3)
        out.flag(True)  # sps_temporal_id_nesting_flag
        write_profile_tier_level(out, self.sub_layers)
        out.ue(self.sps_id)
        out.ue(1)  # chroma_format_idc: 4:2:0
        out.ue(self.width)
        out.ue(self.height)
        out.flag(self.window is not None)
        for value in self.window or ():
            out.ue(value)
        out.ue(0)  # bit_depth_luma_minus8
        out.ue(0)  # bit_depth_chroma_minus8
        out.ue(self.poc_lsb_bits - 4)
        write_ordering_info(out, self.max_dec_pic_buffering, self.num_reorder, self.max_latency_plus1)
        out.ue(self.log2_min_cb - 3)
        out.ue(self.log2_ctb - self.log2_min_cb)
        out.ue(self.log2_min_tb - 2)
        out.ue(self.log2_max_tb - self.log2_min_tb)
        out.ue(self.transform_depth_inter)
        out.ue(0)  # max_transform_hierarchy_depth_intra
        out.flag(False)  # scaling_list_enabled_flag
        out.flag(self.amp)
        out.flag(False)  # sample_adaptive_offset_enabled_flag
        out.flag(True)  # pcm_enabled_flag
        out.u(self.pcm_bits - 1, 4)
        out.u(self.pcm_bits - 1, 4)
        out.ue(0)  # log2_min_pcm_luma_coding_block_size_minus3
        out.ue(min(self.log2_ctb, 5) - 3)  # log2_diff_max_min_pcm_luma_coding_block_size
        out.flag(True)  # pcm_loop_filter_disabled_flag
        out.ue(len(self.rps))
        for index, rps in enumerate(self.rps):
            rps.write(out, index, self.rps[: index + 1])
        out.flag(self.long_term is not None)
        if self.long_term is not None:
            out.ue(len(self.long_term))
            for lsb, used in self.long_term:
                out.u(lsb, self.poc_lsb_bits)
                out.flag(used)
        out.flag(self.temporal_mvp)
        out.flag(False)  # strong_intra_smoothing_enabled_flag
        out.flag(False)  # vui_parameters_present_flag
        out.flag(bool(self.range_extension) or self.palette)
        if self.range_extension or self.palette:
            out.flag(bool(self.range_extension))
            out.u(0, 2)  # sps_multilayer_extension_flag, sps_3d_extension_flag
            out.flag(self.palette)
            out.u(0, 4)
            for value in self.range_extension:
                out.u(value, 1)
            if self.palette:
                out.u(0b01, 2)  # sps_curr_pic_ref_enabled_flag, palette_mode_enabled_flag
                out.ue(31)  # palette_max_size
                out.ue(32)  # delta_palette_max_predictor_size
                out.u(0, 4)  # no initializers, no motion vector resolution control, intra boundary filter on
        out.trailing()
        return out.to_bytes()

    def nal(self) -> bytes:
        return nal_unit(SPS_NUT, self.rbsp())

    def vps(self) -> bytes:
        """A video parameter set that goes with this sequence parameter set."""
        out = BitWriter()
        out.u(0, 4)  # vps_video_parameter_set_id
        out.u(3, 2)  # vps_base_layer_internal_flag, vps_base_layer_available_flag
        out.u(0, 6)  # vps_max_layers_minus1
        out.u(self.sub_layers - 1, 3)
        out.flag(True)  # vps_temporal_id_nesting_flag
        out.u(0xFFFF, 16)
        write_profile_tier_level(out, self.sub_layers)
        write_ordering_info(out, self.max_dec_pic_buffering, self.num_reorder, self.max_latency_plus1)
        out.u(0, 6)  # vps_max_layer_id
        out.ue(0)  # vps_num_layer_sets_minus1
        out.flag(False)  # vps_timing_info_present_flag
        out.flag(False)  # vps_extension_flag
        out.trailing()
        return nal_unit(VPS_NUT, out.to_bytes())


@dataclass
class Pps:
    pps_id: int = 0
    sps_id: int = 0
    dependent_slices: bool = False
    output_flag_present: bool = False
    extra_slice_header_bits: int = 0
    cabac_init_present: bool = False
    num_ref_idx_default: tuple[int, int] = (1, 1)
    init_qp: int = 26
    cu_qp_delta_depth: int | None = None  # diff_cu_qp_delta_depth; None: no CU QP deltas
    weighted_pred: bool = False
    weighted_bipred: bool = False
    transquant_bypass: bool = False
    tiles: tuple[list[int], list[int]] | None = None  # column widths and row heights, in CTBs
    wavefront: bool = False
    lists_modification_present: bool = False
    log2_parallel_merge_level: int = 2
    header_extension_present: bool = False

    def rbsp(self) -> bytes:
        out = BitWriter()
        out.ue(self.pps_id)
        out.ue(self.sps_id)
        out.flag(self.dependent_slices)
        out.flag(self.output_flag_present)
        out.u(self.extra_slice_header_bits, 3)
        out.flag(False)  # sign_data_hiding_enabled_flag
        out.flag(self.cabac_init_present)
        out.ue(self.num_ref_idx_default[0] - 1)
        out.ue(self.num_ref_idx_default[1] - 1)
        out.se(self.init_qp - 26)
        out.flag(False)  # constrained_intra_pred_flag
        out.flag(False)  # transform_skip_enabled_flag
        out.flag(self.cu_qp_delta_depth is not None)
        if self.cu_qp_delta_depth is not None:
            out.ue(self.cu_qp_delta_depth)
        out.se(0)  # pps_cb_qp_offset
        out.se(0)  # pps_cr_qp_offset
        out.flag(False)  # pps_slice_chroma_qp_offsets_present_flag
        out.flag(self.weighted_pred)
        out.flag(self.weighted_bipred)
        out.flag(self.transquant_bypass)
        out.flag(self.tiles is not None)
        out.flag(self.wavefront)
        if self.tiles is not None:
            columns, rows = self.tiles
            out.ue(len(columns) - 1)
            out.ue(len(rows) - 1)
            out.flag(False)  # uniform_spacing_flag
            for size in columns[:-1] + rows[:-1]:
                out.ue(size - 1)
            out.flag(False)  # loop_filter_across_tiles_enabled_flag
        out.flag(False)  # pps_loop_filter_across_slices_enabled_flag
        out.flag(True)  # deblocking_filter_control_present_flag
        out.flag(False)  # deblocking_filter_override_enabled_flag
        out.flag(True)  # pps_deblocking_filter_disabled_flag
        out.flag(False)  # pps_scaling_list_data_present_flag
        out.flag(self.lists_modification_present)
        out.ue(self.log2_parallel_merge_level - 2)
        out.flag(self.header_extension_present)
        out.flag(False)  # pps_extension_present_flag
        out.trailing()
        return out.to_bytes()

    def nal(self) -> bytes:
        return nal_unit(PPS_NUT, self.rbsp())


def write_profile_tier_level(out: BitWriter, sub_layers: int) -> None:
    out.u(1, 8)  # general profile space 0, Main tier, Main profile
    out.u(0x60000000, 32)  # general_profile_compatibility_flags: Main and Main 10
    out.u(0x9, 4)  # progressive source, frame only
    out.u(0, 44)
    out.u(93, 8)  # general_level_idc: 3.1
    for _ in range(sub_layers - 1):
        out.u(0, 2)  # no sub-layer profile, no sub-layer level
    if sub_layers > 1:
        out.u(0, 2 * (9 - sub_layers))


def write_ordering_info(out: BitWriter, buffering: int, reorder: int, latency_plus1: int) -> None:
    """The values of the highest sub-layer, which count for all."""
    out.flag(False)  # sub_layer_ordering_info_present_flag
    out.ue(buffering - 1)
    out.ue(reorder)
    out.ue(latency_plus1)
