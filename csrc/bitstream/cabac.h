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

namespace ove {

// pStateIdx << 1 | valMps
using ContextState = std::uint8_t;

// 9.3.2.2: state of a context from its initValue and SliceQpY
ContextState init_context(int init_value, int slice_qp);

struct CabacTables {
  std::array<std::uint8_t, 4 * 128> lps_range;  // [qRangeIdx][ContextState]
  std::array<ContextState, 2 * 128> next;       // [was the LPS decoded][ContextState]
};
extern const CabacTables kCabacTables;

class Cabac {
 public:
  Cabac() = default;

  // 9.3.2.5. Reading past the end yields zeros; position() then exceeds the size, which the caller checks.
  explicit Cabac(std::span<const std::uint8_t> data) : next_(data.data()), end_(data.data() + data.size()) { refill(); }

  // Bits taken from the data so far, the 9 of ivlOffset included.
  std::size_t position() const { return loaded_ - static_cast<std::size_t>(bits_); }

  // 9.3.4.3.2
  [[gnu::always_inline]] int decision(ContextState& context) {
    const std::uint32_t state = context;
    const std::uint32_t lps = kCabacTables.lps_range[(range_ & 0xC0) * 2 + state];
    const std::uint32_t mps = range_ - lps;
    const std::uint64_t scaled = std::uint64_t{mps} << 55;
    const std::uint64_t is_lps = -static_cast<std::uint64_t>(value_ >= scaled);
    value_ -= scaled & is_lps;
    range_ = mps + ((lps - mps) & static_cast<std::uint32_t>(is_lps));
    context = kCabacTables.next[state + (is_lps & 128)];
    const int shift = std::countl_zero(range_) - 23;
    range_ <<= shift;
    consume(shift);
    return static_cast<int>((state ^ is_lps) & 1);
  }

  // 9.3.4.3.4
  [[gnu::always_inline]] int bypass() {
    const std::uint64_t scaled = std::uint64_t{range_} << 54;
    const std::uint64_t bin = value_ >= scaled;
    value_ -= scaled & -bin;
    consume(1);
    return static_cast<int>(bin);
  }

  // n <= 16 bypass bins, first bin in the highest bit
  [[gnu::always_inline]] std::uint32_t bypass_bits(int n) {
    std::uint64_t scaled = std::uint64_t{range_} << 55;
    std::uint32_t bins = 0;
    for (int i = 0; i < n; ++i) {
      scaled >>= 1;
      const std::uint64_t bin = value_ >= scaled;
      value_ -= scaled & -bin;
      bins = bins * 2 + static_cast<std::uint32_t>(bin);
    }
    consume(n);
    return bins;
  }

  // 9.3.4.3.5. After a 1, the engine has read up to and including the bit that precedes the byte alignment.
  int terminate() {
    const std::uint64_t scaled = std::uint64_t{range_ - 2} << 55;
    if (value_ >= scaled) return 1;
    range_ -= 2;
    const int shift = range_ < 256;
    range_ <<= shift;
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
  std::uint32_t range_ = 510;
  int bits_ = -9;  // valid bits beyond the 9 of ivlOffset
  std::size_t loaded_ = 0;
  const std::uint8_t* next_ = nullptr;
  const std::uint8_t* end_ = nullptr;
};

}  // namespace ove
