// What parsing leaves of a macroblock for the derivation of its motion.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "codec/format.h"

namespace ove::h264 {

// Tables 7-11, 7-13 and 7-14, grouped by the shape of the partitions
enum class MbType : std::uint8_t {
  kIntra4x4,
  kIntra8x8,
  kIntra16x16,
  kPcm,
  k16x16,
  k16x8,
  k8x16,
  k8x8,
  kDirect,  // B_Direct_16x16
  kSkip,    // P_Skip, B_Skip
};

constexpr bool is_intra(MbType type) { return type <= MbType::kPcm; }

// Tables 7-17 and 7-18, likewise
enum class SubMbType : std::uint8_t { kSub8x8, kSub8x4, kSub4x8, kSub4x4, kSubDirect };

// Of a sub-macroblock partition, in 4x4 blocks
constexpr int width4(SubMbType type) { return type == SubMbType::kSub8x8 || type == SubMbType::kSub8x4 ? 2 : 1; }
constexpr int height4(SubMbType type) { return type == SubMbType::kSub8x8 || type == SubMbType::kSub4x8 ? 2 : 1; }

constexpr int num_sub_mb_parts(SubMbType type) {
  if (type == SubMbType::kSub8x8) return 1;
  return type == SubMbType::kSub8x4 || type == SubMbType::kSub4x8 ? 2 : 4;
}

struct InterMacroblock {
  std::uint32_t mb_addr;
  MbType type;                                        // k16x16 to kSkip
  bool field = false;                                 // mb_field_decoding_flag
  bool transform_8x8 = false;                         // transform_size_8x8_flag
  std::array<SubMbType, 4> sub{};                     // of k8x8
  std::array<std::array<std::int8_t, 4>, 2> ref_idx;  // by list and 8x8 quadrant, -1 where the list is unused or direct
};
static_assert(sizeof(InterMacroblock) == 20);

// The inter macroblocks of a slice in decoding order, and their vector differences in the order of the syntax: per
// macroblock all of list 0, then all of list 1, by partition and sub-macroblock partition.
struct SliceMotion {
  std::vector<InterMacroblock> macroblocks;
  std::vector<codec::Mv> mvd;
};

}  // namespace ove::h264
