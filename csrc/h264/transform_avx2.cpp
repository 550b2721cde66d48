// The inverse transform of 8x8 blocks with AVX2: a row of coefficients is one vector.
#include "common/cpu.h"
#include "h264/transform.h"
#include "h264/transform_formula.h"

#if OVE_X86_V3
#include <immintrin.h>

namespace ove::h264 {

namespace {

using Vector8 [[gnu::vector_size(32)]] = std::int32_t;

OVE_TARGET_V3 inline void transpose8(Vector8* v) {
  __m256i pairs[8], quads[8];
  for (int i = 0; i < 8; i += 2) {
    pairs[i] = _mm256_unpacklo_epi32(reinterpret_cast<__m256i>(v[i]), reinterpret_cast<__m256i>(v[i + 1]));
    pairs[i + 1] = _mm256_unpackhi_epi32(reinterpret_cast<__m256i>(v[i]), reinterpret_cast<__m256i>(v[i + 1]));
  }
  for (int i = 0; i < 8; i += 4) {
    for (int k = 0; k < 2; ++k) {
      quads[i + 2 * k] = _mm256_unpacklo_epi64(pairs[i + k], pairs[i + k + 2]);
      quads[i + 2 * k + 1] = _mm256_unpackhi_epi64(pairs[i + k], pairs[i + k + 2]);
    }
  }
  for (int i = 0; i < 4; ++i) {
    v[i] = reinterpret_cast<Vector8>(_mm256_permute2x128_si256(quads[i], quads[i + 4], 0x20));
    v[i + 4] = reinterpret_cast<Vector8>(_mm256_permute2x128_si256(quads[i], quads[i + 4], 0x31));
  }
}

}  // namespace

OVE_TARGET_V3 void inverse_transform_8x8_avx2(std::int32_t* coefficients, std::int16_t* out, std::ptrdiff_t stride) {
  Vector8 rows[8];
  auto* const from = reinterpret_cast<__m256i*>(coefficients);
  for (int y = 0; y < 8; ++y) {
    rows[y] = reinterpret_cast<Vector8>(_mm256_loadu_si256(from + y));
    _mm256_storeu_si256(from + y, _mm256_setzero_si256());
  }
  transpose8(rows);
  transform8(rows);
  transpose8(rows);
  transform8(rows);
  for (int y = 0; y < 8; y += 2, out += 2 * stride) {
    const Vector8 upper = (rows[y] + 32) >> 6, lower = (rows[y + 1] + 32) >> 6;
    // Halves of both rows by turns: brought into order
    const __m256i packed = _mm256_permute4x64_epi64(
        _mm256_packs_epi32(reinterpret_cast<__m256i>(upper), reinterpret_cast<__m256i>(lower)), 0xD8);
    _mm_storeu_si128(reinterpret_cast<__m128i*>(out), _mm256_castsi256_si128(packed));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(out + stride), _mm256_extracti128_si256(packed, 1));
  }
}

}  // namespace ove::h264
#endif
