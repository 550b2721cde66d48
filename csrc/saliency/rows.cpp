#include "saliency/rows.h"

#include <algorithm>
#include <cmath>

#include "common/simd.h"
#include "saliency/residual.h"

namespace ove::saliency {

namespace {

constexpr float kQuarter = 0.25f;

}  // namespace

OVE_VECTOR_CLONES
void choose_vectors(const std::int16_t* mv, const std::uint8_t* pred, std::size_t n, int list, bool fall_back, float* x,
                    float* y) {
  // Branch-free: what is not used is masked out.
  const int other = fall_back ? 2 : 0;
  const std::int16_t* own = mv + 2 * list;
  for (std::size_t i = 0; i < n; ++i) {
    const int first = -(pred[i] >> list & 1), second = ~first & -((pred[i] & other) >> 1);
    x[i] = static_cast<float>((own[4 * i] & first) | (mv[4 * i + 2] & second)) * kQuarter;
    y[i] = static_cast<float>((own[4 * i + 1] & first) | (mv[4 * i + 3] & second)) * kQuarter;
  }
}

OVE_VECTOR_CLONES
void used_lists(const std::int16_t* mv, std::size_t n, std::uint8_t* pred) {
  for (std::size_t i = 0; i < n; ++i) {
    const int first = (mv[4 * i] | mv[4 * i + 1]) != 0, second = (mv[4 * i + 2] | mv[4 * i + 3]) != 0;
    pred[i] = static_cast<std::uint8_t>(first | second << 1);
  }
}

OVE_VECTOR_CLONES
void magnitudes(const float* x, const float* y, const float* u, float v, std::size_t n, const Camera& camera,
                float* out) {
  const Camera c = camera;
  const float across_x = c.xy * v, across_y = c.yy * v;
  for (std::size_t i = 0; i < n; ++i) {
    const float dx = x[i] - ((c.x0 + c.xx * u[i]) + across_x), dy = y[i] - ((c.y0 + c.yx * u[i]) + across_y);
    out[i] = std::sqrt(dx * dx + dy * dy);
  }
}

OVE_VECTOR_CLONES
void magnitudes(const float* x, const float* y, std::size_t n, const Camera& camera, float* out) {
  const float x0 = camera.x0, y0 = camera.y0;
  for (std::size_t i = 0; i < n; ++i) {
    const float dx = x[i] - x0, dy = y[i] - y0;
    out[i] = std::sqrt(dx * dx + dy * dy);
  }
}

OVE_VECTOR_CLONES
void energies(const float* values, std::size_t n, float scale, float weight, float* out) {
  for (std::size_t i = 0; i < n; ++i) out[i] = weight * std::min(values[i] * scale, 1.0f);
}

OVE_VECTOR_CLONES
void add_residual_energies(const std::int16_t* residual, std::size_t n, int shift, float scale, float weight,
                           float* out) {
  for (std::size_t i = 0; i < n; ++i) {
    const auto level = static_cast<float>(residual_level(residual[i], shift));
    out[i] += weight * std::min(level * scale, 1.0f);
  }
}

OVE_VECTOR_CLONES
void add_weighted(const float* values, std::size_t n, float weight, float* out) {
  for (std::size_t i = 0; i < n; ++i) out[i] += weight * values[i];
}

OVE_VECTOR_CLONES
void apply_prior(const float* prior, std::size_t n, float strength, float* row) {
  for (std::size_t i = 0; i < n; ++i) row[i] = std::min(row[i] * (1.0f + strength * prior[i]), 1.0f);
}

OVE_VECTOR_CLONES
void quantize(std::size_t n, float* row) {
  // Of what is not negative, the whole part is the floor.
  for (std::size_t i = 0; i < n; ++i) row[i] = static_cast<float>(static_cast<int>(255.0f * std::min(row[i], 1.0f)));
}

}  // namespace ove::saliency
