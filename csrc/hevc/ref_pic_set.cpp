#include <algorithm>

#include "bitstream/bit_reader.h"
#include "hevc/parameter_sets.h"

namespace ove::hevc {

namespace {

constexpr int kMaxDeltaPocs = 16;  // MaxDpbSize is the bound of every set

// 7.4.8, equations 7-61 and 7-62: the set predicted from `ref`, each of its pictures moved by delta_rps
ShortTermRefPicSet predict_set(BitReader& r, const ShortTermRefPicSet& ref, int delta_rps) {
  const std::size_t count = ref.num_delta_pocs();
  std::vector<bool> used(count + 1), keep(count + 1, true);
  for (std::size_t j = 0; j <= count; ++j) {
    used[j] = r.flag();
    if (!used[j]) keep[j] = r.flag();  // use_delta_flag
  }
  ShortTermRefPicSet set;
  // A picture of `ref` has index j in its order of S0 then S1; the last index is `ref`'s own picture.
  const auto add = [&](int delta_poc, std::size_t j) {
    if (!keep[j]) return;
    if (delta_poc < 0) set.negative.push_back({delta_poc, used[j]});
    if (delta_poc > 0) set.positive.push_back({delta_poc, used[j]});
  };
  const std::size_t n0 = ref.negative.size();
  for (std::size_t j = 0; j < n0; ++j) add(ref.negative[j].delta_poc + delta_rps, j);
  for (std::size_t j = 0; j < ref.positive.size(); ++j) add(ref.positive[j].delta_poc + delta_rps, n0 + j);
  add(delta_rps, count);
  std::stable_sort(set.negative.begin(), set.negative.end(),
                   [](auto& a, auto& b) { return a.delta_poc > b.delta_poc; });
  std::stable_sort(set.positive.begin(), set.positive.end(),
                   [](auto& a, auto& b) { return a.delta_poc < b.delta_poc; });
  return set;
}

}  // namespace

ShortTermRefPicSet parse_short_term_ref_pic_set(BitReader& r, const std::vector<ShortTermRefPicSet>& previous,
                                                bool in_slice) {
  const std::size_t idx = previous.size();
  ShortTermRefPicSet set;
  if (idx > 0 && r.flag()) {  // inter_ref_pic_set_prediction_flag
    const int delta_idx = in_slice ? r.ue(static_cast<std::uint32_t>(idx - 1), "delta_idx_minus1") + 1 : 1;
    const bool negative = r.flag();
    const int magnitude = r.ue(0x7FFF, "abs_delta_rps_minus1") + 1;
    set = predict_set(r, previous[idx - static_cast<std::size_t>(delta_idx)], negative ? -magnitude : magnitude);
  } else {
    const int num_negative = r.ue(kMaxDeltaPocs, "num_negative_pics");
    const int num_positive = r.ue(kMaxDeltaPocs, "num_positive_pics");
    int poc = 0;
    for (int i = 0; i < num_negative; ++i) {
      poc -= r.ue(0x7FFF, "delta_poc_s0_minus1") + 1;
      set.negative.push_back({poc, r.flag()});
    }
    poc = 0;
    for (int i = 0; i < num_positive; ++i) {
      poc += r.ue(0x7FFF, "delta_poc_s1_minus1") + 1;
      set.positive.push_back({poc, r.flag()});
    }
  }
  if (set.num_delta_pocs() > kMaxDeltaPocs) {
    throw InvalidBitstreamError("a short-term reference picture set has more than 16 pictures");
  }
  return set;
}

}  // namespace ove::hevc
