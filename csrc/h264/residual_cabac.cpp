// 7.3.5.3.3 residual_block_cabac(): the hot loop of CABAC streams
#include <bit>

#include "h264/slice_data.h"

namespace ove::h264 {

namespace {

// Table 9-40: ctxIdxBlockCatOffset, by category
constexpr std::uint8_t kCodedOffset[6] = {0, 4, 8, 12, 16, 0};
constexpr std::uint8_t kSignificantOffset[6] = {0, 15, 29, 44, 47, 0};
constexpr std::uint8_t kAbsOffset[6] = {0, 10, 20, 30, 39, 0};

// Table 9-43: ctxIdxInc by levelListIdx of an 8x8 block
constexpr std::uint8_t kSignificant8x8[2][63] = {
    {0, 1, 2,  3,  4,  5,  5, 4, 4, 3, 3,  4,  4, 4, 5, 5,  4,  4,  4,  4, 3, 3,  6,  7, 7,  7,  8,  9,  10, 9,  8, 7,
     7, 6, 11, 12, 13, 11, 6, 7, 8, 9, 14, 10, 9, 8, 6, 11, 12, 13, 11, 6, 9, 14, 10, 9, 11, 12, 13, 11, 14, 10, 12},
    {0,  1,  1,  2,  2,  3,  3,  4,  5,  6,  7,  7,  7, 8,  4,  5,  6,  9,  10, 10, 8,
     11, 12, 11, 9,  9,  10, 10, 8,  11, 12, 11, 9,  9, 10, 10, 8,  11, 12, 11, 9,  9,
     10, 10, 8,  13, 13, 9,  9,  10, 10, 8,  13, 13, 9, 9,  10, 10, 14, 14, 14, 14, 14}};
constexpr std::uint8_t kLast8x8[63] = {0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2,
                                       2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 3, 3, 3, 3, 3, 3, 3, 3, 4, 4,
                                       4, 4, 4, 4, 4, 4, 5, 5, 5, 5, 6, 6, 6, 6, 7, 7, 7, 7, 8, 8, 8};

// 9.3.3.1.3: what the levels of a block so far choose: ctxIdxInc of the first bin of coeff_abs_level_minus1,
// numDecodAbsLevelGt1 for that of the others, and the step after a level of 1 or one that is greater.
struct LevelStep {
  std::uint8_t first, greater, after_1, after_greater;
};
constexpr std::array<LevelStep, 8> kLevelSteps = {
    {{1, 0, 1, 4}, {2, 0, 2, 4}, {3, 0, 3, 4}, {4, 0, 3, 4}, {0, 1, 4, 5}, {0, 2, 5, 6}, {0, 3, 6, 7}, {0, 4, 7, 7}}};

// 9.3.2.3: the suffix of coeff_abs_level_minus1, Exp-Golomb of order 0
[[gnu::always_inline]] inline int level_suffix(Cabac& cabac) {
  const std::uint32_t bins = cabac.peek_bypass16();
  const int ones = std::countl_one(static_cast<std::uint16_t>(bins));
  if (ones < 8) {  // the whole code is among the bins
    const int length = 2 * ones + 1;
    const std::uint32_t taken = bins >> (16 - length);
    cabac.skip_bypass(taken, length);
    return (1 << ones) - 1 + static_cast<int>(taken & ((1U << ones) - 1));
  }
  int k = 0, value = 0;
  while (cabac.bypass()) {
    value += 1 << k;
    if (++k > 22) throw InvalidBitstreamError("a transform coefficient level is out of range");
  }
  const int high = k > 16 ? k - 16 : 0;
  if (high) value += static_cast<int>(cabac.bypass_bits(high)) << 16;
  return value + static_cast<int>(cabac.bypass_bits(k - high));
}

}  // namespace

template <SliceDataParser::Category kCategory>
int SliceDataParser::cabac_residual_block(int plane, int coded_increment, int first, int count, const Target& target) {
  constexpr bool k8x8 = kCategory == kLuma8x8;
  // A local engine, so that it stays in registers.
  Cabac cabac = cabac_;
  ContextState* const contexts = contexts_.data() + plane * kNumContexts;
  if (!k8x8 || coded_increment >= 0) {
    constexpr int kCoded = k8x8 ? int{kCtxCodedBlock8x8} : kCtxCodedBlock + kCodedOffset[kCategory];
    if (!cabac.decision(contexts[kCoded + coded_increment])) {
      cabac_ = cabac;
      return 0;
    }
  }
  ContextState* const significant =
      contexts + (k8x8 ? (field_scan_ ? kCtxSignificant8x8Field : kCtxSignificant8x8Frame)
                       : (field_scan_ ? kCtxSignificantField : kCtxSignificantFrame) + kSignificantOffset[kCategory]);
  ContextState* const last =
      contexts + (k8x8 ? (field_scan_ ? kCtxLast8x8Field : kCtxLast8x8Frame)
                       : (field_scan_ ? kCtxLastField : kCtxLastFrame) + kSignificantOffset[kCategory]);
  ContextState* const levels =
      contexts + (k8x8 ? int{kCtxCoeffAbsLevel8x8} : kCtxCoeffAbsLevel + kAbsOffset[kCategory]);

  // significant_coeff_flag, last_significant_coeff_flag
  std::array<std::uint8_t, 64> index;
  int num = 0;
  constexpr int kCount = kCategory == kLumaAc || kCategory == kChromaAc ? 15 : k8x8 ? 64 : 16;
  const int end = (kCategory == kChromaDc ? count : kCount) - 1;
  const std::uint8_t* const significant_inc = kSignificant8x8[field_scan_ ? 1 : 0];
  const int chroma_dc_shift = count >> 3;  // 9.3.3.1.3: divided by NumC8x8, at most 2
  int i = 0;
  for (; i < end; ++i) {
    int s = i, l = i;
    if constexpr (k8x8) {
      s = significant_inc[i];
      l = kLast8x8[i];
    } else if constexpr (kCategory == kChromaDc) {
      s = l = std::min(i >> chroma_dc_shift, 2);
    }
    if (!cabac.decision(significant[s])) continue;
    index[static_cast<std::size_t>(num++)] = static_cast<std::uint8_t>(i);
    if (cabac.decision(last[l])) break;
  }
  if (i == end) index[static_cast<std::size_t>(num++)] = static_cast<std::uint8_t>(end);

  // coeff_abs_level_minus1, coeff_sign_flag, the last coefficient first
  constexpr int kMostGreater = kCategory == kChromaDc ? 3 : 4;
  const LevelStep* step = kLevelSteps.data();
  for (int k = num - 1; k >= 0; --k) {
    int level = 1;
    if (!cabac.decision(levels[step->first])) {
      step = &kLevelSteps[step->after_1];
    } else {
      ContextState& stored = levels[5 + std::min<int>(kMostGreater, step->greater)];
      ContextState context = stored;  // in a register, because the bins follow each other
      level = 2;
      while (level < 15 && cabac.decision(context)) ++level;
      stored = context;
      if (level == 15) level += level_suffix(cabac);
      step = &kLevelSteps[step->after_greater];
    }
    const int sign = cabac.bypass();
    if (target.out != nullptr) {
      target.put(first + index[static_cast<std::size_t>(k)], sign ? -level : level);
    }
  }
  cabac_ = cabac;
  return 1 + index[static_cast<std::size_t>(num - 1)];
}
template int SliceDataParser::cabac_residual_block<SliceDataParser::kLumaDc>(int, int, int, int, const Target&);
template int SliceDataParser::cabac_residual_block<SliceDataParser::kLumaAc>(int, int, int, int, const Target&);
template int SliceDataParser::cabac_residual_block<SliceDataParser::kLuma4x4>(int, int, int, int, const Target&);
template int SliceDataParser::cabac_residual_block<SliceDataParser::kChromaDc>(int, int, int, int, const Target&);
template int SliceDataParser::cabac_residual_block<SliceDataParser::kChromaAc>(int, int, int, int, const Target&);
template int SliceDataParser::cabac_residual_block<SliceDataParser::kLuma8x8>(int, int, int, int, const Target&);

}  // namespace ove::h264
