#include "h264/cavlc.h"

#include <algorithm>
#include <string>

#include "common/error.h"
#include "h264/cavlc_tables.h"

namespace ove::h264 {

namespace {

constexpr int kMaxLevelPrefix = 24;  // of a level below 2^22

// The code that the window begins with, of a table by leading zeros
template <int kSuffix>
[[gnu::always_inline]] inline VlcEntry look_up(const std::array<VlcEntry, std::size_t{16} << kSuffix>& table,
                                               std::uint64_t window) {
  const int zeros = std::countl_zero(window | std::uint64_t{1} << 48);
  const std::uint64_t suffix = window << zeros << 1 >> (64 - kSuffix);
  return table[static_cast<std::size_t>(zeros) << kSuffix | suffix];
}

// Table 9-5: total_coeff * 4 + trailing_ones
[[gnu::always_inline]] inline VlcEntry coeff_token(int nC, std::uint64_t window) {
  if (nC >= 8) {
    const auto bits = static_cast<std::uint8_t>(window >> 58);
    return {6, static_cast<std::uint8_t>(bits == 3 ? 0 : bits + 4)};
  }
  if (nC >= 0) return look_up<3>(kCoeffTokenTables[nC < 2 ? 0 : nC < 4 ? 1 : 2], window);
  return look_up<3>(nC == kChromaDc420 ? kCoeffTokenTable420 : kCoeffTokenTable422, window);
}

// Tables 9-7 to 9-9
[[gnu::always_inline]] inline VlcEntry total_zeros(int most, int total, std::uint64_t window) {
  const auto table = static_cast<std::size_t>(total - 1);
  if (most == 4) return look_up<2>(kTotalZerosTables420[table], window);
  if (most == 8) return look_up<2>(kTotalZerosTables422[table], window);
  return look_up<2>(kTotalZerosTables[table], window);
}

// Table 9-10
[[gnu::always_inline]] inline VlcEntry run_before(int zeros_left, std::uint64_t window) {
  const auto bits = static_cast<std::size_t>(window >> 61);
  if (zeros_left <= 6) return kRunBeforeTables[static_cast<std::size_t>(zeros_left - 1)][bits];
  if (bits > 0) return {3, static_cast<std::uint8_t>(7 - bits)};
  const int zeros = std::countl_zero(window | std::uint64_t{1} << 32);
  return {static_cast<std::uint8_t>(zeros + 1), static_cast<std::uint8_t>(zeros + 4)};
}

}  // namespace

CavlcReader::CavlcReader(std::span<const std::uint8_t> rbsp, std::size_t position) : data_(rbsp), position_(position) {
  std::size_t size = rbsp.size();
  while (size > 0 && rbsp[size - 1] == 0) --size;
  if (size > 0) end_ = size * 8 - 1 - static_cast<std::size_t>(std::countr_zero(rbsp[size - 1]));
}

void CavlcReader::throw_code(const char* what) {
  throw InvalidBitstreamError(std::string(what) + " of slice data is invalid");
}

int CavlcReader::coded_block_pattern(bool has_chroma, bool inter) {
  const std::uint32_t code = ue();
  if (code >= (has_chroma ? 48 : 16)) throw_code("coded_block_pattern");
  return has_chroma ? kCodedBlockPatterns[inter][code] : kCodedBlockPatternsLuma[inter][code];
}

// 9.2.2.1; levelCode
[[gnu::always_inline]] inline int CavlcReader::level(int suffix_length, bool more) {
  const std::uint64_t bits = window();
  const int prefix = std::countl_zero(bits | 1);
  if (prefix > kMaxLevelPrefix) throw_code("level_prefix");
  int code = std::min(prefix, 15) << suffix_length;
  int size = suffix_length;
  if (prefix >= 14) [[unlikely]] {
    if (prefix >= 15) {
      size = prefix - 3;
      if (suffix_length == 0) code += 15;
      if (prefix >= 16) code += (1 << (prefix - 3)) - 4096;
    } else if (suffix_length == 0) {
      size = 4;
    }
  }
  if (size > 0) code += static_cast<int>(bits << prefix << 1 >> (64 - size));
  position_ += static_cast<std::size_t>(prefix + 1 + size);
  return code + (more ? 2 : 0);
}

void CavlcReader::residual_block(int nC, int most, CoefficientRun& out) {
  const VlcEntry token = coeff_token(nC, window());
  if (token.length == 0) throw_code("coeff_token");
  position_ += token.length;
  const int total = token.symbol >> 2, ones = token.symbol & 3;
  out.count = total;
  if (total == 0) return;
  if (total > most) throw_code("coeff_token");

  // 9.2.2
  if (ones > 0) {
    const std::uint32_t signs = u(ones);
    for (int i = 0; i < ones; ++i) out.level[static_cast<std::size_t>(i)] = signs >> (ones - 1 - i) & 1 ? -1 : 1;
  }
  int suffix_length = total > 10 && ones < 3 ? 1 : 0;
  for (int i = ones; i < total; ++i) {
    const int code = level(suffix_length, i == ones && ones < 3);
    const int magnitude = (code >> 1) + 1;
    out.level[static_cast<std::size_t>(i)] = code & 1 ? -magnitude : magnitude;
    if (suffix_length == 0) suffix_length = 1;
    if (magnitude > 3 << (suffix_length - 1) && suffix_length < 6) ++suffix_length;
  }

  // 9.2.3
  int zeros_left = 0;
  if (total < most) {
    const VlcEntry zeros = total_zeros(most, total, window());
    position_ += zeros.length;
    zeros_left = zeros.symbol;
    if (zeros.length == 0 || zeros_left + total > most) throw_code("total_zeros");
  }
  int index = zeros_left + total - 1;
  for (int i = 0; i < total; ++i, --index) {
    out.index[static_cast<std::size_t>(i)] = static_cast<std::uint8_t>(index);
    if (zeros_left > 0 && i + 1 < total) {
      const VlcEntry run = run_before(zeros_left, window());
      if (run.length == 0 || run.symbol > zeros_left) throw_code("run_before");
      position_ += run.length;
      zeros_left -= run.symbol;
      index -= run.symbol;
    }
  }
}

}  // namespace ove::h264
