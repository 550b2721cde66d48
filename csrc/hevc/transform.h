// From scaled transform coefficients to the luma residual (8.6.2, 8.6.4 to 8.6.8).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace ove::hevc {

enum class Rdpcm : std::uint8_t { kNone, kHorizontal, kVertical };

// Coefficients of one transform block, row by row, zero outside the first `columns` x `rows`. All zero between blocks.
struct CoefficientBlock {
  alignas(64) std::array<std::int16_t, 32 * 32> values{};
  int columns = 0, rows = 0;
};

struct ResidualMode {
  int log2_size = 2;
  int bit_depth = 8;
  bool transquant_bypass = false, transform_skip = false;
  bool rotate = false;  // transform_skip_rotation_enabled_flag applies
  bool dst = false;     // 4x4 intra luma
  Rdpcm rdpcm = Rdpcm::kNone;
};

// From coefficients, which it leaves alone, to the residual (row stride in samples), with the second stage's bdShift.
using InverseTransform = void (*)(const CoefficientBlock& coefficients, int shift, std::int16_t* out,
                                  std::ptrdiff_t stride);

struct InverseTransforms {
  InverseTransform dst;
  std::array<InverseTransform, 4> dct;  // 4x4 to 32x32
};
extern const InverseTransforms kPlainTransforms;
extern const InverseTransforms kAvx2Transforms;  // where OVE_X86_V3 is set, for processors with cpu_is_v3()

// The fastest ones for this processor.
const InverseTransforms& inverse_transforms();

// Writes the block's residual to `out` (row stride in samples) and clears the coefficients.
void reconstruct_residual(const InverseTransforms& transforms, CoefficientBlock& coefficients, const ResidualMode& mode,
                          std::int16_t* out, std::ptrdiff_t stride);

}  // namespace ove::hevc
