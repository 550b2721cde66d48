// The arithmetic decoding engine of 9.3.4.3, shared by H.265 and H.264.
//
// `value_` holds ivlOffset in its 9 top bits and the bits that follow below them, so that comparisons need no bit-wise
// reading. Invariant between calls: at least 16 bits beyond the 9 of ivlOffset are valid.
#pragma once

#include <array>
#include <bit>
#include <cstdint>
#include <cstring>
#include <span>

#include "common/error.h"

namespace ove {

// pStateIdx << 1 | valMps
using ContextState = std::uint8_t;

// 9.3.2.2: state of a context from its initValue and SliceQpY
ContextState init_context(int init_value, int slice_qp);

struct CabacTables {
  // [ContextState]: rangeTabLps << 7 | its renormalisation shift, 16 bits for each qRangeIdx, the first in the highest
  std::array<std::uint64_t, 128> lps;
  std::array<std::uint16_t, 128> next;  // [ContextState]: after the MPS in the lower byte, after the LPS in the upper
  std::array<std::uint64_t, 511> reciprocal;  // [range]: 2^40 / range, rounded up
};
extern const CabacTables kCabacTables;

// What becomes of the engine with a bin: ivlOffset, ivlCurrRange before renormalisation, the shift of that, the context
// (lowest byte) and the bin (lowest bit).
struct BinOutcome {
  std::uint64_t value, range, shift;
  std::uint32_t next, bin;
};

// Replaces the outcome of the most probable symbol by `lps` where ivlOffset reaches the range that the former leaves.
// Bins are hard to foretell: both outcomes are prepared, and no branch is made.
[[gnu::always_inline]] inline void choose_outcome_plain(BinOutcome& mps, const BinOutcome& lps) {
  const std::uint64_t is_lps = -static_cast<std::uint64_t>(mps.value >= mps.range);  // all ones or zero
  const auto choose = [is_lps](auto& a, auto b) { a ^= (a ^ b) & static_cast<decltype(b)>(is_lps); };
  choose(mps.range, lps.range);
  choose(mps.shift, lps.shift);
  choose(mps.value, lps.value);
  choose(mps.next, lps.next);
  choose(mps.bin, lps.bin);
}

[[gnu::always_inline]] inline void choose_outcome(BinOutcome& mps, const BinOutcome& lps) {
#if defined(__x86_64__)
  // Compilers turn conditional moves back into branches where the bin is tested next.
  asm("cmp %[reach], %[value]\n\t"
      "cmovae %[lps_range], %[range]\n\t"
      "cmovae %[lps_shift], %[shift]\n\t"
      "cmovae %[lps_value], %[value]\n\t"
      "cmovae %[lps_next], %[next]\n\t"
      "cmovae %[lps_bin], %[bin]"
      : [value] "+&r"(mps.value), [range] "+&r"(mps.range), [shift] "+&r"(mps.shift), [next] "+&r"(mps.next),
        [bin] "+&r"(mps.bin)
      : [reach] "r"(mps.range), [lps_value] "r"(lps.value), [lps_range] "r"(lps.range), [lps_shift] "r"(lps.shift),
        [lps_next] "r"(lps.next), [lps_bin] "r"(lps.bin)
      : "cc");
#else
  choose_outcome_plain(mps, lps);
#endif
}

class Cabac {
 public:
  Cabac() = default;

  // 9.3.2.5. Reading past the end yields zeros; position() then exceeds the size, which the caller checks. Throws
  // InvalidBitstreamError where ivlOffset is not below ivlCurrRange, which holds from then on.
  explicit Cabac(std::span<const std::uint8_t> data) : next_(data.data()), end_(data.data() + data.size()) {
    refill();
    if (value_ >= range_) throw InvalidBitstreamError("an arithmetic codeword begins with 510 or 511");
  }

  // Bits taken from the data so far, the 9 of ivlOffset included.
  std::size_t position() const { return loaded_ - static_cast<std::size_t>(bits_); }

  // Whole bytes taken behind the 9 bits of ivlOffset.
  std::size_t bytes_behind_offset() const { return (position() - 9) / 8; }

  // 9.3.4.3.2
  [[gnu::always_inline]] int decision(ContextState& context) {
    const std::uint32_t state = context;
    const std::uint64_t row = kCabacTables.lps[state] << (range_ >> 57 & 48);
    const std::uint32_t transitions = kCabacTables.next[state];
    const std::uint64_t lps_range = row & std::uint64_t{0xFF} << 55;
    const std::uint64_t mps_range = range_ - lps_range;
    BinOutcome outcome{value_, mps_range, ~mps_range >> 63, transitions, state};
    choose_outcome(outcome, {value_ - mps_range, lps_range, row >> 48 & 7, transitions >> 8, ~state});
    value_ = outcome.value;
    range_ = outcome.range << outcome.shift;
    context = static_cast<ContextState>(outcome.next);
    consume(static_cast<int>(outcome.shift));
    return static_cast<int>(outcome.bin & 1);
  }

  // 9.3.4.3.4
  [[gnu::always_inline]] int bypass() {
    const std::uint64_t half = range_ >> 1;
    const bool bin = value_ >= half;
    value_ -= bin ? half : 0;
    consume(1);
    return bin;
  }

  // The next 16 bypass bins, first bin in the highest bit, without taking them: ivlOffset with 16 more bits, divided by
  // ivlCurrRange. The product with the reciprocal is exact, because (2^25 - 1) * (range - 1) < 2^40.
  [[gnu::always_inline]] std::uint32_t peek_bypass16() const {
    return static_cast<std::uint32_t>((value_ >> 39) * kCabacTables.reciprocal[range_ >> 55] >> 40);
  }
  // Takes n <= 16 bypass bins of which `bins` is the value.
  [[gnu::always_inline]] void skip_bypass(std::uint32_t bins, int n) {
    value_ -= bins * (range_ >> n);
    consume(n);
  }
  // n <= 16 bypass bins, first bin in the highest bit
  [[gnu::always_inline]] std::uint32_t bypass_bits(int n) {
    const std::uint32_t bins = peek_bypass16() >> (16 - n);
    skip_bypass(bins, n);
    return bins;
  }

  // 9.3.4.3.5. After a 1, the engine has read up to and including the bit that precedes the byte alignment.
  int terminate() {
    const std::uint64_t rest = range_ - (std::uint64_t{2} << 55);
    if (value_ >= rest) return 1;
    const int shift = static_cast<int>(~rest >> 63);
    range_ = rest << shift;
    consume(shift);
    return 0;
  }

 private:
  [[gnu::always_inline]] void consume(int n) {
    value_ <<= n;
    bits_ -= n;
    if (bits_ < 16) refill();
  }

  // Adds 32 bits below the valid ones; bits_ <= 22 beforehand.
  [[gnu::always_inline]] void refill() {
    std::uint32_t word = 0;
    if (end_ - next_ >= 4) [[likely]] {
      std::memcpy(&word, next_, 4);
      if constexpr (std::endian::native == std::endian::little) word = __builtin_bswap32(word);
      next_ += 4;
    } else {
      for (int i = 0; i < 4; ++i) word = word << 8 | (next_ < end_ ? *next_++ : 0u);
    }
    value_ |= std::uint64_t{word} << (23 - bits_);
    bits_ += 32;
    loaded_ += 32;
  }

  std::uint64_t value_ = 0;
  std::uint64_t range_ = std::uint64_t{510} << 55;
  int bits_ = -9;  // valid bits beyond the 9 of ivlOffset
  std::size_t loaded_ = 0;
  const std::uint8_t* next_ = nullptr;
  const std::uint8_t* end_ = nullptr;
};

}  // namespace ove
