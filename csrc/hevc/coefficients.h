// The residual of a picture as its scaled transform coefficients, for whoever reconstructs it elsewhere: on a GPU.
#pragma once

#include <cstdint>
#include <vector>

#include "common/host_device.h"

namespace ove::hevc {

enum class Rdpcm : std::uint8_t { kNone, kHorizontal, kVertical };

struct Coefficient {
  std::uint16_t place;  // y << log2_size | x
  std::int16_t value;
};
static_assert(sizeof(Coefficient) == 4);

// A transform block. Its coefficients end where those of the next one begin.
struct SparseBlock {
  std::uint16_t x4 = 0, y4 = 0;  // in units of 4 luma samples
  std::uint8_t log2_size = 2;
  std::uint8_t flags = 0;
  std::uint8_t columns = 0, rows = 0;  // coefficients beyond are 0
  std::uint32_t coefficients = 0;      // those of the blocks before it
  std::uint32_t samples = 0;           // likewise

  static constexpr int kBypass = 1, kTransformSkip = 2, kRotate = 4, kDst = 8, kRdpcmShift = 4;
  OVE_HOST_DEVICE bool has(int flag) const { return (flags & flag) != 0; }
  OVE_HOST_DEVICE Rdpcm rdpcm() const { return static_cast<Rdpcm>(flags >> kRdpcmShift); }
};
static_assert(sizeof(SparseBlock) == 16);

struct SparseResidual {
  std::vector<SparseBlock> blocks;  // without one that ends the last
  std::vector<Coefficient> coefficients;
  std::uint32_t samples = 0;  // of all blocks

  void clear() {
    blocks.clear();
    coefficients.clear();
    samples = 0;
  }
};

}  // namespace ove::hevc
