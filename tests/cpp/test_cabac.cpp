#include <doctest/doctest.h>

#include <random>
#include <vector>

#include "bitstream/cabac.h"

using namespace ove;

namespace {

// 9.3.4.3 bit by bit, as the standard writes it.
class PlainCabac {
 public:
  explicit PlainCabac(const std::vector<std::uint8_t>& data) : data_(data) {
    for (int i = 0; i < 9; ++i) offset_ = offset_ << 1 | bit();
  }
  std::size_t position() const { return position_; }

  int decision(ContextState& context) {
    const int mps = context & 1;
    const int lps = static_cast<int>(kCabacTables.lps[context] >> (16 * (3 - (range_ >> 6 & 3)) + 7) & 0xFF);
    range_ -= lps;
    int bin = mps;
    if (offset_ >= range_) {
      bin = !mps;
      offset_ -= range_;
      range_ = lps;
      context = kCabacTables.after_lps[context];
    } else {
      context = kCabacTables.after_mps[context];
    }
    renormalise();
    return bin;
  }
  int bypass() {
    offset_ = offset_ << 1 | bit();
    if (offset_ < range_) return 0;
    offset_ -= range_;
    return 1;
  }
  int terminate() {
    range_ -= 2;
    if (offset_ >= range_) return 1;
    renormalise();
    return 0;
  }

 private:
  int bit() {
    const std::size_t at = position_++;
    return at / 8 < data_.size() ? data_[at / 8] >> (7 - at % 8) & 1 : 0;
  }
  void renormalise() {
    while (range_ < 256) {
      range_ <<= 1;
      offset_ = offset_ << 1 | bit();
    }
  }

  const std::vector<std::uint8_t>& data_;
  std::size_t position_ = 0;
  int range_ = 510, offset_ = 0;
};

}  // namespace

TEST_CASE("the engine decodes and counts what the standard's does") {
  std::mt19937 random(4);
  for (int round = 0; round < 400; ++round) {
    std::vector<std::uint8_t> data(random() % 200);
    const unsigned kind = random() % 3;
    for (auto& b : data) b = kind == 0 ? 0 : kind == 1 ? 0xFF : static_cast<std::uint8_t>(random());
    if (!data.empty()) data[0] &= 0x7F;  // ivlOffset starts below ivlCurrRange in every conforming stream
    Cabac fast(data);
    PlainCabac plain(data);
    std::vector<ContextState> fast_contexts(8), plain_contexts;
    for (auto& c : fast_contexts) c = static_cast<ContextState>(random() % 126);
    plain_contexts = fast_contexts;
    REQUIRE(fast.position() == 9);
    for (int i = 0; i < 600; ++i) {
      const unsigned op = random() % 8;
      if (op < 5) {
        const std::size_t c = random() % 8;
        REQUIRE(fast.decision(fast_contexts[c]) == plain.decision(plain_contexts[c]));
        REQUIRE(fast_contexts[c] == plain_contexts[c]);
      } else if (op == 5) {
        REQUIRE(fast.bypass() == plain.bypass());
      } else if (op == 6) {
        const int n = static_cast<int>(random() % 17);
        std::uint32_t expected = 0;
        for (int k = 0; k < n; ++k) expected = expected << 1 | static_cast<std::uint32_t>(plain.bypass());
        REQUIRE(fast.bypass_bits(n) == expected);
      } else {
        const int end = plain.terminate();
        REQUIRE(fast.terminate() == end);
        if (end) {
          REQUIRE(fast.position() == plain.position());
          break;
        }
      }
      REQUIRE(fast.position() == plain.position());
    }
  }
}

TEST_CASE("the outcome of a bin is chosen as plainly") {
  std::mt19937_64 random(7);
  for (int round = 0; round < 1000; ++round) {
    const auto outcome = [&] { return BinOutcome{random(), random() % 8, static_cast<std::uint32_t>(random())}; };
    BinOutcome fast = outcome();
    std::uint64_t fast_value = random(), plain_value = fast_value;
    if (round % 4 == 0) fast.range = fast_value + static_cast<std::uint64_t>(round % 3) - 1;
    BinOutcome plain = fast;
    const BinOutcome lps = outcome();
    const std::uint32_t is_lps = choose_outcome(fast_value, fast, lps);
    CHECK(((is_lps ^ choose_outcome_plain(plain_value, plain, lps)) & 1) == 0);
    CHECK(fast_value == plain_value);
    CHECK(fast.range == plain.range);
    CHECK(fast.shift == plain.shift);
    CHECK((fast.next ^ plain.next) % 256 == 0);
  }
}

TEST_CASE("a codeword must begin below the range") {
  const std::vector<std::uint8_t> high = {0xFF, 0x00, 0x12}, limit = {0xFE, 0xFF};
  CHECK_THROWS_AS(Cabac{high}, InvalidBitstreamError);
  CHECK_NOTHROW(Cabac{limit});
}

TEST_CASE("context initialisation") {
  CHECK(init_context(154, 30) == 1);  // slope 0: pStateIdx 0, valMps 1, at any QP
  CHECK(init_context(154, 0) == init_context(154, 51));
  CHECK(init_context(0, 51) == init_context(0, 1000));  // the QP is clipped
  for (int value = 0; value < 256; ++value) {
    for (int qp = 0; qp <= 51; ++qp) CHECK(init_context(value, qp) < 126);
  }
}
