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
  std::array<std::uint8_t, 64> shift;                 // renormalisation, [range >> 3]
  std::array<std::uint64_t, 511> reciprocal;          // [range]: 2^40 / range, rounded up
  std::array<std::uint32_t, 128> lps_range;           // [ContextState]: rangeTabLps, a byte for each qRangeIdx
  std::array<std::array<ContextState, 128>, 2> next;  // [was the LPS decoded][ContextState]
};
extern const CabacTables kCabacTables;

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

  // 9.3.4.3.2. Both outcomes are prepared and one selected: bins are hard to foretell.
  [[gnu::always_inline]] int decision(ContextState& context) {
    const std::uint32_t state = context;
    const std::uint32_t lps = kCabacTables.lps_range[state] >> (range_ >> 58 & 24) & 0xFF;
    const std::uint64_t lps_range = std::uint64_t{lps} << 55;
    const std::uint64_t mps_range = range_ - lps_range;
    const int lps_shift = kCabacTables.shift[lps >> 3];
    const int mps_shift = static_cast<int>(~mps_range >> 63);
    const std::uint64_t is_lps = -static_cast<std::uint64_t>(value_ >= mps_range);  // all ones or zero
    value_ -= mps_range & is_lps;
    range_ = mps_range ^ ((mps_range ^ lps_range) & is_lps);
    const int shift = mps_shift ^ ((mps_shift ^ lps_shift) & static_cast<int>(is_lps));
    range_ <<= shift;
    context = kCabacTables.next[is_lps & 1][state];
    consume(shift);
    return static_cast<int>((state ^ is_lps) & 1);
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
