#include "saliency/vector_rows.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "common/simd.h"
#include "saliency/formulas.h"

namespace ove::saliency {

namespace {

// Calls take(i, x, y) with the vector of every block. A vector at a time; without branches, so what is not used is
// masked out.
template <class Take>
[[gnu::always_inline]] inline void for_vectors(const std::int16_t* mv, const std::uint8_t* pred, std::size_t n,
                                               int list, bool fall_back, Take take) {
  typedef std::int32_t Pair __attribute__((may_alias, aligned(2)));
  const Pair* vectors = reinterpret_cast<const Pair*>(mv);
  constexpr int kToX = std::endian::native == std::endian::little ? 16 : 0, kToY = 16 - kToX;
  const int other = fall_back ? 2 : 0;
  for (std::size_t i = 0; i < n; ++i) {
    const std::int32_t first = -(pred[i] >> list & 1), second = ~first & -((pred[i] & other) >> 1);
    const std::int32_t l0 = vectors[2 * i], l1 = vectors[2 * i + 1];
    const auto v = static_cast<std::uint32_t>(((list == 0 ? l0 : l1) & first) | (l1 & second));
    take(i, static_cast<float>(static_cast<std::int32_t>(v << kToX) >> 16) * kQuarter,
         static_cast<float>(static_cast<std::int32_t>(v << kToY) >> 16) * kQuarter);
  }
}

}  // namespace

OVE_VECTOR_CLONES
void choose_vectors(const std::int16_t* mv, const std::uint8_t* pred, std::size_t n, int list, bool fall_back, float* x,
                    float* y) {
  for_vectors(
      mv, pred, n, list, fall_back, [ x, y ](std::size_t i, float vx, float vy) __attribute__((always_inline)) {
        x[i] = vx;
        y[i] = vy;
      });
}

OVE_VECTOR_CLONES
void chosen_magnitudes(const std::int16_t* mv, const std::uint8_t* pred, std::size_t n, int list, bool fall_back,
                       const Camera& camera, float* out) {
  const Camera c = camera;
  for_vectors(
      mv, pred, n, list, fall_back,
      [&c, out ](std::size_t i, float x, float y) __attribute__((always_inline)) { out[i] = magnitude(x, y, c); });
}

OVE_VECTOR_CLONES
void displacements(const std::int16_t* mv, const std::int8_t* ref_idx, std::size_t n,
                   const std::array<std::vector<float>, 2>& scales, float* __restrict x, float* __restrict y,
                   std::array<Signs, 2>& signs) {
  typedef std::int32_t Pair __attribute__((may_alias, aligned(2)));
  constexpr int kToX = std::endian::native == std::endian::little ? 16 : 0, kToY = 16 - kToX;
  constexpr std::size_t kChunk = 64, kRun = 8;  // most blocks refer to what their neighbours do
  float first[kChunk], second[kChunk], share[kChunk];
  for (std::size_t at = 0; at < n; at += kChunk) {
    const std::size_t count = std::min(kChunk, n - at);
    const Pair* const vectors = reinterpret_cast<const Pair*>(mv + 4 * at);
    std::int32_t any = 0;
    for (std::size_t i = 0; i < 2 * count; ++i) any |= vectors[i];
    if (any == 0) {
      std::fill_n(x + at, count, 0.0f);
      std::fill_n(y + at, count, 0.0f);
      for (Signs& axis : signs) axis.zero += count;
      continue;
    }
    const std::int8_t* const indices = ref_idx + 2 * at;
    const auto set = [&](std::size_t from, std::size_t blocks) __attribute__((always_inline)) {
      const int index0 = indices[2 * from], index1 = indices[2 * from + 1];
      const float a = index0 < 0 ? 0.0f : scales[0][static_cast<std::size_t>(index0)];
      const float b = index1 < 0 ? 0.0f : scales[1][static_cast<std::size_t>(index1)];
      const float c = (index0 | index1) < 0 ? 1.0f : 0.5f;
      for (std::size_t i = from; i < from + blocks; ++i) first[i] = a;
      for (std::size_t i = from; i < from + blocks; ++i) second[i] = b;
      for (std::size_t i = from; i < from + blocks; ++i) share[i] = c;
    };
    for (std::size_t i = 0; i < count;) {
      std::uint64_t run[2] = {};
      std::uint16_t pair = 0;
      const bool whole = i + kRun <= count;
      if (whole) std::memcpy(run, indices + 2 * i, sizeof(run));
      std::memcpy(&pair, indices + 2 * i, sizeof(pair));
      const std::uint64_t same = pair * std::uint64_t{0x0001000100010001};
      if (whole && run[0] == same && run[1] == same) {
        set(i, kRun);
        i += kRun;
      } else {
        set(i, 1);
        ++i;
      }
    }
    float* __restrict const x_at = x + at;
    float* __restrict const y_at = y + at;
    std::int32_t below[2] = {}, level[2] = {};
    for (std::size_t i = 0; i < count; ++i) {
      const auto l0 = static_cast<std::uint32_t>(vectors[2 * i]), l1 = static_cast<std::uint32_t>(vectors[2 * i + 1]);
      const auto part = [](std::uint32_t v, int shift) __attribute__((always_inline)) {
        return static_cast<float>(static_cast<std::int32_t>(v << shift) >> 16);
      };
      const float dx = (part(l0, kToX) * first[i] + part(l1, kToX) * second[i]) * share[i];
      const float dy = (part(l0, kToY) * first[i] + part(l1, kToY) * second[i]) * share[i];
      x_at[i] = dx;
      y_at[i] = dy;
      below[0] += dx < 0;
      below[1] += dy < 0;
      level[0] += dx == 0;
      level[1] += dy == 0;
    }
    for (std::size_t axis = 0; axis < 2; ++axis) {
      signs[axis].negative += static_cast<std::size_t>(below[axis]);
      signs[axis].zero += static_cast<std::size_t>(level[axis]);
    }
  }
}

OVE_VECTOR_CLONES
void pred_of_indices(const std::int8_t* __restrict ref_idx, std::size_t n, std::uint8_t* __restrict pred) {
  for (std::size_t i = 0; i < n; ++i) {
    pred[i] = static_cast<std::uint8_t>(3 - ((ref_idx[2 * i] >> 7 & 1) | (ref_idx[2 * i + 1] >> 7 & 1) << 1));
  }
}

OVE_VECTOR_CLONES
void used_lists(const std::int16_t* mv, std::size_t n, std::uint8_t* pred) {
  for (std::size_t i = 0; i < n; ++i) pred[i] = used_lists(mv + 4 * i);
}

}  // namespace ove::saliency
