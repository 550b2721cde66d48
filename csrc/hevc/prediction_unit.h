// What slice data says of the motion of a prediction block, before any vector is derived.
#pragma once

#include <array>
#include <cstdint>

#include "hevc/picture.h"

namespace ove::hevc {

enum class PartMode : std::uint8_t { k2Nx2N, k2NxN, kNx2N, kNxN, k2NxnU, k2NxnD, knLx2N, knRx2N };

struct PredictionUnit {
  std::uint16_t x, y;  // luma samples
  std::uint8_t width, height;
  std::uint8_t log2_cb;
  PartMode part_mode;
  std::uint8_t part_idx;
  bool merge;
  std::uint8_t merge_idx;
  std::array<std::uint8_t, 2> mvp_flag;
  std::array<std::int8_t, 2> ref_idx;  // negative: list unused; both negative in merge mode
  std::array<Mv, 2> mvd;

  // A coding block lies at a multiple of its size.
  int cb_x() const { return x >> log2_cb << log2_cb; }
  int cb_y() const { return y >> log2_cb << log2_cb; }
};
static_assert(sizeof(PredictionUnit) == 24);

}  // namespace ove::hevc
