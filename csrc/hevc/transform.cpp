#include "hevc/transform.h"

#include <algorithm>

#include "common/cpu.h"
#include "hevc/trans_matrix.h"
#include "hevc/transform_formula.h"

namespace ove::hevc {

namespace {

// Multiplies frequencies (kSize of them, of which `used` are not zero) by the basis: out[n] = sum_k basis[k][n] *
// in[k]. Even basis functions are symmetric and odd ones antisymmetric, so both halves of the samples share their
// products.
template <int kSize>
inline const std::int8_t* basis(int k) {
  return kTransMatrix[static_cast<std::size_t>(k * (32 / kSize))].data();
}

// First stage: columns. in is kSize x kSize, used rows x columns; writes rows of `columns` intermediate samples.
template <int kSize>
void transform_columns(const std::int16_t* in, int rows, int columns, std::int16_t* out) {
  constexpr int kHalf = kSize / 2;
  // Whole vectors of columns: what lies beyond `columns` is zero and costs less than a remainder loop.
  constexpr int kStep = kSize < 8 ? kSize : 8;
  for (int x0 = 0; x0 < columns; x0 += kStep) {
    for (int n = 0; n < kHalf; ++n) {
      std::int32_t even[kStep] = {}, odd[kStep] = {};
      for (int k = 0; k < rows; k += 2) {
        const std::int32_t c = basis<kSize>(k)[n];
        for (int x = 0; x < kStep; ++x) even[x] += c * in[k * kSize + x0 + x];
      }
      for (int k = 1; k < rows; k += 2) {
        const std::int32_t c = basis<kSize>(k)[n];
        for (int x = 0; x < kStep; ++x) odd[x] += c * in[k * kSize + x0 + x];
      }
      for (int x = 0; x < kStep; ++x) {
        out[n * kSize + x0 + x] = stage_value(even[x] + odd[x], kFirstShift);
        out[(kSize - 1 - n) * kSize + x0 + x] = stage_value(even[x] - odd[x], kFirstShift);
      }
    }
  }
}

// Second stage: rows of `columns` intermediate samples each, to residual samples.
template <int kSize>
void transform_rows(const std::int16_t* in, int columns, int shift, std::int16_t* out, std::ptrdiff_t stride) {
  constexpr int kHalf = kSize / 2;
  for (int y = 0; y < kSize; ++y, in += kSize, out += stride) {
    std::int32_t even[kHalf] = {}, odd[kHalf] = {};
    for (int k = 0; k < columns; k += 2) {
      const std::int32_t c = in[k];
      const std::int8_t* b = basis<kSize>(k);
      for (int n = 0; n < kHalf; ++n) even[n] += c * b[n];
    }
    for (int k = 1; k < columns; k += 2) {
      const std::int32_t c = in[k];
      const std::int8_t* b = basis<kSize>(k);
      for (int n = 0; n < kHalf; ++n) odd[n] += c * b[n];
    }
    for (int n = 0; n < kHalf; ++n) {
      out[n] = stage_value(even[n] + odd[n], shift);
      out[kSize - 1 - n] = stage_value(even[n] - odd[n], shift);
    }
  }
}

template <int kSize>
void inverse_dct(const CoefficientBlock& c, int shift, std::int16_t* out, std::ptrdiff_t stride) {
  alignas(64) std::int16_t intermediate[kSize * kSize];
  transform_columns<kSize>(c.values.data(), c.rows, c.columns, intermediate);
  transform_rows<kSize>(intermediate, c.columns, shift, out, stride);
}

void inverse_dst(const CoefficientBlock& c, int shift, std::int16_t* out, std::ptrdiff_t stride) {
  std::int32_t intermediate[4][4];
  for (int x = 0; x < 4; ++x) {
    for (int n = 0; n < 4; ++n) {
      std::int32_t sum = 0;
      for (int k = 0; k < 4; ++k) sum += kDst4[k][n] * c.values[static_cast<std::size_t>(k * 4 + x)];
      intermediate[n][x] = stage_value(sum, kFirstShift);
    }
  }
  for (int y = 0; y < 4; ++y) {
    for (int n = 0; n < 4; ++n) {
      std::int32_t sum = 0;
      for (int k = 0; k < 4; ++k) sum += kDst4[k][n] * intermediate[y][k];
      out[y * stride + n] = stage_value(sum, shift);
    }
  }
}

// 8.6.4.2 with transform_skip_flag, or 8.6.2 with cu_transquant_bypass_flag: samples stay in place, but for the
// rotation
void copy_samples(const CoefficientBlock& c, const ResidualMode& mode, std::int16_t* out, std::ptrdiff_t stride) {
  const int size = 1 << mode.log2_size;
  for (int y = 0; y < size; ++y) {
    for (int x = 0; x < size; ++x) {
      const int at = mode.rotate ? size * size - 1 - (y * size + x) : y * size + x;
      const std::int16_t value = c.values[static_cast<std::size_t>(at)];
      out[y * stride + x] = mode.transquant_bypass ? value : skipped_value(value, mode.log2_size, mode.bit_depth);
    }
  }
}

// 8.6.8: each sample adds to the next along the direction
void accumulate(const ResidualMode& mode, std::int16_t* out, std::ptrdiff_t stride) {
  const int size = 1 << mode.log2_size;
  const bool vertical = mode.rdpcm == Rdpcm::kVertical;
  for (int y = vertical ? 1 : 0; y < size; ++y) {
    for (int x = vertical ? 0 : 1; x < size; ++x) {
      std::int16_t* sample = out + y * stride + x;
      *sample = clip16(*sample + *(sample - (vertical ? stride : 1)));
    }
  }
}

void clear(CoefficientBlock& c, int size) {
  // What lies beyond `columns` is zero: whole vectors are cleared.
  if (size == 4) {
    std::fill_n(c.values.begin(), 16, std::int16_t{0});
  } else {
    for (int y = 0; y < c.rows; ++y) {
      for (int x = 0; x < c.columns; x += 8) std::fill_n(c.values.begin() + y * size + x, 8, std::int16_t{0});
    }
  }
  c.columns = c.rows = 0;
}

}  // namespace

constinit const InverseTransforms kPlainTransforms = {
    inverse_dst, {inverse_dct<4>, inverse_dct<8>, inverse_dct<16>, inverse_dct<32>}};

const InverseTransforms& inverse_transforms() {
#if OVE_X86_V3
  if (cpu_is_v3()) return kAvx2Transforms;
#endif
  return kPlainTransforms;
}

void reconstruct_residual(const InverseTransforms& transforms, CoefficientBlock& c, const ResidualMode& mode,
                          std::int16_t* out, std::ptrdiff_t stride) {
  const int size = 1 << mode.log2_size;
  const int shift = second_shift(mode.bit_depth);
  if (mode.transquant_bypass || mode.transform_skip) {
    copy_samples(c, mode, out, stride);
    if (mode.rdpcm != Rdpcm::kNone) accumulate(mode, out, stride);
  } else if (mode.dst) {
    transforms.dst(c, shift, out, stride);
  } else if (c.columns == 1 && c.rows == 1) {  // DC alone: a flat block
    const std::int16_t value = stage_value(64 * stage_value(64 * c.values[0], kFirstShift), shift);
    for (int y = 0; y < size; ++y) std::fill_n(out + y * stride, size, value);
  } else {
    transforms.dct[static_cast<std::size_t>(mode.log2_size - 2)](c, shift, out, stride);
  }
  clear(c, size);
}

}  // namespace ove::hevc
