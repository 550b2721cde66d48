#include "saliency/motion.h"

#include <algorithm>
#include <cmath>
#include <stdexcept>

namespace ove::saliency {

namespace {

constexpr float kQuarter = 0.25f;

int blocks_touched(int begin, int length) { return (begin + length + 3) / 4 - begin / 4; }

// Whether the block's list is used; without `pred`, a list counts as used where its vector is not 0.
bool uses(const PictureView& picture, std::size_t block, int list) {
  if (picture.pred != nullptr) return (picture.pred[block] >> list & 1) != 0;
  const std::int16_t* mv = picture.mv + block * 4 + list * 2;
  return (mv[0] | mv[1]) != 0;
}

float length(float x, float y) { return std::sqrt(x * x + y * y); }

}  // namespace

Motion::Motion(const HeatParams& params, const DisplayWindow& window)
    : params_(params),
      window_(window),
      grid_{blocks_touched(window.x, window.width),
            blocks_touched(window.y, window.height),
            window.x % 4,
            window.y % 4,
            window.width,
            window.height},
      per_sample_(params.local_variance > 0 || params.compensate == Compensate::kSimilarity ||
                  params.compensate == Compensate::kAffine) {
  const std::size_t blocks = static_cast<std::size_t>(grid_.columns) * grid_.rows;
  const int fields = params.vector == VectorMode::kBoth ? 2 : 1;
  for (int i = 0; i < fields; ++i) {
    fields_[i].x.resize(blocks);
    fields_[i].y.resize(blocks);
  }
  if (params.vector == VectorMode::kBoth) used_.resize(blocks);
  values_.resize(per_sample_ ? static_cast<std::size_t>(window.width) * window.height : blocks);
}

void Motion::read_list(const PictureView& picture, int list) {
  VectorField& field = fields_[list];
  const bool fall_back = params_.vector == VectorMode::kL0ElseL1;
  std::size_t i = 0;
  for (int row = 0; row < grid_.rows; ++row) {
    std::size_t block = static_cast<std::size_t>(window_.y / 4 + row) * picture.block_columns() + window_.x / 4;
    for (int column = 0; column < grid_.columns; ++column, ++block, ++i) {
      const int from = fall_back && !uses(picture, block, 0) ? 1 : list;
      const std::int16_t* mv = picture.mv + block * 4 + from * 2;
      const bool used = uses(picture, block, from);
      field.x[i] = used ? static_cast<float>(mv[0]) * kQuarter : 0.0f;
      field.y[i] = used ? static_cast<float>(mv[1]) * kQuarter : 0.0f;
      if (params_.vector == VectorMode::kBoth) {
        used_[i] = static_cast<std::uint8_t>(list == 0 ? used : used_[i] | used << 1);
      }
    }
  }
}

// Vectors point into the reference; divided by (poc - ref_poc) both lists become the motion since the picture before.
void Motion::read_displacement(const PictureView& picture) {
  std::size_t i = 0;
  for (int row = 0; row < grid_.rows; ++row) {
    std::size_t block = static_cast<std::size_t>(window_.y / 4 + row) * picture.block_columns() + window_.x / 4;
    for (int column = 0; column < grid_.columns; ++column, ++block, ++i) {
      float x = 0, y = 0;
      int lists = 0;
      for (int list = 0; list < 2; ++list) {
        if (!uses(picture, block, list)) continue;
        const std::int64_t distance = static_cast<std::int64_t>(picture.poc) - picture.ref_poc[block * 2 + list];
        const float scale = kQuarter / static_cast<float>(distance == 0 ? 1 : distance);
        x += static_cast<float>(picture.mv[block * 4 + list * 2]) * scale;
        y += static_cast<float>(picture.mv[block * 4 + list * 2 + 1]) * scale;
        ++lists;
      }
      fields_[0].x[i] = lists == 2 ? x * 0.5f : x;
      fields_[0].y[i] = lists == 2 ? y * 0.5f : y;
    }
  }
}

void Motion::measure_blocks(const Camera cameras[2]) {
  const std::size_t blocks = values_.size();
  const float x0 = cameras[0].x0, y0 = cameras[0].y0;
  const float* fx = fields_[0].x.data();
  const float* fy = fields_[0].y.data();
  float* out = values_.data();
  for (std::size_t i = 0; i < blocks; ++i) out[i] = length(fx[i] - x0, fy[i] - y0);
  if (params_.vector != VectorMode::kBoth) return;
  for (std::size_t i = 0; i < blocks; ++i) {
    if ((used_[i] & 2) == 0) continue;
    const float second = length(fields_[1].x[i] - cameras[1].x0, fields_[1].y[i] - cameras[1].y0);
    out[i] = (used_[i] & 1) != 0 ? std::max(out[i], second) : second;
  }
}

void Motion::measure_samples(const Camera cameras[2]) {
  const auto unit = [](int position, int size) {
    return size > 1 ? static_cast<float>(-1.0 + 2.0 * position / (size - 1)) : -1.0f;
  };
  scratch_.resize(grid_.width);
  for (int x = 0; x < grid_.width; ++x) scratch_[x] = unit(x, grid_.width);
  for (int y = 0; y < grid_.height; ++y) {
    const std::size_t row = static_cast<std::size_t>((y + grid_.phase_y) / 4) * grid_.columns;
    float* out = values_.data() + static_cast<std::size_t>(y) * grid_.width;
    const float v = unit(y, grid_.height);
    float x0[2], y0[2];
    for (int list = 0; list < 2; ++list) {
      x0[list] = cameras[list].x0 + cameras[list].xy * v;
      y0[list] = cameras[list].y0 + cameras[list].yy * v;
    }
    const auto magnitude = [&](int list, std::size_t block, float u) {
      return length(fields_[list].x[block] - x0[list] - cameras[list].xx * u,
                    fields_[list].y[block] - y0[list] - cameras[list].yx * u);
    };
    for (int x = 0; x < grid_.width; ++x) {
      const std::size_t block = row + (x + grid_.phase_x) / 4;
      const int used = used_.empty() ? 1 : used_[block];
      if (used == 3) {
        out[x] = std::max(magnitude(0, block, scratch_[x]), magnitude(1, block, scratch_[x]));
      } else {
        out[x] = magnitude(used == 2 ? 1 : 0, block, scratch_[x]);
      }
    }
  }
}

// values_ becomes its variance in the window of local_variance x local_variance samples about each, borders repeated.
// Sums run along the columns first, then along each row; double keeps E[v^2] - E[v]^2 from cancelling.
void Motion::local_variance() {
  const int width = grid_.width, height = grid_.height, radius = params_.local_variance / 2;
  const double area = static_cast<double>(params_.local_variance) * params_.local_variance;
  std::vector<double> sum(width, 0.0), square(width, 0.0);
  scratch_ = values_;
  const auto add = [&](int y, double sign) {
    const float* row = scratch_.data() + static_cast<std::size_t>(std::clamp(y, 0, height - 1)) * width;
    for (int x = 0; x < width; ++x) {
      const double value = static_cast<double>(row[x]);
      sum[x] += sign * value;
      square[x] += sign * value * value;
    }
  };
  for (int y = -radius; y < radius; ++y) add(y, 1.0);
  for (int y = 0; y < height; ++y) {
    add(y + radius, 1.0);
    float* out = values_.data() + static_cast<std::size_t>(y) * width;
    double first = 0, second = 0;
    const auto step = [&](int x, double sign) {
      x = std::clamp(x, 0, width - 1);
      first += sign * sum[x];
      second += sign * square[x];
    };
    for (int x = -radius; x < radius; ++x) step(x, 1.0);
    for (int x = 0; x < width; ++x) {
      step(x + radius, 1.0);
      const double mean = first / area;
      out[x] = static_cast<float>(std::max(0.0, second / area - mean * mean));
      step(x - radius, -1.0);
    }
    add(y - radius, -1.0);
  }
}

void Motion::read(const PictureView& picture) {
  if (picture.mv == nullptr) throw std::invalid_argument("mv is missing: pass it, or set mv_weight=0");
  if (params_.vector == VectorMode::kDisplacement) {
    if (picture.ref_poc == nullptr) {
      throw std::invalid_argument(
          "ref_poc is missing: pass it (and poc), or choose another vector than 'displacement'");
    }
    read_displacement(picture);
  } else {
    read_list(picture, 0);
    if (params_.vector == VectorMode::kBoth) read_list(picture, 1);
  }
  const int fields = params_.vector == VectorMode::kBoth ? 2 : 1;
  Camera cameras[2];
  for (int i = 0; i < fields; ++i) cameras[i] = fit_camera(fields_[i], grid_, params_.compensate);
  if (!per_sample_) return measure_blocks(cameras);
  measure_samples(cameras);
  if (params_.local_variance > 0) local_variance();
}

}  // namespace ove::saliency
