// Parameter sets, scaling lists and slice headers of H.264.
#include <doctest/doctest.h>

#include <array>
#include <cstdint>
#include <numeric>
#include <vector>

#include "bit_writer.h"
#include "common/error.h"
#include "h264/parameter_sets.h"
#include "h264/slice_header.h"

using namespace ove;
using namespace ove::h264;
using test::BitWriter;

namespace {

// As far as pic_order_cnt_type, of the High profile in 4:2:0 at 8 bits
BitWriter begin_sps(int profile, int level) {
  BitWriter w;
  w.u(8, static_cast<std::uint32_t>(profile)).u(8, 0).u(8, static_cast<std::uint32_t>(level)).ue(3);
  return w;
}

Sps parse(BitWriter& w) { return parse_sps(w.finish(), codec::Limits()); }

}  // namespace

TEST_CASE("H.264 sequence parameter set") {
  BitWriter w = begin_sps(77, 31);
  w.ue(1).ue(0).ue(2);        // frame_num of 5 bits, order counts of type 0 with 6 bits
  w.ue(3).u(1, 1);            // three references, with gaps
  w.ue(10).ue(8);             // 176 x 288
  w.u(1, 0).u(1, 1).u(1, 1);  // fields, MBAFF, direct_8x8_inference_flag
  w.u(1, 1).ue(1).ue(2).ue(0).ue(3);
  SUBCASE("without VUI") {
    w.u(1, 0);
    const Sps sps = parse(w);
    CHECK(sps.id == 3);
    CHECK(sps.log2_max_frame_num == 5);
    CHECK(sps.log2_max_poc_lsb == 6);
    CHECK(sps.max_num_ref_frames == 3);
    CHECK(sps.gaps_in_frame_num_allowed);
    CHECK(sps.width() == 176);
    CHECK(sps.height() == 288);
    CHECK(sps.mb_adaptive_frame_field);
    CHECK(sps.window == codec::Window{2, 0, 170, 276});
    CHECK(sps.max_dpb_frames() == 16);  // 18000 / 198
    CHECK(sps.max_reorder_frames() == 16);
  }
  SUBCASE("with VUI") {
    w.u(1, 1).u(1, 1).u(8, 255).u(32, 5).u(1, 0);          // Extended_SAR
    w.u(1, 1).u(4, 5).u(1, 1).u(24, 0x010101).u(1, 0);     // colour
    w.u(1, 1).u(32, 1001).u(32, 60000).u(1, 1);            // timing
    w.u(1, 1).ue(0).u(8, 0).ue(7).ue(7).u(1, 0).u(20, 0);  // nal_hrd_parameters()
    w.u(1, 0).u(1, 0).u(1, 1);
    w.u(1, 1).u(1, 1).ue(0).ue(0).ue(9).ue(9).ue(2).ue(5);
    const Sps sps = parse(w);
    CHECK(sps.vui.num_units_in_tick == 1001);
    CHECK(sps.vui.time_scale == 60000);
    CHECK(sps.max_reorder_frames() == 2);
    CHECK(sps.max_dpb_frames() == 5);
  }
}

TEST_CASE("H.264 sequence parameter sets that are refused") {
  const auto size = [](std::uint32_t width, std::uint32_t height) {
    BitWriter w = begin_sps(77, 31);
    w.ue(0).ue(2).ue(1).u(1, 0).ue(width).ue(height).u(1, 1).u(1, 1).u(1, 0).u(1, 0);
    return w;
  };
  SUBCASE("pictures that are too large") {
    BitWriter w = size(60'000, 60'000);
    CHECK_THROWS_AS(parse(w), UnsupportedStreamError);
    BitWriter most = size(0xFFFF'FFFE, 0xFFFF'FFFE);
    CHECK_THROWS_AS(parse(most), UnsupportedStreamError);
  }
  SUBCASE("cut short") {
    BitWriter w = begin_sps(77, 31);
    CHECK_THROWS_AS(parse(w), InvalidBitstreamError);
  }
  SUBCASE("separate colour planes") {
    BitWriter w = begin_sps(244, 31);
    w.ue(3).u(1, 1);
    CHECK_THROWS_AS(parse(w), UnsupportedStreamError);
  }
  SUBCASE("nothing to see") {
    BitWriter w = begin_sps(77, 31);
    w.ue(0).ue(2).ue(1).u(1, 0).ue(0).ue(0).u(1, 1).u(1, 1).u(1, 1).ue(4).ue(4).ue(0).ue(0).u(1, 0);
    CHECK_THROWS_AS(parse(w), InvalidBitstreamError);
  }
}

TEST_CASE("H.264 scaling lists") {
  const auto rule_a = [](BitWriter& w) {
    const auto bytes = w.finish();
    BitReader r(bytes);
    return parse_scaling_lists(r, 2, nullptr);
  };
  BitWriter none;
  none.u(8, 0);
  const ScalingFactors defaults = rule_a(none);
  CHECK(defaults.size4[0] ==
        std::array<std::uint8_t, 16>{6, 13, 20, 28, 13, 20, 28, 32, 20, 28, 32, 37, 28, 32, 37, 42});
  CHECK(defaults.size4[1][1] == 14);
  CHECK(defaults.size8[0][63] == 42);
  CHECK(defaults.size8[1][8] == 13);
  // Of chroma nothing is kept; the third list ends early, the fourth is the default one.
  BitWriter some;
  some.u(1, 1);
  for (int i = 0; i < 16; ++i) some.se(i == 0 ? 2 : 1);  // 10, 11, 12 ...
  some.u(1, 0).u(1, 1).se(92).se(-100);                  // 100, then nothing
  some.u(1, 1).se(-8);
  some.u(4, 0);
  const ScalingFactors lists = rule_a(some);
  CHECK(lists.size4[0] == std::array<std::uint8_t, 16>{10, 11, 15, 16, 12, 14, 17, 22, 13, 18, 21, 23, 19, 20, 24, 25});
  CHECK(lists.size4[1] == defaults.size4[1]);
  // Rule B: what a PPS leaves out is the sequence's.
  const auto bytes = BitWriter().u(8, 0).finish();
  BitReader r(bytes);
  CHECK(parse_scaling_lists(r, 2, &lists) == lists);
}

TEST_CASE("H.264 picture parameter set") {
  Sps sps;
  sps.has_scaling_matrix = true;
  sps.scaling_factors.size4[0].fill(20);
  const auto begin = [](std::uint32_t groups) {
    BitWriter w;
    w.ue(7).ue(2).u(1, 1).u(1, 1).ue(groups).ue(2).ue(0).u(1, 1).u(2, 2).se(-6).se(0).se(1).u(3, 5);
    return w;
  };
  BitWriter w = begin(0);
  SUBCASE("ids") {
    const PpsIds ids = parse_pps_ids(w.finish());
    CHECK(ids.id == 7);
    CHECK(ids.sps_id == 2);
  }
  SUBCASE("of the older profiles") {
    const Pps pps = parse_pps(w.finish(), sps);
    CHECK(pps.entropy_coding_mode);
    CHECK(pps.num_ref_idx_default_active == std::array<int, 2>{3, 1});
    CHECK(pps.weighted_bipred_idc == 2);
    CHECK(pps.init_qp == 20);
    CHECK(pps.redundant_pic_cnt_present);
    CHECK_FALSE(pps.constrained_intra_pred);
    CHECK_FALSE(pps.transform_8x8_mode);
    CHECK(pps.scaling_factors == sps.scaling_factors);
  }
  SUBCASE("of High profile") {
    w.u(1, 1).u(1, 1).u(8, 0).se(-2);
    const Pps pps = parse_pps(w.finish(), sps);
    CHECK(pps.transform_8x8_mode);
    CHECK(pps.scaling_factors.size4[0][3] == 20);
  }
  SUBCASE("slice groups") {
    BitWriter groups = begin(1);
    CHECK_THROWS_AS(parse_pps(groups.finish(), sps), UnsupportedStreamError);
  }
  SUBCASE("a QP out of range") {
    BitWriter low;
    low.ue(0).ue(0).u(2, 0).ue(0).ue(0).ue(0).u(3, 0).se(-27).se(0).se(0).u(3, 0);
    const auto bytes = low.finish();
    CHECK_THROWS_AS(parse_pps(bytes, sps), InvalidBitstreamError);
    Sps deep;
    deep.bit_depth_luma = 9;
    CHECK(parse_pps(bytes, deep).init_qp == -1);
  }
}

TEST_CASE("H.264 slice header") {
  Sps sps;
  sps.width_in_mbs = sps.height_in_mbs = 4;
  sps.frame_mbs_only = false;
  sps.pic_order_cnt_type = 0;
  Pps pps;
  pps.entropy_coding_mode = true;
  pps.weighted_pred = true;
  pps.deblocking_filter_control_present = true;
  const auto parse_header = [&](const BitWriter& w, NalHeader nal) {
    const auto bytes = w.bytes();
    BitReader r(bytes);
    return parse_slice_header(r, nal, [&](int) { return SliceSets{sps, pps}; });
  };
  const NalHeader reference{NalUnitType::kSlice, 2}, idr{NalUnitType::kIdrSlice, 3};
  BitWriter w;
  SUBCASE("P field") {
    w.ue(3).ue(5).ue(0).u(4, 9).u(1, 1).u(1, 1).u(4, 6);  // bottom field
    w.u(1, 1).ue(2);                                      // three entries
    w.u(1, 1).ue(0).ue(4).ue(2).ue(1).ue(3);
    w.ue(5).ue(0);  // log2 denominators
    w.u(1, 0).u(1, 0).u(1, 1).se(-7).se(3).u(1, 0).u(1, 0).u(1, 1).se(1).se(1).se(1).se(1);
    w.u(1, 1).ue(1).ue(7).ue(3).ue(2).ue(1).ue(0);
    w.ue(2).se(-4).ue(1);
    const SliceHeader h = parse_header(w, reference);
    CHECK(h.first_mb == 3);
    CHECK(h.type == SliceType::kP);
    CHECK(h.structure == Structure::kBottomField);
    CHECK(h.frame_num == 9);
    CHECK(h.pic_order_cnt_lsb == 6);
    CHECK(h.num_ref_idx_active == std::array<int, 2>{3, 0});
    REQUIRE(h.modifications[0].size() == 2);
    CHECK(h.modifications[0][1].idc == 2);
    CHECK(h.luma_weights[0][0].weight == 32);
    CHECK(h.luma_weights[0][1].weight == -7);
    CHECK(h.luma_weights[0][1].offset == 3);
    REQUIRE(h.marking.size() == 2);
    CHECK(h.marking[1].operation == 3);
    CHECK(h.marking[1].long_term_frame_idx == 1);
    CHECK(h.cabac_init_idc == 2);
    CHECK(h.qp == 22);
    CHECK(h.data_begin == w.size());
  }
  SUBCASE("IDR") {
    w.ue(0).ue(7).ue(0).u(4, 0).u(1, 0).ue(5).u(4, 0).u(1, 1).u(1, 0).se(0).ue(0).se(6).se(-6);
    const SliceHeader h = parse_header(w, idr);
    CHECK(h.idr_pic_id == 5);
    CHECK(h.no_output_of_prior_pics);
    CHECK(h.data_begin == w.size());
  }
  SUBCASE("beyond the picture") {
    w.ue(8).ue(7).ue(0).u(4, 0).u(1, 1).u(1, 0).u(4, 0);
    CHECK_THROWS_AS(parse_header(w, reference), InvalidBitstreamError);
  }
  SUBCASE("SP") {
    w.ue(0).ue(3).ue(0);
    CHECK_THROWS_AS(parse_header(w, reference), UnsupportedStreamError);
  }
  SUBCASE("cut short") {
    w.ue(0).ue(7).ue(0);
    CHECK_THROWS_AS(parse_header(w, reference), InvalidBitstreamError);
  }
  SUBCASE("operations without an end") {
    w.ue(0).ue(7).ue(0).u(4, 1).u(1, 0).u(4, 0).u(1, 1);
    for (int i = 0; i < 200; ++i) w.ue(1).ue(0);
    CHECK_THROWS_AS(parse_header(w, reference), InvalidBitstreamError);
  }
}
