#include "saliency/camera.h"

#include <algorithm>
#include <cmath>
#include <cstddef>

#include "saliency/camera_fit.h"
#include "saliency/order_statistics.h"
#include "saliency/rows.h"

namespace ove::saliency {

namespace {

Camera translation(double x, double y) {
  Camera camera;
  camera.x0 = static_cast<float>(x);
  camera.y0 = static_cast<float>(y);
  return camera;
}

Camera median_camera(const VectorField& field) {
  return field.still ? Camera() : translation(median(field.x), median(field.y));
}

Camera mean_camera(const VectorField& field) {
  double x = 0, y = 0;
  for (const float value : field.x) x += static_cast<double>(value);
  for (const float value : field.y) y += static_cast<double>(value);
  const auto n = static_cast<double>(std::max<std::size_t>(field.x.size(), 1));
  return translation(x / n, y / n);
}

Camera translating_camera(const VectorField& field, Compensate compensate) {
  return compensate == Compensate::kMean ? mean_camera(field) : median_camera(field);
}

VectorField without(const VectorField& field, std::span<const std::uint8_t> left_out) {
  VectorField others{std::vector<float>(field.x.size()), std::vector<float>(field.x.size())};
  std::size_t count = 0;
  for (std::size_t i = 0; i < field.x.size(); ++i) {
    others.x[count] = field.x[i];
    others.y[count] = field.y[i];
    count += left_out[i] == 0;
  }
  others.x.resize(count);
  others.y.resize(count);
  return others;
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
  const std::size_t step = point_step(count);
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

// Keeps the points that the camera explains best; the first ones where several are equally good.
void trim(std::vector<Point>& points, const Camera& camera, std::size_t kept) {
  std::vector<std::uint64_t> order(points.size());  // error above, index below
  for (std::size_t i = 0; i < points.size(); ++i) {
    const Point& p = points[i];
    order[i] = std::uint64_t{ordered_bits(magnitude(p.dx, p.dy, camera, p.u, p.v))} << 32 | i;
  }
  std::nth_element(order.begin(), order.begin() + static_cast<std::ptrdiff_t>(kept), order.end());
  std::vector<Point> best(kept);
  for (std::size_t i = 0; i < kept; ++i) best[i] = points[order[i] & 0xffffffffu];
  points = std::move(best);
}

Camera least_squares_camera(std::vector<Point> points, Compensate compensate) {
  const auto fit = [&] { return fit_points(points.data(), static_cast<std::int64_t>(points.size()), compensate); };
  const Camera camera = fit();
  const auto kept = static_cast<std::size_t>(num_kept_points(static_cast<std::int64_t>(points.size())));
  if (kept == points.size()) return camera;
  trim(points, camera, kept);
  return fit();
}

}  // namespace

std::vector<float> unit_coordinates(int length) {
  std::vector<float> coordinates(length, -1.0f);
  const double step = length > 1 ? 2.0 / (length - 1) : 0.0;
  for (int i = 1; i < length; ++i) coordinates[i] = i + 1 == length ? 1.0f : static_cast<float>(i * step - 1.0);
  return coordinates;
}

std::vector<float> centre_coordinates(int blocks, int phase, int length) {
  const double step = length > 1 ? 2.0 / (length - 1) : 0.0;
  std::vector<float> coordinates(blocks);
  for (int i = 0; i < blocks; ++i)
    coordinates[i] = static_cast<float>(std::clamp((4 * i - phase + 1.5) * step - 1, -1.0, 1.0));
  return coordinates;
}

Camera fit_camera(const VectorField& field, const BlockGrid& grid, Compensate compensate,
                  std::span<const std::uint8_t> left_out) {
  if (compensate == Compensate::kNone) return {};
  if (compensate == Compensate::kSimilarity || compensate == Compensate::kAffine) {
    std::vector<Point> points = moving_points(field, grid);
    if (std::ssize(points) >= kLeastPoints) return least_squares_camera(std::move(points), compensate);
  }
  return left_out.empty() ? translating_camera(field, compensate)
                          : translating_camera(without(field, left_out), compensate);
}

}  // namespace ove::saliency
