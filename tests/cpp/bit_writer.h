// Writes what BitReader reads.
#pragma once

#include <bit>
#include <cstdint>
#include <vector>

namespace ove::test {

class BitWriter {
 public:
  BitWriter& u(int n, std::uint32_t value) {
    for (int i = n - 1; i >= 0; --i) bits_.push_back(value >> i & 1);
    return *this;
  }
  BitWriter& ue(std::uint32_t value) {
    const std::uint64_t coded = std::uint64_t{value} + 1;
    const int length = std::bit_width(coded);
    for (int i = 0; i < length - 1; ++i) bits_.push_back(false);
    for (int i = length - 1; i >= 0; --i) bits_.push_back(coded >> i & 1);
    return *this;
  }
  BitWriter& se(std::int32_t value) {
    return ue(value > 0 ? 2 * static_cast<std::uint32_t>(value) - 1 : 2 * static_cast<std::uint32_t>(-value));
  }
  // rbsp_trailing_bits()
  std::vector<std::uint8_t> finish() {
    bits_.push_back(true);
    return bytes();
  }
  std::vector<std::uint8_t> bytes() const {
    std::vector<std::uint8_t> out((bits_.size() + 7) / 8);
    for (std::size_t i = 0; i < bits_.size(); ++i) {
      if (bits_[i]) out[i / 8] = static_cast<std::uint8_t>(out[i / 8] | 0x80 >> i % 8);
    }
    return out;
  }
  std::size_t size() const { return bits_.size(); }

 private:
  std::vector<bool> bits_;
};

}  // namespace ove::test
