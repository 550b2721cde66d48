#include "saliency/sample_rows.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "saliency/rows.h"

namespace ove::saliency {

namespace {

// Percentiles are found among this many values at a time; more are counted as they come by.
constexpr std::size_t kMostValues = 1 << 17;
constexpr int kChunk = 32;

}  // namespace

void SampleRows::Samples::resize(std::size_t n, int lists) {
  for (int i = 0; i < lists; ++i) {
    x[i].resize(n);
    y[i].resize(n);
  }
  if (lists > 1) used.resize(n);
  intra.resize(n);
  u.resize(n);
}

SampleRows::Vectors SampleRows::Samples::from(std::size_t i) const {
  return {{x[0].data() + i, x[1].data() + i},
          {y[0].data() + i, y[1].data() + i},
          used.data() + i,
          intra.data() + i,
          u.data() + i};
}

SampleRows::SampleRows(const BlockGrid& grid, int local_variance, bool reference)
    : grid_(grid),
      variance_(local_variance == 0 ? nullptr
                : reference         ? make_reference_local_variance(grid.width, grid.height, local_variance)
                                    : make_local_variance(grid.width, grid.height, local_variance)),
      u_(unit_coordinates(grid.width)),
      v_(unit_coordinates(grid.height)),
      centre_u_(centre_coordinates(grid.columns, grid.phase_x, grid.width)),
      centre_v_(centre_coordinates(grid.rows, grid.phase_y, grid.height)),
      out_(grid.width) {}

void SampleRows::begin(const MotionField& field) {
  field_ = &field;
  lists_ = field.used.empty() ? 1 : 2;
  line_row_ = -1;
  const std::size_t width = 4 * static_cast<std::size_t>(grid_.columns);
  line_.resize(width, lists_);
  std::copy(u_.begin(), u_.end(), line_.u.begin() + grid_.phase_x);
  candidates_.resize(width, lists_);
  if (variance_) variance_->begin();
}

void SampleRows::measure(const Vectors& s, std::size_t n, float v, float* out) {
  magnitudes(s.x[0], s.y[0], s.u, v, n, field_->cameras[0], out);
  if (lists_ > 1) {
    second_.resize(n);
    magnitudes(s.x[1], s.y[1], s.u, v, n, field_->cameras[1], second_.data());
    for (std::size_t i = 0; i < n; ++i) {
      if (s.used[i] == 3) out[i] = std::max(out[i], second_[i]);
      if (s.used[i] == 2) out[i] = second_[i];
    }
  }
  if (field_->intra.empty()) return;
  for (std::size_t i = 0; i < n; ++i) {
    if (s.intra[i] != 0) out[i] = field_->fill;
  }
}

// The vectors of row y of the map.
void SampleRows::read_line(int y) {
  const int row = (y + grid_.phase_y) / 4;
  if (row == line_row_) return;
  line_row_ = row;
  const std::size_t columns = grid_.columns, first = static_cast<std::size_t>(row) * columns;
  for (int i = 0; i < lists_; ++i) {
    repeat4(field_->lists[i].x.data() + first, columns, line_.x[i].data());
    repeat4(field_->lists[i].y.data() + first, columns, line_.y[i].data());
  }
  for (std::size_t x = 0; x < line_.used.size(); ++x) line_.used[x] = field_->used[first + x / 4];
  if (field_->intra.empty()) return;
  for (std::size_t x = 0; x < line_.intra.size(); ++x) line_.intra[x] = field_->intra[first + x / 4];
}

const float* SampleRows::magnitude_row(int y, int begin, int end) {
  read_line(y);
  measure(line_.from(begin + grid_.phase_x), end - begin, v_[y], out_.data() + begin);
  return out_.data();
}

void SampleRows::energies(int y, int begin, int end, float scale, float weight, float* out) {
  if (variance_ || lists_ > 1 || !field_->intra.empty()) {
    saliency::energies(row(y, begin, end) + begin, end - begin, scale, weight, out);
    return;
  }
  read_line(y);
  const Vectors line = line_.from(begin + grid_.phase_x);
  magnitude_energies(line.x[0], line.y[0], line.u, v_[y], end - begin, field_->cameras[0], scale, weight, out);
}

const float* SampleRows::row(int y, int begin, int end) {
  if (!variance_) return magnitude_row(y, begin, end);
  return variance_->row(y, [&](int source) { return magnitude_row(source, 0, grid_.width); });
}

// A bound of how far the value of any sample lies from that of the middle of its block, rounding included; 0 where
// values are the same all over a block.
float SampleRows::variation() const {
  const float step_u = grid_.width > 1 ? 2.0f / static_cast<float>(grid_.width - 1) : 0.0f;
  const float step_v = grid_.height > 1 ? 2.0f / static_cast<float>(grid_.height - 1) : 0.0f;
  const float most_centre = largest(centres_.data(), centres_.size(), 0.0f);
  float most = 0;
  for (int i = 0; i < lists_; ++i) {
    const Camera& c = field_->cameras[i];
    const auto lost = [](float a, float b) { return a + b == a && a - b == a; };
    if (lost(c.x0, c.xx) && lost(c.x0, c.xy) && lost(c.y0, c.yx) && lost(c.y0, c.yy)) continue;
    const float x = std::abs(c.xx) * step_u + std::abs(c.xy) * step_v;
    const float y = std::abs(c.yx) * step_u + std::abs(c.yy) * step_v;
    const float sum = std::abs(c.x0) + std::abs(c.xx) + std::abs(c.xy) + std::abs(c.y0) + std::abs(c.yx) +
                      std::abs(c.yy) + most_centre;
    most = std::max(most, 1.5f * std::sqrt(x * x + y * y) + std::ldexp(sum, -19));
  }
  return most;
}

std::span<const float> SampleRows::middles() {
  centres_.resize(static_cast<std::size_t>(grid_.columns) * grid_.rows);
  const MotionField& f = *field_;
  for (int row = 0; row < grid_.rows; ++row) {
    const std::size_t first = static_cast<std::size_t>(row) * grid_.columns;
    const Vectors blocks{{f.lists[0].x.data() + first, f.lists[1].x.data() + first},
                         {f.lists[0].y.data() + first, f.lists[1].y.data() + first},
                         f.used.data() + first,
                         f.intra.data() + first,
                         centre_u_.data()};
    measure(blocks, grid_.columns, centre_v_[row], centres_.data() + first);
  }
  return centres_;
}

double SampleRows::percentile(double q) {
  if (variance_) return streamed_percentile(q);
  middles();
  return variation() == 0 ? block_percentile(q) : bounded_percentile(q);
}

// Values are the same all over a block: each counts for its samples.
double SampleRows::block_percentile(double q) {
  const auto pass = [&](auto visit) {
    for (int row = 0; row < grid_.rows; ++row) {
      const BlockSpan lines = block_span(row, grid_.phase_y, grid_.height);
      const std::span<const float> values =
          std::span(centres_).subspan(static_cast<std::size_t>(row) * grid_.columns, grid_.columns);
      const auto side = [&](int column) {
        const BlockSpan span = block_span(column, grid_.phase_x, grid_.width);
        visit(values.subspan(column, 1),
              static_cast<std::uint32_t>((span.end - span.begin) * (lines.end - lines.begin)));
      };
      side(0);
      if (grid_.columns > 1) side(grid_.columns - 1);
      if (grid_.columns > 2) {
        visit(values.subspan(1, grid_.columns - 2), static_cast<std::uint32_t>(4 * (lines.end - lines.begin)));
      }
    }
  };
  two_pass_.begin();
  pass([&](std::span<const float> values, std::uint32_t weight) { two_pass_.first_pass(values, weight); });
  two_pass_.between(q);
  pass([&](std::span<const float> values, std::uint32_t weight) { two_pass_.second_pass(values, weight); });
  return two_pass_.result();
}

double SampleRows::streamed_percentile(double q) {
  two_pass_.begin();
  for (int y = 0; y < rows(); ++y) two_pass_.first_pass({row(y, 0, columns()), static_cast<std::size_t>(columns())});
  two_pass_.between(q);
  for (int y = 0; y < rows(); ++y) two_pass_.second_pass({row(y, 0, columns()), static_cast<std::size_t>(columns())});
  return two_pass_.result();
}

// Every value lies within `most` of that of the middle of its block. So only blocks near the percentile of the middles
// are measured sample by sample: `below` samples are smaller than low + most, those of blocks above are larger than
// high - most, and where the values of rank below + k among the measured ones lie between these bounds, they have
// that rank among all.
double SampleRows::bounded_percentile(double q) {
  const float most = variation();
  const auto middle = static_cast<float>(finder_.find(centres_, q));
  const Rank rank = rank_of(static_cast<std::uint64_t>(grid_.width) * grid_.height, q);
  for (float reach = 2.0f * most;; reach *= 4) {
    const float low = middle - reach, high = middle + reach;
    std::uint64_t below = 0;
    values_.clear();
    for (int row = 0; row < grid_.rows; ++row) {
      const BlockSpan lines = block_span(row, grid_.phase_y, grid_.height);
      const std::size_t first = static_cast<std::size_t>(row) * grid_.columns;
      std::size_t below_in_row = 0, n = 0;
      const auto width = [&](int column) {
        const BlockSpan span = block_span(column, grid_.phase_x, grid_.width);
        return static_cast<std::size_t>(span.end - span.begin);
      };
      for (int column = 0; column < grid_.columns;) {
        // Most chunks of blocks hold no candidates.
        const int end = std::min(column + kChunk, grid_.columns);
        std::size_t smaller = 0, inside = 0;
        count_around(centres_.data() + first + column, end - column, low, high, smaller, inside);
        below_in_row += 4 * smaller;
        if (column == 0 && centres_[first] < low) below_in_row -= 4 - width(0);
        if (end == grid_.columns && end > 1 && centres_[first + end - 1] < low) below_in_row -= 4 - width(end - 1);
        for (; column < end && inside != 0; ++column) {
          const float centre = centres_[first + column];
          if (centre < low || centre > high) continue;
          const BlockSpan span = block_span(column, grid_.phase_x, grid_.width);
          for (int x = span.begin; x < span.end; ++x, ++n) {
            for (int i = 0; i < lists_; ++i) {
              candidates_.x[i][n] = field_->lists[i].x[first + column];
              candidates_.y[i][n] = field_->lists[i].y[first + column];
            }
            if (lists_ > 1) candidates_.used[n] = field_->used[first + column];
            if (!field_->intra.empty()) candidates_.intra[n] = field_->intra[first + column];
            candidates_.u[n] = u_[x];
          }
        }
        column = end;
      }
      below += below_in_row * (lines.end - lines.begin);
      const std::size_t measured = values_.size();
      values_.resize(measured + n * (lines.end - lines.begin));
      if (values_.size() > kMostValues) return streamed_percentile(q);
      for (int y = lines.begin; y < lines.end; ++y) {
        measure(candidates_.from(0), n, v_[y], values_.data() + measured + n * (y - lines.begin));
      }
    }
    const bool all = values_.size() == static_cast<std::size_t>(grid_.width) * grid_.height;
    if (rank.low < below || rank.high - below >= values_.size()) continue;
    const auto at = [&](std::uint64_t k) {
      std::nth_element(values_.begin(), values_.begin() + static_cast<std::ptrdiff_t>(k - below), values_.end());
      return values_[k - below];
    };
    const float a = at(rank.low), b = rank.low == rank.high ? a : at(rank.high);
    if (!all && (a < low + most || b > high - most)) continue;
    return static_cast<double>(a) + (static_cast<double>(b) - static_cast<double>(a)) * rank.fraction;
  }
}

}  // namespace ove::saliency
