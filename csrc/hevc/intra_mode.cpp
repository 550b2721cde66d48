#include <algorithm>
#include <utility>

#include "hevc/slice_data.h"

namespace ove::hevc {

namespace {

constexpr int kPlanar = 0, kDc = 1, kHorizontal = 10, kVertical = 26;

// Table 8-3: IntraPredModeC of 4:2:2 from modeIdc
constexpr std::array<std::uint8_t, 35> kMode422 = {0,  1,  2,  2,  2,  2,  3,  5,  7,  8,  10, 11,
                                                   13, 15, 16, 18, 19, 20, 21, 22, 23, 23, 24, 24,
                                                   25, 25, 26, 27, 27, 28, 28, 29, 29, 30, 31};

// 8.4.3, Table 8-2
int chroma_mode(int intra_chroma_pred_mode, int luma_mode) {
  constexpr int kExplicit[4] = {kPlanar, kVertical, kHorizontal, kDc};
  if (intra_chroma_pred_mode == 4) return luma_mode;
  const int mode = kExplicit[intra_chroma_pred_mode];
  return mode == luma_mode ? 34 : mode;
}

}  // namespace

// The intra part of 7.3.8.5
void SliceDataParser::parse_intra_modes(CodingUnit& cu) {
  const int parts = cu.part_mode == PartMode::kNxN ? 4 : 1;
  const int part_size = (1 << cu.log2_size) >> (parts == 4);
  std::array<bool, 4> prev_flag{};
  for (int i = 0; i < parts; ++i) prev_flag[static_cast<std::size_t>(i)] = decision(kCtxPrevIntraLumaPred);
  for (int i = 0; i < parts; ++i) {
    const auto part = static_cast<std::size_t>(i);
    int coded;
    if (prev_flag[part]) {
      coded = cabac_.bypass() ? 1 + cabac_.bypass() : 0;  // mpm_idx
    } else {
      coded = static_cast<int>(cabac_.bypass_bits(5));  // rem_intra_luma_pred_mode
    }
    const int x = cu.x + (i & 1) * part_size, y = cu.y + (i >> 1) * part_size;
    const int mode = derive_luma_mode((x - ctb_x_) >> 2, (y - ctb_y_) >> 2, prev_flag[part], coded);
    set_luma_modes(x, y, part_size, mode);
    cu.intra_luma[part] = static_cast<std::uint8_t>(mode);
  }
  if (parts == 1) cu.intra_luma.fill(cu.intra_luma[0]);
  if (sps_.chroma_array_type == 0) return;
  const int chroma_parts = sps_.chroma_array_type == 3 ? parts : 1;
  for (int i = 0; i < chroma_parts; ++i) {
    const auto part = static_cast<std::size_t>(i);
    const int coded = decision(kCtxIntraChromaPredMode) ? static_cast<int>(cabac_.bypass_bits(2)) : 4;
    int mode = chroma_mode(coded, cu.intra_luma[part]);
    if (sps_.chroma_array_type == 2) mode = kMode422[static_cast<std::size_t>(mode)];
    cu.intra_chroma[part] = static_cast<std::uint8_t>(mode);
    cu.chroma_from_luma_mode[part] = coded == 4;
  }
  if (chroma_parts == 1) {
    cu.intra_chroma.fill(cu.intra_chroma[0]);
    cu.chroma_from_luma_mode.fill(cu.chroma_from_luma_mode[0]);
  }
}

// 8.4.2
int SliceDataParser::derive_luma_mode(int x4, int y4, bool prev_flag, int coded) {
  const int a = left_modes_[static_cast<std::size_t>(y4)], b = top_modes_[static_cast<std::size_t>(x4)];
  std::array<int, 3> candidates;
  if (a != b) {
    const int third = a != kPlanar && b != kPlanar ? kPlanar : a != kDc && b != kDc ? kDc : kVertical;
    candidates = {a, b, third};
  } else if (a < 2) {
    candidates = {kPlanar, kDc, kVertical};
  } else {
    candidates = {a, 2 + (a + 29) % 32, 2 + (a - 2 + 1) % 32};
  }
  if (prev_flag) return candidates[static_cast<std::size_t>(coded)];
  std::sort(candidates.begin(), candidates.end());
  int mode = coded;
  for (const int candidate : candidates) mode += mode >= candidate;
  return mode;
}

void SliceDataParser::set_luma_modes(int x, int y, int size, int mode) {
  std::fill_n(top_modes_.begin() + ((x - ctb_x_) >> 2), size >> 2, static_cast<std::uint8_t>(mode));
  std::fill_n(left_modes_.begin() + ((y - ctb_y_) >> 2), size >> 2, static_cast<std::uint8_t>(mode));
}

}  // namespace ove::hevc
