#include "saliency/saliency.h"

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <string>
#include <utility>

namespace ove::saliency {

namespace {

RowSums row_sums(const PatchSums& sums, int rows, float weight) {
  RowSums result;
  result.lowest.assign(rows, -1);
  result.highest.assign(rows, -1);
  for (int p = 0; p < sums.count(); ++p) {
    RowSums::Sum& sum = result.sums.emplace_back(RowSums::Sum{sums.begin(p), {}});
    for (const float w : sums.row(p)) {
      const std::size_t y = sum.begin + sum.weights.size();
      sum.weights.push_back(w * weight);
      if (w == 0.0f) continue;
      if (result.lowest[y] < 0) result.lowest[y] = p;
      result.highest[y] = p;
    }
  }
  const auto fill = [&](std::vector<std::int32_t>& values) {
    const auto shown = std::find_if(values.begin(), values.end(), [](std::int32_t p) { return p >= 0; });
    std::int32_t near = shown == values.end() ? 0 : *shown;
    for (std::int32_t& value : values) near = value = value < 0 ? near : value;
  };
  fill(result.lowest);
  fill(result.highest);
  return result;
}

}  // namespace

std::vector<float> centre_bell(int length, const DisplayWindow& window, double center_sigma) {
  const double sigma = std::max(1.0, center_sigma * std::min(window.width, window.height));
  std::vector<float> values(length);
  const double centre = (length - 1) * 0.5, nearest = length % 2 == 0 ? 0.5 : 0.0;
  for (int i = 0; i < length; ++i) {
    values[i] = static_cast<float>(std::exp((nearest * nearest - (i - centre) * (i - centre)) / (2 * sigma * sigma)));
  }
  return values;
}

void check_params(const HeatParams& params) {
  const auto reject = [](const std::string& message) { throw std::invalid_argument(message); };
  if (!(params.percentile >= 0 && params.percentile <= 100)) reject("percentile must be from 0 to 100");
  for (const double weight : {params.mv_weight, params.residual_weight, params.bits_weight}) {
    if (!(weight >= 0 && std::isfinite(weight)))
      reject("mv_weight, residual_weight and bits_weight must not be negative");
  }
  if (params.mv_weight + params.residual_weight + params.bits_weight <= 0) {
    reject("mv_weight, residual_weight and bits_weight are all 0: at least one must be positive");
  }
  if (params.local_variance != 0 &&
      (params.local_variance < 3 || params.local_variance > 4095 || params.local_variance % 2 == 0)) {
    reject("local_variance must be 0 or the odd side of a window, 3 to 4095");
  }
  if (!(params.center_prior >= 0) || !(params.center_sigma > 0)) {
    reject("center_prior must not be negative, and center_sigma must be positive");
  }
}

void check_picture(const HeatParams& params, const DisplayWindow& window, const PictureView& picture) {
  if (picture.width < window.x + window.width || picture.height < window.y + window.height) {
    throw std::invalid_argument("the picture has " + std::to_string(picture.width) + "x" +
                                std::to_string(picture.height) + " samples, fewer than its display window needs");
  }
  if (params.residual_weight > 0 && picture.residual == nullptr && picture.packed_residual == nullptr) {
    throw std::invalid_argument("residual is missing: pass it, or set residual_weight=0");
  }
  if (picture.bit_depth < 8 || picture.bit_depth > 16) {
    throw std::invalid_argument("bit_depth must be from 8 to 16, not " + std::to_string(picture.bit_depth));
  }
}

Saliency::Saliency(const HeatParams& params, const DisplayWindow& window, const Geometry& geometry)
    : params_((check_params(params), params)),
      window_(window),
      geometry_(geometry),
      axes_(make_axes(geometry, window.orientation, params.interpolation)),
      use_motion_(params.mv_weight > 0),
      use_residual_(params.residual_weight > 0),
      use_bits_(params.bits_weight > 0),
      motion_(params, window),
      bit_cost_(window, params.accumulate),
      residual_(window),
      sample_sums_{{axes_.vertical, even_cells(window.height, 1, 0)},
                   {axes_.horizontal, even_cells(window.width, 1, 0)}},
      row_weights_(window.height),
      sums_(static_cast<std::size_t>(geometry.rows) * geometry.columns) {
  if (use_residual_ && params.accumulate != Accumulate::kNone) accumulated_residual_.emplace(window, params.accumulate);
  for (int p = 0; p < sample_sums_.vertical.count(); ++p) {
    int y = sample_sums_.vertical.begin(p);
    for (const float weight : sample_sums_.vertical.row(p)) {
      if (weight != 0.0f) row_weights_[y].emplace_back(p, weight);
      ++y;
    }
  }
  residual_rows_ = row_sums(sample_sums_.vertical, window.height, static_cast<float>(params.residual_weight));
  if (use_motion_ && motion_.in_map()) {
    const ValueMap& map = motion_.map();
    motion_sums_.emplace(MapSums{{axes_.vertical, map.row_of}, {axes_.horizontal, map.column_of}});
  }
  const Axis& horizontal = axes_.horizontal;
  for (const std::int32_t first : horizontal.first) {
    // Where nothing of the picture is shown any place will do.
    line_first_.push_back(
        std::clamp(first - horizontal.begin + horizontal.taps, 0, horizontal.end - horizontal.begin + horizontal.taps));
  }
  if (params.center_prior > 0) {
    prior_x_ = centre_bell(window.width, window, params.center_sigma);
    prior_y_ = centre_bell(window.height, window, params.center_sigma);
  }
}

double full_score(const HeatParams& params, const Geometry& geometry) {
  return static_cast<double>(geometry.patch) * geometry.patch * (params.quantize ? 255.0 : 1.0);
}

bool is_linear(const HeatParams& params) {
  return params.fuse == Fuse::kWeighted && params.interpolation == Interpolation::kBilinear && !params.quantize &&
         params.center_prior == 0;
}

bool Saliency::takes_packed() const {
  return accumulated_residual_ || (is_linear(params_) && (!use_motion_ || motion_.in_map()));
}

void Saliency::read(const PictureView& picture) {
  if (off(picture)) return;
  check_picture(params_, window_, picture);
  if (use_residual_ && picture.residual == nullptr && !takes_packed()) {
    throw std::logic_error("the residual is packed, but its plane is needed");
  }
  if (use_motion_) motion_.read(picture);
  if (use_residual_) residual_.read(picture);
  if (accumulated_residual_) accumulated_residual_->add(residual_);
  if (use_bits_) bit_cost_.read(picture);
  empty_ = false;
}

void Saliency::begin_anew() {
  if (!empty_ && params_.accumulate != Accumulate::kNone) {
    motion_.clear();
    bit_cost_.clear();
    if (accumulated_residual_) accumulated_residual_->clear();
  }
  empty_ = true;
}

double Saliency::residual_percentile() {
  return accumulated_residual_ ? accumulated_residual_->percentile(params_.percentile)
                               : residual_.percentile(params_.percentile);
}

void Saliency::add_residual(int y, const Run& part, float weight, float* out) {
  if (accumulated_residual_) {
    accumulated_residual_->add_energies(y, part, scales_.residual, weight, out);
  } else {
    add_level_energies(residual_.levels(y), residual_.runs(y), part, scales_.residual, weight, out);
  }
}

void Saliency::find_scales() {
  if (params_.clip_scope) finish_measuring();
  if (scales_final_) return;
  if (use_motion_) scales_.motion = scale_of(motion_.percentile(params_.percentile), kLeastMotion);
  if (use_residual_) scales_.residual = scale_of(residual_percentile(), kLeastResidual);
  if (use_bits_) {
    auto weighted = bit_cost_.weighted();
    scales_.bits = scale_of(percentile(weighted, params_.percentile), kLeastBits);
  }
}

void Saliency::accumulate(const PictureView& picture) {
  if (params_.accumulate == Accumulate::kNone) throw std::logic_error("the parameters accumulate nothing");
  read(picture);
}

void Saliency::finish_measuring() {
  if (std::exchange(scales_final_, true)) return;
  scales_.motion = scale_of(clip_motion_.percentile(params_.percentile), kLeastMotion);
  scales_.residual = scale_of(accumulated_residual_ ? clip_accumulated_residual_.percentile(params_.percentile)
                                                    : percentile(clip_residual_, params_.percentile),
                              kLeastResidual);
  scales_.bits = scale_of(clip_bits_.percentile(params_.percentile), kLeastBits);
}

void Saliency::measure(const PictureView& picture) {
  read(picture);
  if (empty_) return;
  if (use_motion_) motion_.count(clip_motion_);
  if (accumulated_residual_) {
    accumulated_residual_->count(clip_accumulated_residual_);
  } else if (use_residual_) {
    residual_.count(clip_residual_);
  }
  if (use_bits_) {
    for (const auto& [value, samples] : bit_cost_.weighted()) clip_bits_.add(value, samples);
  }
  begin_anew();
}

void Saliency::score(const PictureView& picture, std::span<float> scores) {
  read(picture);
  if (empty_) {
    std::fill(scores.begin(), scores.end(), 0.0f);
    return;
  }
  find_scales();
  std::fill(sums_.begin(), sums_.end(), 0.0);
  if (is_linear(params_)) {
    sum_linear();
  } else {
    const int patch = geometry_.patch, columns = axes_.horizontal.canvas / patch;
    render([&](int y, std::span<const float> row) {
      double* sums = sums_.data() + static_cast<std::size_t>(y / patch) * columns;
      for (int q = 0; q < columns; ++q) {
        double sum = 0;
        for (const float value : row.subspan(static_cast<std::size_t>(q) * patch, patch)) {
          sum += static_cast<double>(value);
        }
        sums[q] += sum;
      }
    });
  }
  for (int row = 0; row < geometry_.rows; ++row) {
    for (int column = 0; column < geometry_.columns; ++column) {
      const int from = axes_.swapped ? column * geometry_.rows + row : row * geometry_.columns + column;
      scores[static_cast<std::size_t>(row) * geometry_.columns + column] =
          score_of(sums_[from], full_score(), params_.quantize);
    }
  }
  begin_anew();
}

void Saliency::heat(const PictureView& picture, std::span<float> canvas) {
  read(picture);
  if (empty_) {
    std::fill(canvas.begin(), canvas.end(), 0.0f);
    return;
  }
  if (use_residual_ && !accumulated_residual_ && residual_.packed()) {
    throw std::logic_error("the residual is packed, but its plane is needed");
  }
  find_scales();
  const std::size_t width = geometry_.canvas_width();
  render([&](int y, std::span<const float> row) {
    if (!axes_.swapped) {
      std::copy(row.begin(), row.end(), canvas.begin() + static_cast<std::ptrdiff_t>(y * width));
    } else {
      for (std::size_t x = 0; x < row.size(); ++x) canvas[x * width + y] = row[x];
    }
  });
  begin_anew();
}

}  // namespace ove::saliency
