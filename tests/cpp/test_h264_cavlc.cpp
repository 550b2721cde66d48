#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdlib>
#include <random>
#include <vector>

#include "bit_writer.h"
#include "common/error.h"
#include "h264/cavlc.h"
#include "h264/cavlc_tables.h"

using namespace ove::h264;
using ove::test::BitWriter;

namespace {

void put(BitWriter& w, VlcCode code) {
  REQUIRE(code.length > 0);
  w.u(code.length, code.bits);
}

// 9.2.2.1, the other way round
BitWriter& put_level(BitWriter& w, int code, int suffix_length) {
  if (suffix_length == 0 && code < 14) return w.u(code + 1, 1);
  if (suffix_length == 0 && code < 30) return w.u(19, static_cast<std::uint32_t>(1 << 4 | (code - 14)));
  if (suffix_length > 0 && code < 15 << suffix_length) {
    w.u((code >> suffix_length) + 1, 1);
    return w.u(suffix_length, static_cast<std::uint32_t>(code & ((1 << suffix_length) - 1)));
  }
  for (int prefix = 15;; ++prefix) {
    int base = (15 << suffix_length) + (suffix_length == 0 ? 15 : 0);
    if (prefix >= 16) base += (1 << (prefix - 3)) - 4096;
    if (code - base >= 1 << (prefix - 3)) continue;
    w.u(prefix + 1, 1);
    return w.u(prefix - 3, static_cast<std::uint32_t>(code - base));
  }
}

// 7.3.5.3.2 of levels in scanning order
void put_block(BitWriter& w, int nC, const std::vector<int>& levels) {
  const int most = static_cast<int>(levels.size());
  std::vector<int> at;  // of the coefficients, from the highest index
  for (int i = most - 1; i >= 0; --i) {
    if (levels[static_cast<std::size_t>(i)] != 0) at.push_back(i);
  }
  const auto level = [&](std::size_t i) { return levels[static_cast<std::size_t>(at[i])]; };
  const std::size_t total = at.size();
  std::size_t ones = 0;
  while (ones < std::min<std::size_t>(total, 3) && std::abs(level(ones)) == 1) ++ones;
  const std::size_t token = total * 4 + ones;
  if (nC >= 8) {
    w.u(6, static_cast<std::uint32_t>(total == 0 ? 3 : (total - 1) << 2 | ones));
  } else if (nC >= 0) {
    put(w, kCoeffTokenCodes[nC < 2 ? 0 : nC < 4 ? 1 : 2][token]);
  } else {
    put(w, nC == kChromaDc420 ? kCoeffTokenCodes420[token] : kCoeffTokenCodes422[token]);
  }
  if (total == 0) return;
  int suffix_length = total > 10 && ones < 3 ? 1 : 0;
  for (std::size_t i = 0; i < total; ++i) {
    if (i < ones) {
      w.u(1, level(i) < 0);
      continue;
    }
    const int code = 2 * (std::abs(level(i)) - 1) + (level(i) < 0);
    put_level(w, i == ones && ones < 3 ? code - 2 : code, suffix_length);
    if (suffix_length == 0) suffix_length = 1;
    if (std::abs(level(i)) > 3 << (suffix_length - 1) && suffix_length < 6) ++suffix_length;
  }
  int zeros = at[0] + 1 - static_cast<int>(total);
  if (static_cast<int>(total) < most) {
    const auto z = static_cast<std::size_t>(zeros);
    put(w, most == 4   ? kTotalZerosCodes420[total - 1][z]
           : most == 8 ? kTotalZerosCodes422[total - 1][z]
                       : kTotalZerosCodes[total - 1][z]);
  }
  for (std::size_t i = 0; i + 1 < total && zeros > 0; ++i) {
    const int run = at[i] - at[i + 1] - 1;
    if (zeros <= 6) {
      put(w, kRunBeforeCodes[static_cast<std::size_t>(zeros - 1)][static_cast<std::size_t>(run)]);
    } else if (run < 7) {
      w.u(3, static_cast<std::uint32_t>(7 - run));
    } else {
      w.u(run - 3, 1);
    }
    zeros -= run;
  }
}

}  // namespace

TEST_CASE("H.264 CAVLC residual blocks") {
  std::mt19937 random(1);
  constexpr std::array<int, 6> kMost{16, 15, 4, 8, 16, 16};
  constexpr std::array<int, 6> kContext{0, 3, kChromaDc420, kChromaDc422, 5, 16};
  for (int round = 0; round < 20'000; ++round) {
    const std::size_t kind = static_cast<std::size_t>(round) % kMost.size();
    std::bernoulli_distribution kept(round % 7 / 6.0), small(round % 3 / 2.0);
    std::uniform_int_distribution<int> value(-(1 << round % 18), 1 << round % 18);
    std::vector<int> levels(static_cast<std::size_t>(kMost[kind]));
    for (int& level : levels) {
      if (kept(random)) level = small(random) ? (value(random) < 0 ? -1 : 1) : value(random);
    }
    BitWriter w;
    w.u(round % 9, 0);
    put_block(w, kContext[kind], levels);
    const std::size_t end = w.size();
    const std::vector<std::uint8_t> bytes = w.finish();
    CavlcReader r(bytes, static_cast<std::size_t>(round % 9));
    CHECK(r.end() == end);
    CoefficientRun run;
    r.residual_block(kContext[kind], kMost[kind], run);
    CHECK(r.position() == end);
    CHECK(!r.more_data());
    std::vector<int> read(levels.size());
    for (int i = 0; i < run.count; ++i) {
      read.at(run.index[static_cast<std::size_t>(i)]) = run.level[static_cast<std::size_t>(i)];
    }
    REQUIRE(read == levels);
  }
}

TEST_CASE("H.264 CAVLC codes") {
  BitWriter w;
  w.ue(0).ue(7).ue(123'456).se(-9).se(9).ue(3).u(1, 0).ue(5).ue(47).ue(15);
  const std::vector<std::uint8_t> bytes = w.finish();
  CavlcReader r(bytes, 0);
  CHECK(r.ue() == 0);
  CHECK(r.ue() == 7);
  CHECK(r.ue() == 123'456);
  CHECK(r.se() == -9);
  CHECK(r.se() == 9);
  CHECK(r.te(4) == 3);
  CHECK(r.te(1) == 1);
  CHECK(r.coded_block_pattern(true, false) == 27);
  CHECK(r.coded_block_pattern(true, true) == 41);
  CHECK(r.coded_block_pattern(false, true) == 9);
  CHECK(!r.more_data());
}

TEST_CASE("H.264 CAVLC: invalid codes, and data that end") {
  const std::vector<std::uint8_t> zeros(8);
  CavlcReader r(zeros, 0);
  CHECK(r.end() == 0);
  CHECK_THROWS_AS(r.ue(), ove::InvalidBitstreamError);
  CoefficientRun run;
  CHECK_THROWS_AS(r.residual_block(0, 16, run), ove::InvalidBitstreamError);
  BitWriter w;
  const std::vector<std::uint8_t> sixteen = w.u(16, 4).u(16, 0xFFFF).u(1, 1).bytes();  // 16 coefficients
  CavlcReader of_15(sixteen, 0);
  CHECK_THROWS_AS(of_15.residual_block(0, 15, run), ove::InvalidBitstreamError);
  CavlcReader past(sixteen, 0);
  past.skip(1000);
  CHECK(past.u(32) == 0);
  CHECK(!past.more_data());
  // Any bits: it ends, with coefficients of the block.
  std::mt19937 random(1);
  for (int round = 0; round < 20'000; ++round) {
    std::array<std::uint8_t, 12> noise;
    for (std::uint8_t& byte : noise) byte = static_cast<std::uint8_t>(random() & random() >> round % 8);
    CavlcReader reader(noise, 0);
    const int most = round % 2 ? 16 : 15;
    try {
      reader.residual_block(round % 10, most, run);
    } catch (const ove::InvalidBitstreamError&) {
      continue;
    }
    CHECK(run.count <= most);
    for (int i = 0; i < run.count; ++i) CHECK(run.index[static_cast<std::size_t>(i)] < most);
  }
}
