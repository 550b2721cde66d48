// Slice data without arithmetic coding: fixed-length, Exp-Golomb and mapped codes (9.1), and transform coefficient
// levels (9.2).
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

namespace ove::h264 {

// The non-zero coefficients of a block, in no order.
struct CoefficientRun {
  int count = 0;
  std::array<std::int32_t, 16> level;
  std::array<std::uint8_t, 16> index;  // of each, in scanning order
};

// nC of the DC coefficients of chroma (9.2.1)
constexpr int kChromaDc420 = -1, kChromaDc422 = -2;

// Reading past the end yields zeros; position() then exceeds end(), which the caller checks.
class CavlcReader {
 public:
  CavlcReader() = default;
  // From bit `position` of the RBSP on
  CavlcReader(std::span<const std::uint8_t> rbsp, std::size_t position);

  std::size_t position() const { return position_; }  // bits
  std::size_t end() const { return end_; }            // position of the rbsp_stop_one_bit, 0 where there is none
  bool more_data() const { return position_ < end_; }

  // u(n), n <= 32
  std::uint32_t u(int n) {
    const std::uint64_t bits = window();
    position_ += static_cast<std::size_t>(n);
    return n == 0 ? 0 : static_cast<std::uint32_t>(bits >> (64 - n));
  }
  bool flag() { return u(1) != 0; }
  void skip(std::size_t bits) { position_ += bits; }

  // ue(v), 9.1. Throws InvalidBitstreamError where the code has more than 24 leading zeros, which no value that slice
  // data may hold needs.
  std::uint32_t ue() {
    const std::uint64_t bits = window();
    const int zeros = std::countl_zero(bits | 1);
    if (zeros > 24) throw_code("an Exp-Golomb code");
    position_ += static_cast<std::size_t>(2 * zeros + 1);
    return static_cast<std::uint32_t>(bits >> (63 - 2 * zeros)) - 1;
  }
  // se(v), 9.1.1
  std::int32_t se() {
    const std::uint32_t k = ue();
    const auto half = static_cast<std::int32_t>((k + 1) >> 1);
    return k & 1 ? half : -half;
  }
  // te(v), 9.1: of a value up to `limit` > 0, which the caller checks
  std::uint32_t te(int limit) { return limit == 1 ? !flag() : ue(); }
  // me(v), 9.1.2; `has_chroma`: ChromaArrayType is 1 or 2
  int coded_block_pattern(bool has_chroma, bool inter);

  // 9.2 residual_block_cavlc(): `nC` is that of 9.2.1, `most` maxNumCoeff. Throws InvalidBitstreamError.
  void residual_block(int nC, int most, CoefficientRun& out);

 private:
  [[noreturn]] static void throw_code(const char* what);

  // At least 57 bits from the position on, in the highest bits
  [[gnu::always_inline]] std::uint64_t window() const {
    const std::size_t byte = position_ >> 3;
    std::uint64_t word = 0;
    if (byte + 8 <= data_.size()) [[likely]] {
      std::memcpy(&word, data_.data() + byte, 8);
      if constexpr (std::endian::native == std::endian::little) word = __builtin_bswap64(word);
    } else {
      for (std::size_t i = 0; i < 8; ++i) word = word << 8 | (byte + i < data_.size() ? data_[byte + i] : 0);
    }
    return word << (position_ & 7);
  }

  int level(int suffix_length, bool more);  // level_prefix and level_suffix

  std::span<const std::uint8_t> data_;
  std::size_t position_ = 0, end_ = 0;
};

}  // namespace ove::h264
