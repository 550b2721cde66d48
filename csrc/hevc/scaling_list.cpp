#include "hevc/scaling_list.h"

#include <algorithm>

#include "hevc/scan.h"

namespace ove::hevc {

namespace {

// Table 7-6, in diagonal scan order
constexpr std::array<std::uint8_t, 64> kDefaultIntra = {
    16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 17, 16, 17, 16, 17, 18, 17, 18, 18, 17, 18, 21,
    19, 20, 21, 20, 19, 21, 24, 22, 22, 24, 24, 22, 22, 24, 25, 25, 27, 30, 27, 25, 25, 29,
    31, 35, 35, 31, 29, 36, 41, 44, 41, 36, 47, 54, 54, 47, 65, 70, 65, 88, 88, 115};
constexpr std::array<std::uint8_t, 64> kDefaultInter = {16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 17, 17, 17, 17, 17, 18,
                                                        18, 18, 18, 18, 18, 20, 20, 20, 20, 20, 20, 20, 24, 24, 24, 24,
                                                        24, 24, 24, 24, 25, 25, 25, 25, 25, 25, 25, 28, 28, 28, 28, 28,
                                                        28, 33, 33, 33, 33, 33, 41, 41, 41, 41, 54, 54, 54, 71, 71, 91};

struct List {
  std::array<std::uint8_t, 64> coefficients;  // the first 16 for 4x4
  std::uint8_t dc = 16;
};

List default_list(int size_id, int matrix_id) {
  List list;
  if (size_id == 0) {
    list.coefficients.fill(16);
  } else {
    list.coefficients = matrix_id < 3 ? kDefaultIntra : kDefaultInter;
  }
  return list;
}

constexpr auto kScan4 = diagonal_scan<4>();
constexpr auto kScan8 = diagonal_scan<8>();

// 7.4.5: ScalingFactor from ScalingList and its DC
std::vector<std::uint8_t> expand(const List& list, int size_id) {
  const int size = 4 << size_id;
  std::vector<std::uint8_t> factor(static_cast<std::size_t>(size * size));
  if (size_id == 0) {
    for (std::size_t i = 0; i < 16; ++i) factor[kScan4[i].y * 4u + kScan4[i].x] = list.coefficients[i];
    return factor;
  }
  const int step = size / 8;
  for (std::size_t i = 0; i < 64; ++i) {
    for (int y = 0; y < step; ++y) {
      for (int x = 0; x < step; ++x) {
        factor[static_cast<std::size_t>((kScan8[i].y * step + y) * size + kScan8[i].x * step + x)] =
            list.coefficients[i];
      }
    }
  }
  if (size_id > 1) factor[0] = list.dc;
  return factor;
}

using Lists = std::array<std::array<List, 6>, 4>;

ScalingFactors luma_factors(const Lists& lists) {
  ScalingFactors factors;
  for (int size_id = 0; size_id < 4; ++size_id) {
    const auto s = static_cast<std::size_t>(size_id);
    factors.luma[s] = {expand(lists[s][0], size_id), expand(lists[s][3], size_id)};
  }
  return factors;
}

Lists default_lists() {
  Lists lists;
  for (int s = 0; s < 4; ++s) {
    for (int m = 0; m < 6; ++m) lists[static_cast<std::size_t>(s)][static_cast<std::size_t>(m)] = default_list(s, m);
  }
  return lists;
}

}  // namespace

ScalingFactors default_scaling_factors() { return luma_factors(default_lists()); }

ScalingFactors parse_scaling_list_data(BitReader& r) {
  Lists lists = default_lists();
  for (int size_id = 0; size_id < 4; ++size_id) {
    const int step = size_id == 3 ? 3 : 1;
    for (int matrix_id = 0; matrix_id < 6; matrix_id += step) {
      List& list = lists[static_cast<std::size_t>(size_id)][static_cast<std::size_t>(matrix_id)];
      if (!r.flag()) {  // scaling_list_pred_mode_flag
        const int delta = r.ue(static_cast<std::uint32_t>(matrix_id / step), "scaling_list_pred_matrix_id_delta");
        list = delta == 0
                   ? default_list(size_id, matrix_id)
                   : lists[static_cast<std::size_t>(size_id)][static_cast<std::size_t>(matrix_id - delta * step)];
        continue;
      }
      int next = 8;
      if (size_id > 1) {
        next = r.se(-7, 247, "scaling_list_dc_coef_minus8") + 8;
        list.dc = static_cast<std::uint8_t>(next);
      }
      const std::size_t count = size_id == 0 ? 16 : 64;
      for (std::size_t i = 0; i < count; ++i) {
        next = (next + r.se(-128, 127, "scaling_list_delta_coef") + 256) % 256;
        list.coefficients[i] = static_cast<std::uint8_t>(next);
      }
    }
  }
  return luma_factors(lists);
}

}  // namespace ove::hevc
