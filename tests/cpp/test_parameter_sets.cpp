#include <doctest/doctest.h>

#include <algorithm>
#include <map>
#include <random>

#include "bit_writer.h"
#include "hevc/parameter_sets.h"

using namespace ove;
using namespace ove::hevc;
using test::BitWriter;

namespace {

// 7-61 and 7-62, loop by loop
std::map<int, bool> plain_predicted_set(const ShortTermRefPicSet& ref, int delta_rps, const std::vector<bool>& used,
                                        const std::vector<bool>& use_delta) {
  std::map<int, bool> set;
  std::size_t j = 0;
  for (const auto& entries : {ref.negative, ref.positive}) {
    for (const auto& e : entries) {
      if (e.delta_poc + delta_rps != 0 && use_delta[j]) set[e.delta_poc + delta_rps] = used[j];
      ++j;
    }
  }
  if (use_delta[j]) set[delta_rps] = used[j];
  return set;
}

}  // namespace

TEST_CASE("reference picture sets are predicted from earlier ones") {
  std::mt19937 random(8);
  for (int round = 0; round < 500; ++round) {
    ShortTermRefPicSet ref;
    int poc = 0;
    for (unsigned i = random() % 4; i > 0; --i)
      ref.negative.push_back({poc -= 1 + static_cast<int>(random() % 4), true});
    poc = 0;
    for (unsigned i = random() % 4; i > 0; --i)
      ref.positive.push_back({poc += 1 + static_cast<int>(random() % 4), true});
    const int delta = random() % 2 ? 1 + static_cast<int>(random() % 8) : -1 - static_cast<int>(random() % 8);
    std::vector<bool> used, use_delta;
    BitWriter w;
    w.u(1, 1).u(1, delta < 0).ue(static_cast<std::uint32_t>(std::abs(delta) - 1));
    for (std::size_t j = 0; j <= ref.num_delta_pocs(); ++j) {
      used.push_back(random() % 2);
      use_delta.push_back(used.back() || random() % 2);
      w.u(1, used.back());
      if (!used.back()) w.u(1, use_delta.back());
    }
    const auto bytes = w.finish();
    BitReader r(bytes);
    const ShortTermRefPicSet set = parse_short_term_ref_pic_set(r, {ref}, false);
    std::map<int, bool> got;
    for (const auto& e : set.negative) got[e.delta_poc] = e.used;
    for (const auto& e : set.positive) got[e.delta_poc] = e.used;
    CHECK(got == plain_predicted_set(ref, delta, used, use_delta));
    CHECK(std::is_sorted(set.negative.begin(), set.negative.end(),
                         [](auto& a, auto& b) { return a.delta_poc > b.delta_poc; }));
    CHECK(std::is_sorted(set.positive.begin(), set.positive.end(),
                         [](auto& a, auto& b) { return a.delta_poc < b.delta_poc; }));
    CHECK_FALSE(r.more_rbsp_data());
  }
}

TEST_CASE("scaling lists: default, copied, with DC") {
  BitWriter w;
  for (int size_id = 0; size_id < 4; ++size_id) {
    for (int matrix_id = 0; matrix_id < (size_id == 3 ? 2 : 6); ++matrix_id) {
      if (size_id == 2 && matrix_id == 0) {
        w.u(1, 1).se(40 - 8);  // DC 40, then 41, 42, ...
        for (int i = 0; i < 64; ++i) w.se(1);
      } else if (size_id == 2 && matrix_id == 3) {
        w.u(1, 0).ue(3);  // a copy of matrix 0
      } else {
        w.u(1, 0).ue(0);  // default
      }
    }
  }
  const auto bytes = w.finish();
  BitReader r(bytes);
  const ScalingFactors factors = parse_scaling_list_data(r);
  CHECK_FALSE(r.more_rbsp_data());
  const auto& sixteen = factors.luma[2][0];
  CHECK(sixteen[0] == 40);       // DC
  CHECK(sixteen[1] == 41);       // the first coefficient fills 2x2 samples
  CHECK(sixteen[2 * 16] == 42);  // up-right diagonal: below it comes first
  CHECK(sixteen[2] == 43);
  CHECK(sixteen[15 * 16 + 15] == 40 + 64);
  CHECK(factors.luma[2][1] == sixteen);
  const ScalingFactors defaults = default_scaling_factors();
  CHECK(factors.luma[3][0] == defaults.luma[3][0]);
  CHECK(defaults.luma[0][1] == std::vector<std::uint8_t>(16, 16));
  CHECK(defaults.luma[1][0][63] == 115);
  CHECK(defaults.luma[3][1][32 * 32 - 1] == 91);
  const auto bad = BitWriter().u(1, 0).ue(1).finish();
  BitReader s(bad);
  CHECK_THROWS_AS(parse_scaling_list_data(s), InvalidBitstreamError);
}

TEST_CASE("tiles order the CTBs") {
  Sps sps;
  sps.width = 7 * 16;
  sps.height = 5 * 16;
  sps.log2_ctb = 4;
  Pps pps;
  pps.num_tile_columns = 2;
  pps.num_tile_rows = 2;
  const TileLayout uniform = make_tile_layout(sps, pps);
  CHECK(uniform.column_boundaries == std::vector{0, 3, 7});
  CHECK(uniform.row_boundaries == std::vector{0, 2, 5});
  CHECK(uniform.ts_to_rs[3] == 7);  // second row of the first tile
  CHECK(uniform.ts_to_rs[6] == 3);  // first CTB of the second tile
  CHECK(uniform.tile_id[34] == 3);
  for (int rs = 0; rs < 35; ++rs) {
    CHECK(uniform.ts_to_rs[static_cast<std::size_t>(uniform.rs_to_ts[static_cast<std::size_t>(rs)])] == rs);
  }
  pps.uniform_spacing = false;
  pps.tile_column_widths = {7};
  pps.tile_row_heights = {1};
  CHECK_THROWS_AS(make_tile_layout(sps, pps), InvalidBitstreamError);
  pps.tile_column_widths = {6};
  CHECK(make_tile_layout(sps, pps).column_boundaries == std::vector{0, 6, 7});
}

TEST_CASE("hostile parameter sets throw before memory is taken") {
  const codec::Limits limits;
  std::mt19937 random(9);
  for (int round = 0; round < 2000; ++round) {
    std::vector<std::uint8_t> bytes(random() % 80);
    for (auto& b : bytes) b = static_cast<std::uint8_t>(random() % 3 ? random() : 0);
    try {
      const Sps sps = parse_sps(bytes, limits);
      CHECK(std::int64_t{sps.width} * sps.height <= limits.max_luma_samples);
    } catch (const Error&) {
    }
    try {
      parse_pps(bytes);
    } catch (const Error&) {
    }
  }
}
