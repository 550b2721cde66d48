// The least-squares cameras, from points of the vector field, for the CPU and the GPU.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>

#include "common/host_device.h"
#include "saliency/formulas.h"
#include "saliency/params.h"

namespace ove::saliency {

constexpr std::int64_t kLeastPoints = 64, kMostPoints = 5000, kLeastTrimmed = 128;
constexpr double kKept = 0.7;

// A sample of the map at (u, v), with its vector.
struct Point {
  float u, v, dx, dy;
};

// Every so many of n samples becomes a point, so that there are at most kMostPoints.
OVE_HOST_DEVICE inline std::size_t point_step(std::size_t n) {
  const auto limit = static_cast<std::size_t>(kMostPoints);
  return n > limit ? (n + limit - 1) / limit : 1;
}

// So many of n points, those that the first camera explains best, decide the last one: all where they are few.
OVE_HOST_DEVICE inline std::int64_t num_kept_points(std::int64_t n) {
  if (n < kLeastTrimmed) return n;
  const auto kept = static_cast<std::int64_t>(std::nearbyint(static_cast<double>(n) * kKept));
  return kept < kLeastPoints ? kLeastPoints : kept;
}

// Least squares. About the means the translation drops out, and at most two gradients a component are left; where the
// points do not determine them (all in one place or on one line), the smallest that fit are taken.
OVE_HOST_DEVICE inline Camera fit_points(const Point* points, std::int64_t count, Compensate compensate) {
  const auto n = static_cast<double>(count);
  double mean_u = 0, mean_v = 0, mean_dx = 0, mean_dy = 0;
  for (std::int64_t i = 0; i < count; ++i) {
    const Point p = points[i];
    mean_u += static_cast<double>(p.u);
    mean_v += static_cast<double>(p.v);
    mean_dx += static_cast<double>(p.dx);
    mean_dy += static_cast<double>(p.dy);
  }
  mean_u /= n, mean_v /= n, mean_dx /= n, mean_dy /= n;
  double uu = 0, uv = 0, vv = 0, ux = 0, vx = 0, uy = 0, vy = 0;
  for (std::int64_t i = 0; i < count; ++i) {
    const Point p = points[i];
    const double u = static_cast<double>(p.u) - mean_u, v = static_cast<double>(p.v) - mean_v;
    const double dx = static_cast<double>(p.dx) - mean_dx, dy = static_cast<double>(p.dy) - mean_dy;
    uu += u * u, uv += u * v, vv += v * v;
    ux += u * dx, vx += v * dx, uy += u * dy, vy += v * dy;
  }
  double xx = 0, xy = 0, yx = 0, yy = 0;
  if (compensate == Compensate::kSimilarity) {
    if (uu + vv > 1e-12 * n) {
      xx = yy = (ux + vy) / (uu + vv);
      yx = (uy - vx) / (uu + vv);
      xy = -yx;
    }
  } else {
    // Pseudo-inverse of [uu uv; uv vv] by its eigenvectors (c, s) and (-s, c).
    const double angle = 0.5 * std::atan2(2 * uv, uu - vv);
    const double c = std::cos(angle), s = std::sin(angle);
    const double first = uu * c * c + 2 * uv * c * s + vv * s * s;
    const double second = uu * s * s - 2 * uv * c * s + vv * c * c;
    const double inverse_first = first > 1e-12 * n ? 1 / first : 0.0;
    const double inverse_second = second > 1e-12 * n ? 1 / second : 0.0;
    const auto solve = [&](double bu, double bv, double& gu, double& gv) {
      const double along = (c * bu + s * bv) * inverse_first, across = (c * bv - s * bu) * inverse_second;
      gu = c * along - s * across;
      gv = s * along + c * across;
    };
    solve(ux, vx, xx, xy);
    solve(uy, vy, yx, yy);
  }
  Camera camera;
  camera.xx = static_cast<float>(xx);
  camera.xy = static_cast<float>(xy);
  camera.yx = static_cast<float>(yx);
  camera.yy = static_cast<float>(yy);
  camera.x0 = static_cast<float>(mean_dx - xx * mean_u - xy * mean_v);
  camera.y0 = static_cast<float>(mean_dy - yx * mean_u - yy * mean_v);
  return camera;
}

}  // namespace ove::saliency
