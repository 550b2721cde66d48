#include "saliency/camera.h"

#include <algorithm>
#include <cmath>
#include <cstddef>

#include "saliency/order_statistics.h"
#include "saliency/rows.h"

namespace ove::saliency {

namespace {

constexpr std::size_t kLeastPoints = 64, kMostPoints = 5000, kLeastTrimmed = 128;
constexpr double kKept = 0.7;

struct Point {
  float u, v, dx, dy;
};

Camera translation(double x, double y) {
  Camera camera;
  camera.x0 = static_cast<float>(x);
  camera.y0 = static_cast<float>(y);
  return camera;
}

Camera median_camera(const VectorField& field) { return translation(median(field.x), median(field.y)); }

Camera mean_camera(const VectorField& field) {
  double x = 0, y = 0;
  for (const float value : field.x) x += static_cast<double>(value);
  for (const float value : field.y) y += static_cast<double>(value);
  const auto n = static_cast<double>(std::max<std::size_t>(field.x.size(), 1));
  return translation(x / n, y / n);
}

// Samples of the map, in one row of it, that lie in blocks whose vector is not 0.
std::size_t moving_samples(const VectorField& field, const BlockGrid& grid, int row) {
  const std::size_t first = static_cast<std::size_t>(row) * grid.columns;
  std::size_t samples = 4 * count_moving(field.x.data() + first, field.y.data() + first, grid.columns);
  // Only the outermost blocks may lie partly outside.
  for (int column = 0; column < grid.columns; column += std::max(1, grid.columns - 1)) {
    const BlockSpan span = block_span(column, grid.phase_x, grid.width);
    if (field.x[first + column] != 0 || field.y[first + column] != 0) samples -= 4 - (span.end - span.begin);
  }
  return samples;
}

// The columns of the grid where the vectors of a row are not 0.
void find_moving(const VectorField& field, const BlockGrid& grid, int row, std::vector<int>& columns) {
  const std::size_t first = static_cast<std::size_t>(row) * grid.columns;
  columns.resize(grid.columns);
  std::size_t count = 0;
  for (int column = 0; column < grid.columns; ++column) {
    columns[count] = column;
    count += (field.x[first + column] != 0) | (field.y[first + column] != 0);
  }
  columns.resize(count);
}

// At most kMostPoints of the samples whose vector is not 0, evenly strided in raster order.
std::vector<Point> moving_points(const VectorField& field, const BlockGrid& grid) {
  std::vector<std::size_t> samples(grid.rows);  // in a line of each row of blocks
  std::size_t count = 0;
  for (int row = 0; row < grid.rows; ++row) {
    const BlockSpan lines = block_span(row, grid.phase_y, grid.height);
    samples[row] = moving_samples(field, grid, row);
    count += samples[row] * (lines.end - lines.begin);
  }
  const std::vector<float> u = unit_coordinates(grid.width), v = unit_coordinates(grid.height);
  const std::size_t step = count > kMostPoints ? (count + kMostPoints - 1) / kMostPoints : 1;
  std::vector<Point> points;
  points.reserve(count / step + 1);
  std::vector<int> moving;
  std::size_t next = 0;  // sample of the line that becomes a point
  for (int row = 0; row < grid.rows; ++row) {
    const BlockSpan lines = block_span(row, grid.phase_y, grid.height);
    if (next >= samples[row] * (lines.end - lines.begin)) {
      next -= samples[row] * (lines.end - lines.begin);
      continue;
    }
    find_moving(field, grid, row, moving);
    const BlockSpan lead = block_span(moving.front(), grid.phase_x, grid.width);
    const std::size_t lead_width = lead.end - lead.begin;
    for (int y = lines.begin; y < lines.end; ++y) {
      for (; next < samples[row]; next += step) {
        // Behind the first block, all but the last are whole.
        const std::size_t block = next < lead_width ? 0 : 1 + (next - lead_width) / 4;
        const std::size_t offset = next < lead_width ? next : (next - lead_width) % 4;
        const int column = moving[block];
        const std::size_t x = block_span(column, grid.phase_x, grid.width).begin + offset;
        const std::size_t vector = static_cast<std::size_t>(row) * grid.columns + column;
        points.push_back({u[x], v[y], field.x[vector], field.y[vector]});
      }
      next -= samples[row];
    }
  }
  return points;
}

// Least squares. About the means the translation drops out, and at most two gradients a component are left; where the
// points do not determine them (all in one place or on one line), the smallest that fit are taken.
Camera fit(const std::vector<Point>& points, Compensate compensate) {
  const double n = static_cast<double>(points.size());
  double mean_u = 0, mean_v = 0, mean_dx = 0, mean_dy = 0;
  for (const Point& p : points) {
    mean_u += static_cast<double>(p.u);
    mean_v += static_cast<double>(p.v);
    mean_dx += static_cast<double>(p.dx);
    mean_dy += static_cast<double>(p.dy);
  }
  mean_u /= n, mean_v /= n, mean_dx /= n, mean_dy /= n;
  double uu = 0, uv = 0, vv = 0, ux = 0, vx = 0, uy = 0, vy = 0;
  for (const Point& p : points) {
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

// Keeps the points that the camera explains best; the first ones where several are equally good.
void trim(std::vector<Point>& points, const Camera& camera, std::size_t kept) {
  std::vector<std::uint64_t> order(points.size());  // error above, index below
  for (std::size_t i = 0; i < points.size(); ++i) {
    const Point& p = points[i];
    const float dx = p.dx - ((camera.x0 + camera.xx * p.u) + camera.xy * p.v);
    const float dy = p.dy - ((camera.y0 + camera.yx * p.u) + camera.yy * p.v);
    order[i] = std::uint64_t{ordered_bits(std::sqrt(dx * dx + dy * dy))} << 32 | i;
  }
  std::nth_element(order.begin(), order.begin() + static_cast<std::ptrdiff_t>(kept), order.end());
  std::vector<Point> best(kept);
  for (std::size_t i = 0; i < kept; ++i) best[i] = points[order[i] & 0xffffffffu];
  points = std::move(best);
}

}  // namespace

std::vector<float> unit_coordinates(int length) {
  std::vector<float> coordinates(length, -1.0f);
  const double step = length > 1 ? 2.0 / (length - 1) : 0.0;
  for (int i = 1; i < length; ++i) coordinates[i] = i + 1 == length ? 1.0f : static_cast<float>(i * step - 1.0);
  return coordinates;
}

Camera fit_camera(const VectorField& field, const BlockGrid& grid, Compensate compensate) {
  switch (compensate) {
    case Compensate::kNone:
      return {};
    case Compensate::kMedian:
      return median_camera(field);
    case Compensate::kMean:
      return mean_camera(field);
    case Compensate::kSimilarity:
    case Compensate::kAffine:
      break;
  }
  std::vector<Point> points = moving_points(field, grid);
  if (points.size() < kLeastPoints) return median_camera(field);
  Camera camera = fit(points, compensate);
  if (points.size() < kLeastTrimmed) return camera;
  const auto kept = static_cast<std::size_t>(std::nearbyint(static_cast<double>(points.size()) * kKept));
  trim(points, camera, std::max(kept, kLeastPoints));
  return fit(points, compensate);
}

}  // namespace ove::saliency
