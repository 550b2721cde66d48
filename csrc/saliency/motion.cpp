#include "saliency/motion.h"

#include <algorithm>
#include <cmath>
#include <stdexcept>

#include "saliency/local_variance.h"

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

BlockGrid grid_of(const HeatParams& params, const DisplayWindow& window) {
  if (!params.reference_motion) {
    return {blocks_touched(window.x, window.width),
            blocks_touched(window.y, window.height),
            window.x % 4,
            window.y % 4,
            window.width,
            window.height};
  }
  const int columns = std::max(1, window.width / 4), rows = std::max(1, window.height / 4);
  return {columns, rows, 0, 0, columns * 4, rows * 4};
}

// The nearest of `cells` cells spread over `length` samples.
std::vector<std::int32_t> stretched_cells(int length, int cells) {
  std::vector<std::int32_t> cell_of(length);
  const double step = 1.0 / (static_cast<double>(length) / cells);
  for (int i = 0; i < length; ++i) cell_of[i] = std::min(cells - 1, static_cast<std::int32_t>(std::floor(i * step)));
  return cell_of;
}

}  // namespace

Motion::Motion(const HeatParams& params, const DisplayWindow& window)
    : params_(params),
      window_(window),
      per_sample_(params.local_variance > 0 || params.compensate == Compensate::kSimilarity ||
                  params.compensate == Compensate::kAffine),
      grid_(grid_of(params, window)),
      u_(unit_coordinates(grid_.width)),
      v_(unit_coordinates(grid_.height)) {
  const std::size_t blocks = static_cast<std::size_t>(grid_.columns) * grid_.rows;
  const int fields = params.vector == VectorMode::kBoth ? 2 : 1;
  for (int i = 0; i < fields; ++i) {
    fields_[i].x.resize(blocks);
    fields_[i].y.resize(blocks);
  }
  if (params.vector == VectorMode::kBoth) used_.resize(blocks);
  if (per_sample_) samples_.resize(static_cast<std::size_t>(grid_.width) * grid_.height);
  place_cells();
}

void Motion::place_cells() {
  int columns = per_sample_ ? grid_.width : grid_.columns, rows = per_sample_ ? grid_.height : grid_.rows;
  if (params_.reference_motion) {
    if (params_.local_variance > 0) --columns, --rows;  // see reference_local_variance()
    map_.column_of = stretched_cells(window_.width, columns);
    map_.row_of = stretched_cells(window_.height, rows);
  } else {
    map_.column_of = even_cells(window_.width, per_sample_ ? 1 : 4, per_sample_ ? 0 : grid_.phase_x);
    map_.row_of = even_cells(window_.height, per_sample_ ? 1 : 4, per_sample_ ? 0 : grid_.phase_y);
  }
  map_.columns = columns;
  map_.values.resize(static_cast<std::size_t>(columns) * rows);
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
  const std::size_t blocks = map_.values.size();
  const float x0 = cameras[0].x0, y0 = cameras[0].y0;
  const float* fx = fields_[0].x.data();
  const float* fy = fields_[0].y.data();
  float* out = map_.values.data();
  for (std::size_t i = 0; i < blocks; ++i) out[i] = length(fx[i] - x0, fy[i] - y0);
  if (params_.vector != VectorMode::kBoth) return;
  for (std::size_t i = 0; i < blocks; ++i) {
    if ((used_[i] & 2) == 0) continue;
    const float second = length(fields_[1].x[i] - cameras[1].x0, fields_[1].y[i] - cameras[1].y0);
    out[i] = (used_[i] & 1) != 0 ? std::max(out[i], second) : second;
  }
}

void Motion::measure_samples(const Camera cameras[2]) {
  for (int y = 0; y < grid_.height; ++y) {
    const std::size_t row = static_cast<std::size_t>((y + grid_.phase_y) / 4) * grid_.columns;
    float* out = samples_.data() + static_cast<std::size_t>(y) * grid_.width;
    const auto magnitude = [&](int list, std::size_t block, int x) {
      const Camera& c = cameras[list];
      return length(fields_[list].x[block] - ((c.x0 + c.xx * u_[x]) + c.xy * v_[y]),
                    fields_[list].y[block] - ((c.y0 + c.yx * u_[x]) + c.yy * v_[y]));
    };
    for (int x = 0; x < grid_.width; ++x) {
      const std::size_t block = row + (x + grid_.phase_x) / 4;
      const int used = used_.empty() ? 1 : used_[block];
      out[x] = magnitude(used == 2 ? 1 : 0, block, x);
      if (used == 3) out[x] = std::max(out[x], magnitude(1, block, x));
    }
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
  if (params_.local_variance == 0) {
    map_.values = samples_;
  } else if (params_.reference_motion) {
    reference_local_variance(samples_, grid_.width, params_.local_variance, map_.values);
  } else {
    local_variance(samples_, grid_.width, params_.local_variance, map_.values);
  }
}

}  // namespace ove::saliency
