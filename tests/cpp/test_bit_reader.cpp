#include <doctest/doctest.h>

#include <random>

#include "bit_writer.h"
#include "bitstream/bit_reader.h"

using namespace ove;
using test::BitWriter;

TEST_CASE("codes of any length come back as they were written") {
  std::mt19937 random(1);
  for (int round = 0; round < 200; ++round) {
    BitWriter w;
    struct Code {
      int kind, n;
      std::int64_t value;
    };
    std::vector<Code> codes;
    for (int i = 0; i < 40; ++i) {
      const int kind = static_cast<int>(random() % 3), n = 1 + static_cast<int>(random() % 32);
      const auto value = static_cast<std::uint32_t>(random() >> (32 - n));
      if (kind == 0) {
        codes.push_back({0, n, value});
        w.u(n, value);
      } else if (kind == 1) {
        const std::uint32_t small = value >> 1;
        codes.push_back({1, 0, small});
        w.ue(small);
      } else {
        const auto half = static_cast<std::int32_t>(value >> 2);
        const std::int32_t s = random() % 2 ? half : -half;
        codes.push_back({2, 0, s});
        w.se(s);
      }
    }
    const std::size_t size = w.size();
    const auto bytes = w.finish();
    BitReader r(bytes);
    for (const Code& c : codes) {
      CHECK(r.more_rbsp_data());
      if (c.kind == 0) CHECK(r.u(c.n) == c.value);
      if (c.kind == 1) CHECK(r.ue() == c.value);
      if (c.kind == 2) CHECK(r.se() == c.value);
    }
    CHECK(r.position() == size);
    CHECK_FALSE(r.more_rbsp_data());
  }
}

TEST_CASE("reading past the end and out of range throws") {
  const std::vector<std::uint8_t> zeros(3);
  BitReader r(zeros);
  CHECK_THROWS_AS(r.ue(), InvalidBitstreamError);
  BitReader s(zeros);
  s.skip(20);
  CHECK_THROWS_AS(s.u(5), InvalidBitstreamError);
  CHECK(s.u(4) == 0);
  CHECK_THROWS_AS(s.flag(), InvalidBitstreamError);
  CHECK_THROWS_AS(s.skip(1), InvalidBitstreamError);
  const std::vector<std::uint8_t> long_zeros(9);
  BitReader t(long_zeros);
  CHECK_THROWS_AS(t.ue(), InvalidBitstreamError);
  const auto five = BitWriter().ue(5).se(-5).finish();
  BitReader limited(five);
  CHECK_THROWS_WITH_AS(limited.ue(4, "some_id"), "some_id is 5, beyond its limit of 4", InvalidBitstreamError);
  CHECK_THROWS_AS(limited.se(-4, 4, "some_delta"), InvalidBitstreamError);
  CHECK_FALSE(BitReader(zeros).more_rbsp_data());
}

TEST_CASE("u(v) lengths") {
  CHECK(ceil_log2(0) == 0);
  CHECK(ceil_log2(1) == 0);
  CHECK(ceil_log2(2) == 1);
  CHECK(ceil_log2(5) == 3);
  CHECK(ceil_log2(8) == 3);
}
