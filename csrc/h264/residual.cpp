// 7.3.5.3 residual(): which blocks follow, and what becomes of those of luma
#include <algorithm>
#include <cstring>
#include <utility>

#include "h264/scan.h"
#include "h264/slice_data.h"

namespace ove::h264 {

namespace {

constexpr std::uint8_t kNotAvailable = 64;  // in a grid of CAVLC
constexpr Scan8x8 kChromaDcScan{};          // chroma is parsed and dropped

}  // namespace

void SliceDataParser::prepare_scaling() {
  if (residual_ == nullptr || scaling_pps_ == pps_) return;
  level_scales_ = LevelScales(pps_->scaling_factors);
  scaling_pps_ = pps_;
}

template <bool kCabac>
void SliceDataParser::residual() {
  const bool chroma_as_luma = sps_.chroma_format_idc == 3;
  const bool luma = (mb_.cbp & 15) != 0 || mb_.type == MbType::kIntra16x16;
  const int first_plane = luma ? 0 : 1, end_plane = (chroma_as_luma && luma) || (mb_.cbp & 0x20) ? 3 : 1;
  gather_coefficients(first_plane, end_plane);
  if (luma) residual_luma<kCabac>(0);
  if (chroma_as_luma && luma) {
    residual_luma<kCabac>(1);
    residual_luma<kCabac>(2);
  } else {
    residual_chroma<kCabac>();
  }
  keep_coefficients(first_plane, end_plane);
}
template void SliceDataParser::residual<false>();
template void SliceDataParser::residual<true>();

// The blocks above and to the left of the macroblock, of the planes whose blocks have a place in a grid. Those of the
// macroblock itself are not coded yet.
void SliceDataParser::gather_coefficients(int first_plane, int end_plane) {
  const bool cabac = pps_->entropy_coding_mode;
  const std::uint8_t none = cabac ? mb_.intra() : kNotAvailable;  // 9.3.3.1.1.9, 9.2.1
  for (MbRecord::Coefficients& plane : none_.coefficients) {
    plane.bottom.fill(none);
    plane.right.fill(none);
  }
  none_.coded_dc = mb_.intra() ? 7 : 0;
  // coded_block_flag of an 8x8 block looks at 8x8 blocks alone (9.3.3.1.1.9). It comes in 4:4:4 alone.
  const bool only_8x8 = cabac && mb_.transform_8x8 && sps_.chroma_format_idc == 3;
  // x264 before build 151 took every other available block for one of a macroblock that is not.
  const bool x264 = slice_->x264_444_contexts;
  const int others = MbRecord::kTransform8x8 | (x264 ? 0 : MbRecord::kPcm);
  const std::uint8_t other = x264 && mb_.intra();
  const auto counts = [&](const MbRecord& record) { return !only_8x8 || &record == &none_ || (record.flags & others); };
  for (int plane = first_plane; plane < end_plane; ++plane) {
    const auto p = static_cast<std::size_t>(plane);
    Grid<std::uint8_t>& grid = coefficient_grid_[p];
    std::memset(&grid[kGridRow], 0, 4 * kGridRow);
    if (counts(*above_)) {
      std::copy_n(above_->coefficients[p].bottom.begin(), 4, grid.begin() + grid_at(0, -1));
    } else {
      std::fill_n(grid.begin() + grid_at(0, -1), 4, other);
    }
    if (plane > 0 && sps_.chroma_format_idc != 3) {
      // Two columns; 4:2:0 has two rows, whose neighbours lie beside every other row of luma.
      const int first_row = sps_.chroma_format_idc == 1 ? 2 : 0;
      for (int y = first_row; y < 4; ++y) {
        const auto row = static_cast<std::size_t>(first_row ? 2 * (y - first_row) : y);
        const std::size_t left_row = first_row ? (left_row_[row] >> 1) + 2u : left_row_[row];
        grid[grid_at(1, y)] = left_[row]->coefficients[p].right[left_row];
      }
      if (first_row) std::copy_n(grid.begin() + grid_at(2, -1), 2, grid.begin() + grid_at(2, 1));
      continue;
    }
    for (std::size_t y = 0; y < 4; ++y) {
      grid[grid_at(-1, static_cast<int>(y))] =
          counts(*left_[y]) ? left_[y]->coefficients[p].right[left_row_[y]] : other;
    }
  }
}

void SliceDataParser::keep_coefficients(int first_plane, int end_plane) {
  for (int plane = first_plane; plane < end_plane; ++plane) {
    const Grid<std::uint8_t>& grid = coefficient_grid_[static_cast<std::size_t>(plane)];
    MbRecord::Coefficients& out = record_->coefficients[static_cast<std::size_t>(plane)];
    std::copy_n(grid.begin() + grid_at(0, 3), 4, out.bottom.begin());
    for (int y = 0; y < 4; ++y) out.right[static_cast<std::size_t>(y)] = grid[grid_at(3, y)];
  }
}

// A block that has a place in the grid of its plane
template <bool kCabac, SliceDataParser::Category kCategory>
[[gnu::always_inline]] inline int SliceDataParser::residual_block(int plane, int x4, int y4, int first, int count,
                                                                  const Target& target) {
  std::uint8_t* const here = &coefficient_grid_[static_cast<std::size_t>(plane)][grid_at(x4, y4)];
  int coded;
  if constexpr (kCabac) {
    const int increment = (here[-1] != 0) + 2 * (here[-kGridRow] != 0);
    coded = cabac_residual_block<kCategory>(kCategory == kChromaAc ? 0 : plane, increment, first, count, target);
  } else {
    coded = cavlc_residual_block(cavlc_nc(plane, x4, y4), first, count, target);
  }
  *here = static_cast<std::uint8_t>(coded);
  return coded;
}

// residual_luma(), of Cb and Cr in 4:4:4 as well
template <bool kCabac>
void SliceDataParser::residual_luma(int plane) {
  if (mb_.type == MbType::kIntra16x16) return residual_16x16<kCabac>(plane);
  const bool store = plane == 0 && residual_ != nullptr;
  const std::size_t list = mb_.intra() ? 0 : 1;
  const int qp = qp_ + qp_bd_offset_;
  const auto rem = static_cast<std::size_t>(qp % 6);
  const bool scaled = store && !lossless();
  if (mb_.transform_8x8) {
    const Scan8x8& scan = kCabac        ? (field_scan_ ? kField8x8 : kZigzag8x8)
                          : field_scan_ ? kField8x8Cavlc
                                        : kZigzag8x8Cavlc;
    const std::int32_t* scale = scaled ? level_scales_.size8[list][rem].data() : nullptr;
    Target target{store ? coefficients_.data() : nullptr, scan.data(), scale, qp / 6, 6};
    for (int quadrant = 0; quadrant < 4; ++quadrant) {
      if (!(mb_.cbp >> quadrant & 1)) continue;
      const int x4 = 2 * (quadrant & 1), y4 = quadrant & 2;
      int coded = 0;
      if constexpr (kCabac) {
        std::uint8_t* const grid = &coefficient_grid_[static_cast<std::size_t>(plane)][grid_at(x4, y4)];
        const int increment = sps_.chroma_format_idc == 3 ? (grid[-1] != 0) + 2 * (grid[-kGridRow] != 0) : -1;
        coded = cabac_residual_block<kLuma8x8>(plane, increment, 0, 64, target);
        const auto value = static_cast<std::uint8_t>(coded);
        grid[0] = grid[1] = grid[kGridRow] = grid[kGridRow + 1] = value;
      } else {
        for (int i = 0; i < 4; ++i) {
          target.scan = scan.data() + 16 * i;
          coded += residual_block<false, kLuma4x4>(plane, x4 + (i & 1), y4 + (i >> 1), 0, 16, target);
        }
      }
      if (store && coded) reconstruct_block(x4, y4, 2, coefficients_.data(), coded == 1 && coefficients_[0] != 0);
    }
    return;
  }
  const Scan4x4& scan = field_scan_ ? kField4x4 : kZigzag4x4;
  const std::int32_t* scale = scaled ? level_scales_.size4[list][rem].data() : nullptr;
  const Target target{store ? coefficients_.data() : nullptr, scan.data(), scale, qp / 6, 4};
  for (int block = 0; block < 16; ++block) {
    if (!(mb_.cbp >> (block >> 2) & 1)) {
      block |= 3;
      continue;
    }
    const int x4 = block_x4(block), y4 = block_y4(block);
    const int coded = residual_block<kCabac, kLuma4x4>(plane, x4, y4, 0, 16, target);
    if (store && coded) reconstruct_block(x4, y4, 1, coefficients_.data(), coded == 1 && coefficients_[0] != 0);
  }
}

// The DC levels of all blocks, then the others of each
template <bool kCabac>
void SliceDataParser::residual_16x16(int plane) {
  const bool store = plane == 0 && residual_ != nullptr;
  const int qp = qp_ + qp_bd_offset_;
  const Scan4x4& scan = field_scan_ ? kField4x4 : kZigzag4x4;
  Target target{store ? dc_.data() : nullptr, scan.data(), nullptr, qp / 6, 4};
  int coded;
  if constexpr (kCabac) {
    const int increment = has_coded_dc(*left_[0], plane) + 2 * has_coded_dc(*above_, plane);
    coded = cabac_residual_block<kLumaDc>(plane, increment, 0, 16, target);
    if (coded) record_->coded_dc = static_cast<std::uint8_t>(record_->coded_dc | 1 << plane);
  } else {
    coded = cavlc_residual_block(cavlc_nc(plane, 0, 0), 0, 16, target);
  }
  if (mb_.cbp & 15) {
    const std::int32_t* scale =
        store && !lossless() ? level_scales_.size4[0][static_cast<std::size_t>(qp % 6)].data() : nullptr;
    target.scale = scale;
    for (int block = 0; block < 16; ++block) {
      const int x4 = block_x4(block), y4 = block_y4(block);
      if (store) target.out = coefficients_.data() + 16 * (y4 * 4 + x4);
      coded |= residual_block<kCabac, kLumaAc>(plane, x4, y4, 1, 15, target);
    }
  }
  if (store && coded) reconstruct_16x16();
}

// Chroma of 4:2:0 and 4:2:2, for its bits alone
template <bool kCabac>
void SliceDataParser::residual_chroma() {
  const int num_8x8 = sps_.chroma_format_idc;  // NumC8x8
  const Target target{nullptr, kChromaDcScan.data(), nullptr, 0, 0};
  if (!(mb_.cbp & 0x30)) return;
  for (int plane = 1; plane < 3; ++plane) {
    if constexpr (kCabac) {
      const int increment = has_coded_dc(*left_[0], plane) + 2 * has_coded_dc(*above_, plane);
      if (cabac_residual_block<kChromaDc>(0, increment, 0, 4 * num_8x8, target)) {
        record_->coded_dc = static_cast<std::uint8_t>(record_->coded_dc | 1 << plane);
      }
    } else {
      cavlc_residual_block(num_8x8 == 1 ? -1 : -2, 0, 4 * num_8x8, target);
    }
  }
  if (!(mb_.cbp & 0x20)) return;
  for (int plane = 1; plane < 3; ++plane) {
    for (int block = 0; block < 4 * num_8x8; ++block) {
      residual_block<kCabac, kChromaAc>(plane, 2 + (block & 1), (num_8x8 == 1 ? 2 : 0) + (block >> 1), 1, 15, target);
    }
  }
}

void SliceDataParser::reconstruct_16x16() {
  const int qp = qp_ + qp_bd_offset_;
  if (!lossless()) {
    if (std::any_of(dc_.begin(), dc_.end(), [](std::int32_t value) { return value != 0; })) {
      inverse_luma_dc(dc_, level_scales_.size4[0][static_cast<std::size_t>(qp % 6)][0], qp / 6);
    }
  } else if (mb_.intra16x16_mode < 2) {
    // The samples of the whole macroblock add up.
    alignas(64) std::array<std::int32_t, 256> samples;
    for (int y = 0; y < 16; ++y) {
      for (int x = 0; x < 16; ++x) {
        const int block = (y >> 2) * 4 + (x >> 2), at = (y & 3) * 4 + (x & 3);
        samples[static_cast<std::size_t>(y * 16 + x)] =
            at == 0 ? dc_[static_cast<std::size_t>(block)] : coefficients_[static_cast<std::size_t>(block * 16 + at)];
      }
    }
    coefficients_.fill(0);
    dc_.fill(0);
    return reconstruct_block(0, 0, 4, samples.data());
  }
  for (int block = 0; block < 16; ++block) {
    std::int32_t* const c = coefficients_.data() + 16 * block;
    c[0] = dc_[static_cast<std::size_t>(block)];
    const bool only_dc = coefficient_grid_[0][grid_at(block & 3, block >> 2)] == 0;
    if (c[0] != 0 || !only_dc) reconstruct_block(block & 3, block >> 2, 1, c, only_dc);
  }
  dc_.fill(0);
}

// Appends the residual of a block of the macroblock, in units of 4x4 blocks. `only_dc`: all coefficients but the first
// are 0.
void SliceDataParser::reconstruct_block(int x4, int y4, int size4, std::int32_t* coefficients, bool only_dc) {
  ResidualBuffer& residual = *residual_;
  const int x = mb_x_ * 4 + x4, y = mb_y_ * 4 + y4, size = size4 * 4;
  residual.coded.push_back(
      {static_cast<std::uint16_t>(x), static_cast<std::uint16_t>(y), static_cast<std::uint16_t>(size4)});
  const bool packed = residual.form == ResidualForm::kPacked;
  const std::ptrdiff_t stride = packed ? size : residual.width;
  const std::ptrdiff_t at = packed ? static_cast<std::ptrdiff_t>(residual.packed) : y * 4 * stride + x * 4;
  if (packed) residual.packed += static_cast<std::size_t>(size * size);
  std::int16_t* const out = residual.samples.data() + at;
  if (lossless()) {
    BypassMode mode = BypassMode::kNone;
    if (mb_.intra()) {
      const int intra_mode = mb_.type == MbType::kIntra16x16
                                 ? mb_.intra16x16_mode
                                 : intra_modes_[mb_index_ * 16 + static_cast<std::size_t>(y4 * 4 + x4)];
      mode = intra_mode == 0 ? BypassMode::kVertical : intra_mode == 1 ? BypassMode::kHorizontal : BypassMode::kNone;
    }
    bypass_transform(coefficients, size, mode, out, stride);
  } else if (only_dc) {
    codec::fill_block(out, stride, size, size, transform_dc(std::exchange(coefficients[0], 0)));
  } else if (size4 == 1) {
    inverse_transform_4x4(coefficients, out, stride);
  } else {
    transform_8x8_(coefficients, out, stride);
  }
}

}  // namespace ove::h264
