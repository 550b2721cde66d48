// The arithmetic decoding engine of 9.3.4.3, shared by H.265 and H.264.
//
// ivlOffset lies in the 9 top bits of a word, and the bits that follow below them, so that comparisons need no bit-wise
// reading.
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
  std::array<ContextState, 128> after_mps, after_lps;  // [ContextState]
  std::array<std::uint64_t, 511> reciprocal;           // [range]: 2^40 / range, rounded up
};
extern const CabacTables kCabacTables;

// What becomes of the engine with a bin: ivlCurrRange before renormalisation, the shift of that, and the context.
struct BinOutcome {
  std::uint64_t range, shift;
  std::uint32_t next;
};

// Replaces the outcome of the most probable symbol by `lps` where ivlOffset, `value`, reaches the range that the former
// leaves, which is then taken from it; tells whether it did, in the lowest bit. Bins are hard to foretell: both
// outcomes are prepared, and no branch is made.
[[gnu::always_inline]] inline std::uint32_t choose_outcome_plain(std::uint64_t& value, BinOutcome& mps,
                                                                 const BinOutcome& lps) {
  const std::uint64_t is_lps = -static_cast<std::uint64_t>(value >= mps.range);  // all ones or zero
  value -= mps.range & is_lps;
  const auto choose = [is_lps](auto& a, auto b) { a ^= (a ^ b) & static_cast<decltype(b)>(is_lps); };
  choose(mps.range, lps.range);
  choose(mps.shift, lps.shift);
  choose(mps.next, lps.next);
  return static_cast<std::uint32_t>(is_lps);
}

[[gnu::always_inline]] inline std::uint32_t choose_outcome(std::uint64_t& value, BinOutcome& mps,
                                                           const BinOutcome& lps) {
#if defined(__x86_64__)
  // Compilers turn conditional moves back into branches where the bin is tested next.
  std::uint64_t rest = value;
  std::uint32_t is_lps;
  asm("sub %[range], %[rest]\n\t"
      "setae %b[is_lps]\n\t"
      "cmovae %[lps_range], %[range]\n\t"
      "cmovae %[lps_shift], %[shift]\n\t"
      "cmovae %[rest], %[value]\n\t"
      "cmovae %[lps_next], %[next]"
      : [value] "+&r"(value), [rest] "+&r"(rest), [range] "+&r"(mps.range), [shift] "+&r"(mps.shift),
        [next] "+&r"(mps.next), [is_lps] "=&r"(is_lps)
      : [lps_range] "r"(lps.range), [lps_shift] "r"(lps.shift), [lps_next] "r"(lps.next)
      : "cc");
  return is_lps;
#else
  return choose_outcome_plain(value, mps, lps);
#endif
}

class Cabac {
 public:
  Cabac() = default;

  // 9.3.2.5. Reading past the end yields zeros; position() then exceeds the size, which the caller checks. Throws
  // InvalidBitstreamError where ivlOffset is not below ivlCurrRange, which holds from then on.
  explicit Cabac(std::span<const std::uint8_t> data) : data_(data.data()), size_(data.size()) {
    value_ = std::uint64_t{word()} << 32 | std::uint64_t{1} << 31;
    if (value_ >= range_) throw InvalidBitstreamError("an arithmetic codeword begins with 510 or 511");
  }

  // Member by member, so that a copy stays in registers.
  Cabac(const Cabac& other)
      : value_(other.value_), range_(other.range_), next_(other.next_), data_(other.data_), size_(other.size_) {}
  Cabac& operator=(const Cabac& other) {
    value_ = other.value_;
    range_ = other.range_;
    next_ = other.next_;
    data_ = other.data_;
    size_ = other.size_;
    return *this;
  }

  // Bits taken from the data so far, the 9 of ivlOffset included.
  std::size_t position() const { return next_ * 8 - static_cast<std::size_t>(54 - std::countr_zero(value_)); }

  // Whole bytes taken behind the 9 bits of ivlOffset.
  std::size_t bytes_behind_offset() const { return (position() - 9) / 8; }

  // 9.3.4.3.2
  [[gnu::always_inline]] int decision(ContextState& context) {
    const std::uint32_t state = context;
    const std::uint64_t row = kCabacTables.lps[state] << (range_ >> 57 & 48);
    const std::uint64_t lps_range = row & std::uint64_t{0xFF} << 55;
    const std::uint64_t mps_range = range_ - lps_range;
    BinOutcome outcome{mps_range, ~mps_range >> 63, kCabacTables.after_mps[state]};
    const std::uint32_t is_lps =
        choose_outcome(value_, outcome, {lps_range, row >> 48 & 7, kCabacTables.after_lps[state]});
    range_ = outcome.range << outcome.shift;
    context = static_cast<ContextState>(outcome.next);
    consume(static_cast<int>(outcome.shift));
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
  [[gnu::always_inline]] int terminate() {
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
    if (static_cast<std::uint32_t>(value_) == 0) [[unlikely]]
      refill();
  }

  // Adds 32 bits below the valid ones, of which there are fewer than 32 beforehand.
  [[gnu::always_inline]] void refill() {
    // The marker goes 32 bits down, and the word takes its place.
    const std::uint64_t added = (std::uint64_t{word()} << 1 | 1) - (std::uint64_t{1} << 32);
    value_ += added << (std::countr_zero(value_) - 32);
  }

  // The next 32 bits of the data, zeros past its end
  [[gnu::always_inline]] std::uint32_t word() {
    std::uint32_t word = 0;
    if (next_ + 4 <= size_) [[likely]] {
      std::memcpy(&word, data_ + next_, 4);
      if constexpr (std::endian::native == std::endian::little) word = __builtin_bswap32(word);
    } else {
      for (std::size_t i = next_; i < next_ + 4; ++i) word = word << 8 | (i < size_ ? data_[i] : 0u);
    }
    next_ += 4;
    return word;
  }

  // ivlOffset in the 9 top bits, the bits that follow below them, and behind those a 1 that marks their end. Between
  // calls the marker is among the lowest 32 bits.
  std::uint64_t value_ = std::uint64_t{1} << 31;
  std::uint64_t range_ = std::uint64_t{510} << 55;  // ivlCurrRange in the 9 top bits
  std::size_t next_ = 0;                            // bytes that are loaded, with those past the end
  const std::uint8_t* data_ = nullptr;
  std::size_t size_ = 0;
};

}  // namespace ove
