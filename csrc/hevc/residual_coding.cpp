// 7.3.8.11 residual_coding(): the hot loop of syntax decoding. Chroma coefficients are parsed and dropped.
#include <algorithm>
#include <bit>
#include <utility>

#include "hevc/scan.h"
#include "hevc/slice_data.h"

namespace ove::hevc {

namespace {

// Positions of a square block by scan index, and back.
template <int kSize>
struct Scan {
  std::array<ScanPosition, kSize * kSize> position;
  std::array<std::uint8_t, kSize * kSize> index;  // by y * kSize + x

  explicit constexpr Scan(const std::array<ScanPosition, kSize * kSize>& order) : position(order), index{} {
    for (std::size_t i = 0; i < order.size(); ++i) {
      index[static_cast<std::size_t>(order[i].y * kSize + order[i].x)] = static_cast<std::uint8_t>(i);
    }
  }
};

struct ScanTables {
  const ScanPosition* sub_blocks;       // of the block, in units of sub-blocks
  const std::uint8_t* sub_block_index;  // by y * (sub-blocks a row) + x
};

constexpr Scan<1> kDiagonal1{diagonal_scan<1>()};
constexpr Scan<2> kDiagonal2{diagonal_scan<2>()}, kHorizontal2{raster_scan<2>(false)}, kVertical2{raster_scan<2>(true)};
constexpr Scan<4> kDiagonal4{diagonal_scan<4>()};
constexpr Scan<8> kDiagonal8{diagonal_scan<8>()};
constexpr std::array<Scan<4>, 3> kScan4{Scan<4>{diagonal_scan<4>()}, Scan<4>{raster_scan<4>(false)},
                                        Scan<4>{raster_scan<4>(true)}};

ScanTables sub_block_scan(int log2_size, int scan_idx) {
  if (log2_size == 2) return {kDiagonal1.position.data(), kDiagonal1.index.data()};
  if (log2_size == 4) return {kDiagonal4.position.data(), kDiagonal4.index.data()};
  if (log2_size == 5) return {kDiagonal8.position.data(), kDiagonal8.index.data()};
  if (scan_idx == kScanHorizontal) return {kHorizontal2.position.data(), kHorizontal2.index.data()};
  if (scan_idx == kScanVertical) return {kVertical2.position.data(), kVertical2.index.data()};
  return {kDiagonal2.position.data(), kDiagonal2.index.data()};
}

// 9.3.4.2.5: sigCtx of 4x4 blocks, and of the sub-blocks of larger ones by prevCsbf (the offsets of the block left
// out), by scan order.
struct SigCtxTables {
  std::array<std::array<std::uint8_t, 16>, 3> small;
  std::array<std::array<std::array<std::uint8_t, 16>, 4>, 3> large;  // [scanIdx][prevCsbf][n]
};

constexpr SigCtxTables make_sig_ctx_tables() {
  constexpr std::uint8_t kMap[16] = {0, 1, 4, 5, 2, 3, 4, 5, 6, 6, 8, 8, 7, 7, 8, 8};
  SigCtxTables t{};
  for (std::size_t scan = 0; scan < 3; ++scan) {
    for (std::size_t n = 0; n < 16; ++n) {
      const int x = kScan4[scan].position[n].x, y = kScan4[scan].position[n].y;
      t.small[scan][n] = kMap[y * 4 + x];
      t.large[scan][0][n] = static_cast<std::uint8_t>(x + y == 0 ? 2 : x + y < 3 ? 1 : 0);
      t.large[scan][1][n] = static_cast<std::uint8_t>(y == 0 ? 2 : y == 1 ? 1 : 0);
      t.large[scan][2][n] = static_cast<std::uint8_t>(x == 0 ? 2 : x == 1 ? 1 : 0);
      t.large[scan][3][n] = 2;
    }
  }
  return t;
}
constexpr SigCtxTables kSigCtx = make_sig_ctx_tables();

// 9.3.4.2.6: greater1Ctx after a flag: 0 once a flag was 1, else up to 3
constexpr std::uint8_t kNextGreater1Ctx[2][4] = {{0, 2, 3, 3}, {0, 0, 0, 0}};

constexpr std::array<std::int32_t, 6> kLevelScale = {40, 45, 51, 57, 64, 72};

// 9.3.3.11: a prefix of ones, ended by a zero, and a suffix whose length it tells
[[gnu::always_inline]] inline int coeff_abs_level_remaining(Cabac& cabac, int rice) {
  const std::uint32_t bins = cabac.peek_bypass16();
  int prefix = std::countl_one(static_cast<std::uint16_t>(bins));
  if (prefix <= 3 && rice <= 12) [[likely]] {
    const int length = prefix + 1 + rice;
    const std::uint32_t taken = bins >> (16 - length);
    cabac.skip_bypass(taken, length);
    return (prefix << rice) + static_cast<int>(taken & ((1U << rice) - 1));
  }
  if (prefix < 16) {
    cabac.skip_bypass(bins >> (15 - prefix), prefix + 1);
  } else {
    cabac.skip_bypass(bins, 16);
    while (prefix < 32 && cabac.bypass()) ++prefix;
  }
  const int length = prefix <= 3 ? rice : prefix - 3 + rice;
  if (length > 20) throw InvalidBitstreamError("coeff_abs_level_remaining is out of range");
  const int base = prefix <= 3 ? prefix << rice : ((1 << (prefix - 3)) + 3 - 1) << rice;
  int suffix = 0;
  if (length > 16) suffix = static_cast<int>(cabac.bypass_bits(length - 16)) << 16;
  return base + suffix + static_cast<int>(cabac.bypass_bits(std::min(length, 16)));
}

// last_sig_coeff_x_prefix or _y_prefix
template <bool kLuma>
[[gnu::always_inline]] inline int last_sig_coeff_prefix(Cabac& cabac, ContextState* contexts, int log2_size) {
  const int offset = kLuma ? 3 * (log2_size - 2) + ((log2_size - 1) >> 2) : 15;
  const int shift = kLuma ? (log2_size + 1) >> 2 : log2_size - 2;
  const int max = (log2_size << 1) - 1;
  int prefix = 0;
  while (prefix < max && cabac.decision(contexts[offset + (prefix >> shift)])) ++prefix;
  return prefix;
}

[[gnu::always_inline]] inline int last_sig_coeff(Cabac& cabac, int prefix) {
  if (prefix <= 3) return prefix;
  const int length = (prefix >> 1) - 1;
  return (1 << length) * (2 + (prefix & 1)) + static_cast<int>(cabac.bypass_bits(length));
}

}  // namespace

void SliceDataParser::residual_coding(const CodingUnit& cu, const ResidualBlock& block) {
  const auto parse = [&] {
    if (block.c_idx == 0) {
      residual_coding<true>(cu, block);
    } else {
      residual_coding<false>(cu, block);
    }
  };
  if (bits_rule_ == codec::BitsRule::kExact) return parse();
  // codec-video-prep takes the size of a chroma block for one in luma samples.
  spread_over(block.x, block.y, 1 << block.log2_size, parse);
}

template <bool kLuma>
void SliceDataParser::residual_coding(const CodingUnit& cu, const ResidualBlock& block) {
  constexpr int kComponent = kLuma ? 0 : 1;
  const int log2_size = block.log2_size;
  const bool store = kLuma && residual_ != nullptr;
  // A local engine, so that it stays in registers.
  Cabac cabac = cabac_;
  ContextState* const contexts = state_.contexts.data();

  const bool bypass = cu.transquant_bypass;
  const bool transform_skip = pps_.transform_skip_enabled && !bypass &&
                              log2_size <= pps_.log2_max_transform_skip_size &&
                              cabac.decision(contexts[kCtxTransformSkip + kComponent]);
  Rdpcm rdpcm = Rdpcm::kNone;
  bool explicit_rdpcm = false;
  if (transform_skip || bypass) {
    if (!cu.intra && sps_.explicit_rdpcm_enabled) {
      explicit_rdpcm = cabac.decision(contexts[kCtxExplicitRdpcm + kComponent]);
      if (explicit_rdpcm) {
        rdpcm = cabac.decision(contexts[kCtxExplicitRdpcmDir + kComponent]) ? Rdpcm::kVertical : Rdpcm::kHorizontal;
      }
    } else if (cu.intra && sps_.implicit_rdpcm_enabled) {
      if (block.intra_mode == 10) rdpcm = Rdpcm::kHorizontal;
      if (block.intra_mode == 26) rdpcm = Rdpcm::kVertical;
    }
  }
  const bool sign_hiding =
      pps_.sign_data_hiding_enabled && !bypass && !explicit_rdpcm && !(cu.intra && rdpcm != Rdpcm::kNone);

  const int x_prefix = last_sig_coeff_prefix<kLuma>(cabac, contexts + kCtxLastSigCoeffX, log2_size);
  const int y_prefix = last_sig_coeff_prefix<kLuma>(cabac, contexts + kCtxLastSigCoeffY, log2_size);
  int last_x = last_sig_coeff(cabac, x_prefix);
  int last_y = last_sig_coeff(cabac, y_prefix);

  int scan_idx = kScanDiagonal;  // 7.4.9.11
  if (cu.intra && (log2_size == 2 || (log2_size == 3 && (kLuma || sps_.chroma_array_type == 3)))) {
    if (block.intra_mode >= 6 && block.intra_mode <= 14) scan_idx = kScanVertical;
    if (block.intra_mode >= 22 && block.intra_mode <= 30) scan_idx = kScanHorizontal;
  }
  if (scan_idx == kScanVertical) std::swap(last_x, last_y);

  const ScanTables scan = sub_block_scan(log2_size, scan_idx);
  const Scan<4>& scan4 = kScan4[static_cast<std::size_t>(scan_idx)];
  const int sub_blocks_log2 = log2_size - 2;
  const int last_sub_block = scan.sub_block_index[((last_y >> 2) << sub_blocks_log2) + (last_x >> 2)];
  const int last_position = scan4.index[static_cast<std::size_t>((last_y & 3) * 4 + (last_x & 3))];

  // sigCtx (9.3.4.2.5): either one context, or a table plus what the block adds to it
  const bool single_sig_ctx = sps_.transform_skip_context_enabled && (transform_skip || bypass);
  ContextState* const sig_contexts = contexts + kCtxSigCoeff + (kLuma ? 0 : 27);

  // 8.6.3, 8.6.4.2: scaling
  const int bd_shift = sps_.bit_depth_luma + log2_size - 5;
  const int qp = qp_ + 6 * (sps_.bit_depth_luma - 8);
  const std::int64_t level_scale = store ? std::int64_t{kLevelScale[static_cast<std::size_t>(qp % 6)]} << (qp / 6) : 0;
  const std::uint8_t* factors = nullptr;  // null: flat, 16
  if (store && sps_.scaling_list_enabled && !(transform_skip && log2_size > 2)) {
    const ScalingFactors& lists = pps_.scaling_factors ? *pps_.scaling_factors : *sps_.scaling_factors;
    factors = lists.luma[static_cast<std::size_t>(log2_size - 2)][cu.intra ? 0 : 1].data();
  }

  const auto stat_idx = static_cast<std::size_t>((kLuma ? 2 : 0) + (transform_skip || bypass ? 1 : 0));
  std::array<std::uint16_t, 9> coded{};  // coded_sub_block_flag, a bit a column, with an empty row below
  int greater1_ctx = 1;                  // carried from one sub-block to the next
  for (int i = last_sub_block; i >= 0; --i) {
    const int xs = scan.sub_blocks[i].x, ys = scan.sub_blocks[i].y;
    const auto row = static_cast<std::size_t>(ys);
    const int right = coded[row] >> (xs + 1) & 1, below = coded[row + 1] >> xs & 1;
    bool infer_dc = false;
    if (i < last_sub_block && i > 0) {
      if (!cabac.decision(contexts[kCtxCodedSubBlock + 2 * kComponent + (right | below)])) continue;
      infer_dc = true;
    }
    coded[row] = static_cast<std::uint16_t>(coded[row] | 1 << xs);

    // sig_coeff_flag
    std::array<std::uint8_t, 16> positions;
    int count = 0;
    int n = 15;
    if (i == last_sub_block) {
      positions[0] = static_cast<std::uint8_t>(last_position);
      count = 1;
      n = last_position - 1;
    }
    if (single_sig_ctx) {
      ContextState& context = contexts[kCtxSigCoeff + 42 + kComponent];
      for (; n > 0; --n) {
        positions[static_cast<std::size_t>(count)] = static_cast<std::uint8_t>(n);
        count += cabac.decision(context);
      }
      if (n == 0) {
        positions[static_cast<std::size_t>(count)] = 0;
        count += infer_dc && count == 0 ? 1 : cabac.decision(context);
      }
    } else {
      const std::uint8_t* table;
      int offset;
      if (log2_size == 2) {
        table = kSigCtx.small[static_cast<std::size_t>(scan_idx)].data();
        offset = 0;
      } else {
        table = kSigCtx.large[static_cast<std::size_t>(scan_idx)][static_cast<std::size_t>(right | below << 1)].data();
        if constexpr (kLuma) {
          offset = (i > 0 ? 3 : 0) + (log2_size == 3 ? (scan_idx == kScanDiagonal ? 9 : 15) : 21);
        } else {
          offset = log2_size == 3 ? 9 : 12;
        }
      }
      if (log2_size > 2 && (right & below)) {  // one context for all: it stays in a register
        ContextState context = sig_contexts[offset + 2];
        for (; n > 0; --n) {
          positions[static_cast<std::size_t>(count)] = static_cast<std::uint8_t>(n);
          count += cabac.decision(context);
        }
        sig_contexts[offset + 2] = context;
      } else {
        for (; n > 0; --n) {
          positions[static_cast<std::size_t>(count)] = static_cast<std::uint8_t>(n);
          count += cabac.decision(sig_contexts[offset + table[n]]);
        }
      }
      if (n == 0) {
        positions[static_cast<std::size_t>(count)] = 0;
        if (infer_dc && count == 0) {
          ++count;
        } else {
          count += cabac.decision(sig_contexts[i == 0 ? 0 : offset + table[0]]);
        }
      }
    }
    if (count == 0) continue;

    // coeff_abs_level_greater1_flag, coeff_abs_level_greater2_flag
    std::array<int, 16> level;
    const int ctx_set = (i == 0 || !kLuma ? 0 : 2) + (greater1_ctx == 0);
    greater1_ctx = 1;
    ContextState* const greater1 = contexts + kCtxGreater1 + 16 * kComponent + 4 * ctx_set;
    const int flags = std::min(count, 8);
    unsigned greater = 0;  // coeff_abs_level_greater1_flag by bit
    for (int m = 0; m < flags; ++m) {
      const int flag = cabac.decision(greater1[greater1_ctx]);
      level[static_cast<std::size_t>(m)] = 1 + flag;
      greater |= static_cast<unsigned>(flag) << m;
      greater1_ctx = kNextGreater1Ctx[flag][greater1_ctx];
    }
    const int first_greater1 = greater ? std::countr_zero(greater) : -1;
    if (greater) {
      level[static_cast<std::size_t>(first_greater1)] +=
          cabac.decision(contexts[kCtxGreater2 + 4 * kComponent + ctx_set]);
    }

    // coeff_sign_flag
    const bool sign_hidden = sign_hiding && positions[0] - positions[static_cast<std::size_t>(count - 1)] > 3;
    const int num_signs = count - sign_hidden;
    std::uint32_t signs = cabac.bypass_bits(num_signs) << (32 - num_signs);

    // coeff_abs_level_remaining
    int rice = sps_.persistent_rice_adaptation_enabled ? state_.stat_coeff[stat_idx] / 4 : 0;
    bool first_remaining = true;
    int sum = 0;
    for (int m = 0; m < count; ++m) {
      const auto at = static_cast<std::size_t>(m);
      int value = m < 8 ? level[at] : 1;
      const int threshold = m >= 8 ? 1 : m == first_greater1 ? 3 : 2;
      if (value == threshold) {
        const int remaining = coeff_abs_level_remaining(cabac, rice);
        value += remaining;
        if (value > 3 << rice) rice = sps_.persistent_rice_adaptation_enabled ? rice + 1 : std::min(rice + 1, 4);
        if (first_remaining && sps_.persistent_rice_adaptation_enabled) {  // 9.3.4.2.7
          std::uint8_t& stat = state_.stat_coeff[stat_idx];
          if (remaining >= 3 << (stat / 4)) {
            ++stat;
          } else if (2 * remaining < 1 << (stat / 4) && stat > 0) {
            --stat;
          }
        }
        first_remaining = false;
        if (value > 32768) throw InvalidBitstreamError("a transform coefficient level is out of range");
      }
      level[at] = value;
      sum += value;
    }
    if (!store) continue;

    coefficients_.columns = std::max(coefficients_.columns, xs * 4 + 4);
    coefficients_.rows = std::max(coefficients_.rows, ys * 4 + 4);
    for (int m = 0; m < count; ++m) {
      const auto at = static_cast<std::size_t>(m);
      int value = level[at];
      if (m == num_signs) {
        if (sum & 1) value = -value;  // the sign that is hidden
      } else {
        if (signs >> 31) value = -value;
        signs <<= 1;
      }
      const ScanPosition p = scan4.position[positions[at]];
      const int x = xs * 4 + p.x, y = ys * 4 + p.y;
      const int index = (y << log2_size) + x;
      if (!bypass) {
        const int factor = factors ? factors[index] : 16;
        const std::int64_t scaled = (value * factor * level_scale + (std::int64_t{1} << (bd_shift - 1))) >> bd_shift;
        value = static_cast<int>(std::clamp<std::int64_t>(scaled, -32768, 32767));
      }
      coefficients_.values[static_cast<std::size_t>(index)] = static_cast<std::int16_t>(value);
    }
  }
  cabac_ = cabac;
  if (!store) return;
  if (last_sub_block == 0 && last_position == 0) coefficients_.columns = coefficients_.rows = 1;

  const bool rotate = sps_.transform_skip_rotation_enabled && (transform_skip || bypass) && cu.intra && log2_size == 2;
  const ResidualMode mode{.log2_size = log2_size,
                          .bit_depth = sps_.bit_depth_luma,
                          .transquant_bypass = bypass,
                          .transform_skip = transform_skip,
                          .rotate = rotate,
                          .dst = cu.intra && log2_size == 2,
                          .rdpcm = rdpcm};
  const auto size4 = static_cast<std::uint16_t>(1 << (log2_size - 2));
  residual_->coded.push_back(
      {static_cast<std::uint16_t>(block.x >> 2), static_cast<std::uint16_t>(block.y >> 2), size4});
  const bool packed = residual_->form == ResidualForm::kPacked;
  const std::ptrdiff_t stride = packed ? 1 << log2_size : sps_.width;
  const std::ptrdiff_t at = packed ? static_cast<std::ptrdiff_t>(residual_->packed) : block.y * stride + block.x;
  if (packed) residual_->packed += std::size_t{1} << 2 * log2_size;
  reconstruct_residual(transforms_, coefficients_, mode, residual_->samples.data() + at, stride);
}

}  // namespace ove::hevc
