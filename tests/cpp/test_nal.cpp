#include <doctest/doctest.h>

#include <random>

#include "bitstream/nal.h"
#include "common/error.h"

using namespace ove;
using Bytes = std::vector<std::uint8_t>;

namespace {

// Bytes with many start codes and emulation prevention bytes.
Bytes random_bytes(std::mt19937& random, std::size_t size) {
  Bytes bytes(size);
  for (auto& b : bytes) b = static_cast<std::uint8_t>(random() % 4 ? random() % 4 : random() % 256);
  return bytes;
}

// Annex B and 7.3.1.1, byte by byte
std::vector<std::size_t> start_codes(const Bytes& s) {
  std::vector<std::size_t> found;
  for (std::size_t i = 0; i + 3 <= s.size();) {
    if (s[i] == 0 && s[i + 1] == 0 && s[i + 2] == 1) {
      found.push_back(i);
      i += 3;
    } else {
      ++i;
    }
  }
  return found;
}

Bytes plain_rbsp(const Bytes& s) {
  Bytes out;
  int zeros = 0;
  for (const std::uint8_t b : s) {
    if (zeros >= 2 && b == 3) {
      zeros = 0;
      continue;
    }
    zeros = b == 0 ? zeros + 1 : 0;
    out.push_back(b);
  }
  return out;
}

}  // namespace

TEST_CASE("Annex B streams split at start codes") {
  std::mt19937 random(2);
  for (int round = 0; round < 3000; ++round) {
    const Bytes stream = random_bytes(random, random() % 64);
    const auto codes = start_codes(stream);
    std::vector<Bytes> expected;
    std::vector<std::size_t> offsets;
    for (std::size_t i = 0; i < codes.size(); ++i) {
      const std::size_t begin = codes[i] + 3;
      std::size_t end = i + 1 < codes.size() ? codes[i + 1] : stream.size();
      while (end > begin && stream[end - 1] == 0) --end;
      if (end == begin) continue;
      expected.emplace_back(stream.begin() + static_cast<long>(begin), stream.begin() + static_cast<long>(end));
      offsets.push_back(begin);
    }
    const auto units = NalFraming().split(stream);
    REQUIRE(units.size() == expected.size());
    for (std::size_t i = 0; i < units.size(); ++i) {
      CHECK(Bytes(units[i].bytes.begin(), units[i].bytes.end()) == expected[i]);
      CHECK(units[i].offset == offsets[i]);
    }
  }
}

TEST_CASE("emulation prevention bytes are removed") {
  std::mt19937 random(3);
  for (int round = 0; round < 3000; ++round) {
    const Bytes bytes = random_bytes(random, random() % 64);
    CHECK(to_rbsp(bytes) == plain_rbsp(bytes));
  }
}

TEST_CASE("length-prefixed samples") {
  const Bytes sample = {0, 2, 0xAA, 0xBB, 0, 0, 0, 1, 0xCC};
  const auto units = NalFraming(2).split(sample);
  REQUIRE(units.size() == 2);
  CHECK(units[0].offset == 2);
  CHECK(units[0].bytes.size() == 2);
  CHECK(units[1].bytes[0] == 0xCC);
  CHECK_THROWS_AS(NalFraming(2).split(Bytes{0, 3, 1}), InvalidBitstreamError);
  CHECK_THROWS_AS(NalFraming(4).split(Bytes{0, 0, 1}), InvalidBitstreamError);
  CHECK(NalFraming(4).split(Bytes{0, 0, 0}).empty());  // padding
  CHECK_THROWS_AS(NalFraming(4).split(Bytes{0xFF, 0xFF, 0xFF, 0xFF, 1}), InvalidBitstreamError);
  CHECK(NalFraming(4).split({}).empty());
}

TEST_CASE("start codes behind a length mark NAL units") {
  const Bytes sample{0, 0, 0, 14, 0x6E, 9, 0, 0, 0, 1, 0x65, 1, 2, 0, 0, 1, 0x41, 3, 0, 0, 0, 2, 0x41, 4};
  const auto units = NalFraming(4).split(sample);
  REQUIRE(units.size() == 4);
  const std::vector<Bytes> expected{{0x6E, 9}, {0x65, 1, 2}, {0x41, 3}, {0x41, 4}};
  for (std::size_t i = 0; i < 4; ++i) {
    CHECK(Bytes(units[i].bytes.begin(), units[i].bytes.end()) == expected[i]);
    CHECK(sample[units[i].offset] == expected[i][0]);
  }
  CHECK(NalFraming(4).split(sample, 2).size() == 2);
}
