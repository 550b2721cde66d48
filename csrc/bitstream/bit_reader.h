// Fixed-length and Exp-Golomb codes from an RBSP. Every read is checked: a header that runs past its end throws.
#pragma once

#include <bit>
#include <cstdint>
#include <span>

#include "common/error.h"

namespace ove {

class BitReader {
 public:
  explicit BitReader(std::span<const std::uint8_t> rbsp) : data_(rbsp), size_(rbsp.size() * 8) {}

  std::size_t position() const { return position_; }
  std::size_t bits_left() const { return size_ - position_; }

  // u(n), n <= 32
  std::uint32_t u(int n) {
    if (static_cast<std::size_t>(n) > bits_left()) throw_end();
    std::uint64_t window = 0;
    const std::size_t first = position_ >> 3;
    for (std::size_t i = 0; i < 5; ++i) window = window << 8 | (first + i < data_.size() ? data_[first + i] : 0);
    position_ += static_cast<std::size_t>(n);
    const int shift = 40 - static_cast<int>((position_ - static_cast<std::size_t>(n)) & 7) - n;
    return static_cast<std::uint32_t>(window >> shift & ((std::uint64_t{1} << n) - 1));
  }
  bool flag() { return u(1) != 0; }
  void skip(std::size_t n) {
    if (n > bits_left()) throw_end();
    position_ += n;
  }

  // ue(v), 9.2
  std::uint32_t ue() {
    int zeros = 0;
    while (!flag()) {
      if (++zeros > 31) throw InvalidBitstreamError("an Exp-Golomb code has more than 31 leading zeros");
    }
    return (std::uint32_t{1} << zeros) - 1 + u(zeros);
  }
  // ue(v) that may not exceed `limit`; `name` is the syntax element's.
  int ue(std::uint32_t limit, const char* name) {
    const std::uint32_t value = ue();
    if (value > limit) throw_range(name, value, limit);
    return static_cast<int>(value);
  }
  // se(v), 9.2.2
  std::int32_t se() {
    const std::uint32_t k = ue();
    const auto half = static_cast<std::int32_t>((std::uint64_t{k} + 1) >> 1);
    return k & 1 ? half : -half;
  }
  std::int32_t se(std::int32_t low, std::int32_t high, const char* name) {
    const std::int32_t value = se();
    if (value < low || value > high) throw_range(name, value, value < low ? low : high);
    return value;
  }

  // 7.2: whether anything precedes the rbsp_stop_one_bit
  bool more_rbsp_data() const;

 private:
  [[noreturn]] static void throw_end();
  [[noreturn]] static void throw_range(const char* name, std::int64_t value, std::int64_t limit);

  std::span<const std::uint8_t> data_;
  std::size_t size_;
  std::size_t position_ = 0;
};

// Number of bits of a u(v) field that holds 0 .. count - 1: Ceil(Log2(count)).
inline int ceil_log2(std::uint32_t count) { return count <= 1 ? 0 : std::bit_width(count - 1); }

}  // namespace ove
