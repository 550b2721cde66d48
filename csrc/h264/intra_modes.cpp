// 8.3.1.1, 8.3.2.1: prediction modes of Intra4x4 and Intra8x8 blocks, which the residual of lossless macroblocks
// depends on. Every 4x4 block of an 8x8 block has its mode.
#include <algorithm>

#include "h264/scan.h"
#include "h264/slice_data.h"

namespace ove::h264 {

namespace {
constexpr int kDc = 2;
constexpr std::int8_t kInter = -1;
}  // namespace

// Mode of a block of the grid around the macroblock; negative where it does not count (dcPredModePredictedFlag).
int SliceDataParser::intra_mode_at(int x4, int y4) const {
  std::ptrdiff_t mb = static_cast<std::ptrdiff_t>(mb_index_);
  if (x4 < 0) {
    mb = left_index_[static_cast<std::size_t>(y4)];
    y4 = left_row_[static_cast<std::size_t>(y4)];
    x4 = 3;
  } else if (y4 < 0) {
    mb = above_index_;
    y4 = 3;
  }
  if (mb < 0) return -1;
  const int mode = intra_modes_[static_cast<std::size_t>(mb * 16 + y4 * 4 + x4)];
  if (mode == kInter) return pps_->constrained_intra_pred ? -1 : kDc;
  return mode;
}

// `block` counts blocks of size4 4x4 blocks a side; `coded` is rem_intra_pred_mode, -1 where the mode is the predicted.
void SliceDataParser::derive_intra_mode(int block, int size4, int coded) {
  const int index = size4 == 2 ? block * 4 : block;
  const int x4 = block_x4(index), y4 = block_y4(index);
  const int a = intra_mode_at(x4 - 1, y4), b = intra_mode_at(x4, y4 - 1);
  const int predicted = a < 0 || b < 0 ? kDc : std::min(a, b);
  const int mode = coded < 0 ? predicted : coded < predicted ? coded : coded + 1;
  for (int y = y4; y < y4 + size4; ++y) {
    for (int x = x4; x < x4 + size4; ++x) {
      intra_modes_[mb_index_ * 16 + static_cast<std::size_t>(y * 4 + x)] = static_cast<std::int8_t>(mode);
    }
  }
}

}  // namespace ove::h264
