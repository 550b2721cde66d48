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

// Sums over points are taken in lanes, every so-many-th point in one, and lanes are added in pairs: the same order, and
// so the same camera, whether one thread sums all lanes or each has its own.
constexpr int kFitLanes = 32;

// Of the points' coordinates and vectors; of their products about the means.
struct PointSums {
  double u = 0, v = 0, dx = 0, dy = 0;
};
struct PointProducts {
  double uu = 0, uv = 0, vv = 0, ux = 0, vx = 0, uy = 0, vy = 0;
};

OVE_HOST_DEVICE inline void add(PointSums& to, const Point& p) {
  to.u += static_cast<double>(p.u);
  to.v += static_cast<double>(p.v);
  to.dx += static_cast<double>(p.dx);
  to.dy += static_cast<double>(p.dy);
}
OVE_HOST_DEVICE inline void add(PointProducts& to, const Point& p, const PointSums& mean) {
  const double u = static_cast<double>(p.u) - mean.u, v = static_cast<double>(p.v) - mean.v;
  const double dx = static_cast<double>(p.dx) - mean.dx, dy = static_cast<double>(p.dy) - mean.dy;
  to.uu += u * u, to.uv += u * v, to.vv += v * v;
  to.ux += u * dx, to.vx += v * dx, to.uy += u * dy, to.vy += v * dy;
}
OVE_HOST_DEVICE inline void add(PointSums& to, const PointSums& other) {
  to.u += other.u, to.v += other.v, to.dx += other.dx, to.dy += other.dy;
}
OVE_HOST_DEVICE inline void add(PointProducts& to, const PointProducts& other) {
  to.uu += other.uu, to.uv += other.uv, to.vv += other.vv;
  to.ux += other.ux, to.vx += other.vx, to.uy += other.uy, to.vy += other.vy;
}

// lanes[0] becomes the sum of all kFitLanes.
template <class Sums>
OVE_HOST_DEVICE inline const Sums& add_lanes(Sums* lanes) {
  for (int step = kFitLanes / 2; step > 0; step /= 2) {
    for (int lane = 0; lane < step; ++lane) add(lanes[lane], lanes[lane + step]);
  }
  return lanes[0];
}

OVE_HOST_DEVICE inline PointSums mean_of(const PointSums& sums, std::int64_t count) {
  const auto n = static_cast<double>(count);
  return {sums.u / n, sums.v / n, sums.dx / n, sums.dy / n};
}

// Least squares. About the means the translation drops out, and at most two gradients a component are left; where the
// points do not determine them (all in one place or on one line), the smallest that fit are taken.
OVE_HOST_DEVICE inline Camera camera_of(const PointSums& mean, const PointProducts& products, std::int64_t count,
                                        Compensate compensate) {
  const auto n = static_cast<double>(count);
  const auto& [uu, uv, vv, ux, vx, uy, vy] = products;
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
    const auto solve = [=](double bu, double bv, double& gu, double& gv) {
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
  camera.x0 = static_cast<float>(mean.dx - xx * mean.u - xy * mean.v);
  camera.y0 = static_cast<float>(mean.dy - yx * mean.u - yy * mean.v);
  return camera;
}

// The camera of all points, on one thread.
inline Camera fit_points(const Point* points, std::int64_t count, Compensate compensate) {
  PointSums sums[kFitLanes];
  for (std::int64_t i = 0; i < count; ++i) add(sums[i % kFitLanes], points[i]);
  const PointSums mean = mean_of(add_lanes(sums), count);
  PointProducts products[kFitLanes];
  for (std::int64_t i = 0; i < count; ++i) add(products[i % kFitLanes], points[i], mean);
  return camera_of(mean, add_lanes(products), count, compensate);
}

}  // namespace ove::saliency
