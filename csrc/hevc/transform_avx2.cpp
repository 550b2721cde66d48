// The inverse transforms of transform.cpp with AVX2. Two frequencies at a time stand side by side in 32 bits, so that
// one instruction multiplies both by their basis samples and adds the products.
#include "common/cpu.h"
#include "hevc/trans_matrix.h"
#include "hevc/transform.h"

#if OVE_X86_V3
#include <immintrin.h>

namespace ove::hevc {

namespace {

constexpr std::int32_t pair(int low, int high) {
  return static_cast<std::int32_t>(static_cast<std::uint32_t>(static_cast<std::uint16_t>(low)) |
                                   static_cast<std::uint32_t>(static_cast<std::uint16_t>(high)) << 16);
}

// Basis samples n < kSize / 2 of frequencies 4g and 4g + 2, and of 4g + 1 and 4g + 3. The other half of the samples is
// symmetric in even frequencies and antisymmetric in odd ones.
template <int kSize>
struct Basis {
  alignas(32) std::int32_t even[kSize / 4][kSize / 2];
  alignas(32) std::int32_t odd[kSize / 4][kSize / 2];
};

template <int kSize>
constexpr Basis<kSize> make_basis() {
  const auto at = [](int k, int n) {
    return kTransMatrix[static_cast<std::size_t>(k * (32 / kSize))][static_cast<std::size_t>(n)];
  };
  Basis<kSize> b{};
  for (int g = 0; g < kSize / 4; ++g) {
    for (int n = 0; n < kSize / 2; ++n) {
      b.even[g][n] = pair(at(4 * g, n), at(4 * g + 2, n));
      b.odd[g][n] = pair(at(4 * g + 1, n), at(4 * g + 3, n));
    }
  }
  return b;
}

template <int kSize>
constexpr Basis<kSize> kBasis = make_basis<kSize>();

OVE_TARGET_V3 inline __m128i load128(const void* p) { return _mm_load_si128(static_cast<const __m128i*>(p)); }
OVE_TARGET_V3 inline __m256i load256(const void* p) { return _mm256_load_si256(static_cast<const __m256i*>(p)); }

OVE_TARGET_V3 inline __m256i broadcast32(const void* p) {
  return _mm256_castps_si256(_mm256_broadcast_ss(static_cast<const float*>(p)));
}

// acc + pairs . coefficients
OVE_TARGET_V3 inline __m256i multiply_add(__m256i acc, __m256i pairs, __m256i coefficients) {
  return _mm256_add_epi32(acc, _mm256_madd_epi16(pairs, coefficients));
}

// Rows of two vectors side by side: (a0, b0), (a1, b1) ... for eight columns
OVE_TARGET_V3 inline __m256i interleave(__m128i a, __m128i b) {
  return _mm256_set_m128i(_mm_unpackhi_epi16(a, b), _mm_unpacklo_epi16(a, b));
}

// Columns 4j + 1 and 4j + 2 change places, so that even and odd frequencies of the second stage stand in pairs.
OVE_TARGET_V3 inline __m128i pair_columns(__m128i v) { return _mm_shufflehi_epi16(_mm_shufflelo_epi16(v, 0xD8), 0xD8); }

// First stage: columns, eight at a time.
template <int kSize>
OVE_TARGET_V3 void transform_columns(const CoefficientBlock& c, std::int16_t* out) {
  const __m256i round = _mm256_set1_epi32(64);
  const int groups = (c.rows + 3) >> 2;
  for (int x = 0; x < c.columns; x += 8) {
    __m256i even[kSize / 4], odd[kSize / 4];
    for (int g = 0; g < groups; ++g) {
      const std::int16_t* row = c.values.data() + 4 * g * kSize + x;
      even[g] = interleave(load128(row), load128(row + 2 * kSize));
      odd[g] = interleave(load128(row + kSize), load128(row + 3 * kSize));
    }
    for (int n = 0; n < kSize / 2; ++n) {
      __m256i e = round, o = _mm256_setzero_si256();
      for (int g = 0; g < groups; ++g) {
        e = multiply_add(e, even[g], broadcast32(&kBasis<kSize>.even[g][n]));
        o = multiply_add(o, odd[g], broadcast32(&kBasis<kSize>.odd[g][n]));
      }
      const __m256i upper = _mm256_srai_epi32(_mm256_add_epi32(e, o), 7);
      const __m256i lower = _mm256_srai_epi32(_mm256_sub_epi32(e, o), 7);
      const __m256i both = _mm256_permute4x64_epi64(_mm256_packs_epi32(upper, lower), 0xD8);
      _mm_store_si128(reinterpret_cast<__m128i*>(out + n * kSize + x), pair_columns(_mm256_castsi256_si128(both)));
      _mm_store_si128(reinterpret_cast<__m128i*>(out + (kSize - 1 - n) * kSize + x),
                      pair_columns(_mm256_extracti128_si256(both, 1)));
    }
  }
}

// Second stage: rows, whose samples n < kSize / 2 fill vectors.
template <int kSize>
OVE_TARGET_V3 void transform_rows(const std::int16_t* in, int columns, int shift, std::int16_t* out,
                                  std::ptrdiff_t stride) {
  constexpr int kVectors = kSize / 16;
  const __m256i round = _mm256_set1_epi32(1 << (shift - 1));
  const __m128i count = _mm_cvtsi32_si128(shift);
  const __m256i reversed = _mm256_set_epi32(0, 1, 2, 3, 4, 5, 6, 7);
  const int groups = (columns + 3) >> 2;
  for (int y = 0; y < kSize; ++y, in += kSize, out += stride) {
    __m256i e[kVectors], o[kVectors];
    for (int v = 0; v < kVectors; ++v) {
      e[v] = round;
      o[v] = _mm256_setzero_si256();
    }
    for (int g = 0; g < groups; ++g) {
      const __m256i even = broadcast32(in + 4 * g), odd = broadcast32(in + 4 * g + 2);
      for (int v = 0; v < kVectors; ++v) {
        e[v] = multiply_add(e[v], even, load256(&kBasis<kSize>.even[g][8 * v]));
        o[v] = multiply_add(o[v], odd, load256(&kBasis<kSize>.odd[g][8 * v]));
      }
    }
    __m256i samples[2 * kVectors];  // eight each
    for (int v = 0; v < kVectors; ++v) {
      samples[v] = _mm256_sra_epi32(_mm256_add_epi32(e[v], o[v]), count);
      samples[2 * kVectors - 1 - v] =
          _mm256_permutevar8x32_epi32(_mm256_sra_epi32(_mm256_sub_epi32(e[v], o[v]), count), reversed);
    }
    for (int v = 0; v < kVectors; ++v) {
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(out + 16 * v),
                          _mm256_permute4x64_epi64(_mm256_packs_epi32(samples[2 * v], samples[2 * v + 1]), 0xD8));
    }
  }
}

template <int kSize>
OVE_TARGET_V3 void inverse_dct(const CoefficientBlock& c, int shift, std::int16_t* out, std::ptrdiff_t stride) {
  alignas(32) std::int16_t intermediate[kSize * kSize];
  transform_columns<kSize>(c, intermediate);
  transform_rows<kSize>(intermediate, c.columns, shift, out, stride);
}

// Two rows of four samples n < 4 fill a vector.
OVE_TARGET_V3 void inverse_dct8(const CoefficientBlock& c, int shift, std::int16_t* out, std::ptrdiff_t stride) {
  alignas(32) std::int16_t intermediate[8 * 8];
  transform_columns<8>(c, intermediate);
  const __m256i round = _mm256_set1_epi32(1 << (shift - 1));
  const __m128i count = _mm_cvtsi32_si128(shift);
  const auto& b = kBasis<8>;
  const __m256i even0 = _mm256_broadcastsi128_si256(load128(b.even[0]));
  const __m256i even1 = _mm256_broadcastsi128_si256(load128(b.even[1]));
  const __m256i odd0 = _mm256_broadcastsi128_si256(load128(b.odd[0]));
  const __m256i odd1 = _mm256_broadcastsi128_si256(load128(b.odd[1]));
  for (int y = 0; y < 8; y += 2) {
    const __m256i rows = load256(intermediate + 8 * y);
    __m256i e = multiply_add(round, _mm256_shuffle_epi32(rows, 0x00), even0);
    __m256i o = _mm256_madd_epi16(_mm256_shuffle_epi32(rows, 0x55), odd0);
    e = multiply_add(e, _mm256_shuffle_epi32(rows, 0xAA), even1);
    o = multiply_add(o, _mm256_shuffle_epi32(rows, 0xFF), odd1);
    const __m256i left = _mm256_sra_epi32(_mm256_add_epi32(e, o), count);
    const __m256i right = _mm256_shuffle_epi32(_mm256_sra_epi32(_mm256_sub_epi32(e, o), count), 0x1B);
    const __m256i samples = _mm256_packs_epi32(left, right);
    _mm_storeu_si128(reinterpret_cast<__m128i*>(out + y * stride), _mm256_castsi256_si128(samples));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(out + (y + 1) * stride), _mm256_extracti128_si256(samples, 1));
  }
}

// All products of a 4x4 matrix, without symmetry.
struct Basis4 {
  alignas(32) std::int32_t columns[2][2][8];  // [frequencies 2k, 2k + 1][samples 2n, 2n + 1], each sample four times
  alignas(32) std::int32_t rows[2][8];        // [frequencies 2k, 2k + 1][samples 0..3, twice]
};

constexpr Basis4 make_basis4(const TransMatrix4& m) {
  Basis4 b{};
  for (std::size_t k = 0; k < 2; ++k) {
    for (std::size_t i = 0; i < 8; ++i) {
      for (std::size_t n = 0; n < 2; ++n) {
        b.columns[k][n][i] = pair(m[2 * k][2 * n + i / 4], m[2 * k + 1][2 * n + i / 4]);
      }
      b.rows[k][i] = pair(m[2 * k][i % 4], m[2 * k + 1][i % 4]);
    }
  }
  return b;
}

template <const TransMatrix4& kMatrix>
OVE_TARGET_V3 void inverse4(const CoefficientBlock& c, int shift, std::int16_t* out, std::ptrdiff_t stride) {
  static constexpr Basis4 kBasis4 = make_basis4(kMatrix);
  const __m128i upper = load128(c.values.data()), lower = load128(c.values.data() + 8);
  // Rows 0 and 1, rows 2 and 3, by column, in both lanes
  const __m256i rows01 = _mm256_broadcastsi128_si256(_mm_unpacklo_epi16(upper, _mm_srli_si128(upper, 8)));
  const __m256i rows23 = _mm256_broadcastsi128_si256(_mm_unpacklo_epi16(lower, _mm_srli_si128(lower, 8)));
  __m256i stage[2];  // samples 0 | 1, then 2 | 3, of the four columns
  for (int n = 0; n < 2; ++n) {
    const __m256i sum = multiply_add(_mm256_set1_epi32(64), rows01, load256(kBasis4.columns[0][n]));
    stage[n] = _mm256_srai_epi32(multiply_add(sum, rows23, load256(kBasis4.columns[1][n])), 7);
  }
  const __m256i rows = _mm256_packs_epi32(stage[0], stage[1]);  // 0, 2 | 1, 3
  const __m256i round = _mm256_set1_epi32(1 << (shift - 1));
  const __m128i count = _mm_cvtsi32_si128(shift);
  const __m256i basis01 = load256(kBasis4.rows[0]), basis23 = load256(kBasis4.rows[1]);
  const __m256i first = multiply_add(multiply_add(round, _mm256_shuffle_epi32(rows, 0x00), basis01),
                                     _mm256_shuffle_epi32(rows, 0x55), basis23);
  const __m256i second = multiply_add(multiply_add(round, _mm256_shuffle_epi32(rows, 0xAA), basis01),
                                      _mm256_shuffle_epi32(rows, 0xFF), basis23);
  const __m256i samples = _mm256_packs_epi32(_mm256_sra_epi32(first, count), _mm256_sra_epi32(second, count));
  const __m128i even = _mm256_castsi256_si128(samples), odd = _mm256_extracti128_si256(samples, 1);
  _mm_storel_epi64(reinterpret_cast<__m128i*>(out), even);
  _mm_storel_epi64(reinterpret_cast<__m128i*>(out + stride), odd);
  _mm_storel_epi64(reinterpret_cast<__m128i*>(out + 2 * stride), _mm_srli_si128(even, 8));
  _mm_storel_epi64(reinterpret_cast<__m128i*>(out + 3 * stride), _mm_srli_si128(odd, 8));
}

}  // namespace

constinit const InverseTransforms kAvx2Transforms = {inverse4<kDst4>,
                                                     {inverse4<kDct4>, inverse_dct8, inverse_dct<16>, inverse_dct<32>}};

}  // namespace ove::hevc
#endif
