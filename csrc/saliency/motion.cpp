#include "saliency/motion.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <numeric>
#include <stdexcept>

#include "saliency/rows.h"
#include "saliency/vector_rows.h"

namespace ove::saliency {

namespace {

// Two vectors, or two order counts.
std::uint64_t word(const void* bytes) {
  std::uint64_t bits;
  std::memcpy(&bits, bytes, sizeof(bits));
  return bits;
}

int blocks_touched(int begin, int length) { return (begin + length + 3) / 4 - begin / 4; }

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
    : params_(params), window_(window), grid_(grid_of(params, window)), pred_(grid_.columns) {
  const std::size_t blocks = static_cast<std::size_t>(grid_.columns) * grid_.rows;
  const int lists = params.vector == VectorMode::kBoth ? 2 : 1;
  for (int i = 0; i < lists; ++i) {
    field_.lists[i].x.resize(blocks);
    field_.lists[i].y.resize(blocks);
  }
  if (lists > 1) field_.used.resize(blocks);
  if (params.local_variance > 0 || params.compensate == Compensate::kSimilarity ||
      params.compensate == Compensate::kAffine) {
    samples_.emplace(grid_, params.local_variance, params.reference_motion);
  }
  place_cells();
}

void Motion::place_cells() {
  map_.columns = samples_ ? samples_->columns() : grid_.columns;
  if (params_.reference_motion) {
    map_.column_of = stretched_cells(window_.width, map_.columns);
    map_.row_of = stretched_cells(window_.height, rows());
  } else {
    map_.column_of = even_cells(window_.width, samples_ ? 1 : 4, samples_ ? 0 : grid_.phase_x);
    map_.row_of = even_cells(window_.height, samples_ ? 1 : 4, samples_ ? 0 : grid_.phase_y);
  }
  std::vector<std::int32_t> same(window_.width);
  std::iota(same.begin(), same.end(), 0);
  aligned_ = samples_ && map_.column_of == same;
  if (in_map()) map_.values.resize(static_cast<std::size_t>(map_.columns) * rows());
}

const std::uint8_t* Motion::pred_row(const PictureView& picture, std::size_t block) {
  if (picture.pred != nullptr) return picture.pred + block;
  const std::size_t columns = grid_.columns;
  if (picture.ref_idx != nullptr) {
    pred_of_indices(picture.ref_idx + block * 2, columns, pred_.data());
  } else {
    used_lists(picture.mv + block * 4, columns, pred_.data());
  }
  return pred_.data();
}

// Whether nothing but the length of one vector a block is wanted.
bool Motion::only_magnitudes() const {
  return !samples_ && params_.compensate == Compensate::kNone && params_.intra_blocks == IntraBlocks::kAsCoded &&
         params_.accumulate == Accumulate::kNone &&
         (params_.vector == VectorMode::kL0 || params_.vector == VectorMode::kL0ElseL1);
}

void Motion::read_magnitudes(const PictureView& picture) {
  const std::size_t columns = grid_.columns;
  for (int row = 0; row < grid_.rows; ++row) {
    const std::size_t block = static_cast<std::size_t>(window_.y / 4 + row) * picture.block_columns() + window_.x / 4;
    chosen_magnitudes(picture.mv + block * 4, pred_row(picture, block), columns, 0,
                      params_.vector == VectorMode::kL0ElseL1, Camera(), map_.values.data() + row * columns);
  }
}

void Motion::read_list(const PictureView& picture, int list) {
  VectorField& field = field_.lists[list];
  const std::size_t columns = grid_.columns;
  for (int row = 0; row < grid_.rows; ++row) {
    const std::size_t block = static_cast<std::size_t>(window_.y / 4 + row) * picture.block_columns() + window_.x / 4;
    const std::int16_t* mv = picture.mv + block * 4;
    const std::uint8_t* pred = pred_row(picture, block);
    choose_vectors(mv, pred, columns, list, params_.vector == VectorMode::kL0ElseL1, field.x.data() + row * columns,
                   field.y.data() + row * columns);
    if (params_.vector != VectorMode::kBoth) continue;
    for (std::size_t i = 0; i < columns; ++i) field_.used[row * columns + i] = pred[i] & 3;
  }
}

void Motion::read_displacement(const PictureView& picture) {
  field_.lists[0].still = false;
  if (picture.list_poc != nullptr) return read_indexed_displacement(picture);
  std::size_t i = 0;
  for (int row = 0; row < grid_.rows; ++row) {
    const std::size_t block = static_cast<std::size_t>(window_.y / 4 + row) * picture.block_columns() + window_.x / 4;
    const std::int16_t* mv = picture.mv + block * 4;
    const std::uint8_t* pred = pred_row(picture, block);
    const std::int32_t* ref_poc = picture.ref_poc + block * 2;
    Vector v{0, 0};
    std::uint64_t vectors_before = 0, references_before = 0;
    for (int column = 0; column < grid_.columns; ++column, ++i, mv += 4, ref_poc += 2) {
      const std::uint64_t vectors = word(mv), references = word(ref_poc);
      const bool same = column > 0 && pred[column] == pred[column - 1] && vectors == vectors_before &&
                        references == references_before;  // as inside of a prediction block
      vectors_before = vectors;
      references_before = references;
      if (!same) v = displacement(mv, pred[column], ref_poc, picture.poc);
      field_.lists[0].x[i] = v.x;
      field_.lists[0].y[i] = v.y;
    }
  }
}

// The same, of blocks that say by indices what they refer to.
void Motion::read_indexed_displacement(const PictureView& picture) {
  std::array<std::vector<float>, 2> scales;
  for (std::size_t list = 0; list < 2; ++list) {
    for (const std::int32_t poc : (*picture.list_poc)[list]) {
      scales[list].push_back(displacement_scale(picture.poc, poc));
    }
  }
  const std::size_t columns = grid_.columns;
  std::array<Signs, 2> signs;
  for (int row = 0; row < grid_.rows; ++row) {
    const std::size_t block = static_cast<std::size_t>(window_.y / 4 + row) * picture.block_columns() + window_.x / 4;
    displacements(picture.mv + block * 4, picture.ref_idx + block * 2, columns, scales,
                  field_.lists[0].x.data() + row * columns, field_.lists[0].y.data() + row * columns, signs);
  }
  const Rank middle = rank_of(columns * static_cast<std::size_t>(grid_.rows), 50.0);
  field_.lists[0].still = std::all_of(signs.begin(), signs.end(), [&](const Signs& axis) {
    return axis.negative <= middle.low && middle.high < axis.negative + axis.zero;
  });
}

// Which blocks have no vector, where that makes a difference.
void Motion::mark_intra(const PictureView& picture) {
  field_.intra.clear();
  if (params_.intra_blocks == IntraBlocks::kAsCoded || picture.intra) return;
  field_.intra.resize(field_.lists[0].x.size());
  bool any = false;
  std::uint8_t* intra = field_.intra.data();
  for (int row = 0; row < grid_.rows; ++row, intra += grid_.columns) {
    const std::size_t block = static_cast<std::size_t>(window_.y / 4 + row) * picture.block_columns() + window_.x / 4;
    const std::uint8_t* pred = pred_row(picture, block);
    for (int column = 0; column < grid_.columns; ++column) {
      intra[column] = is_intra_block(pred[column]);
      any |= is_intra_block(pred[column]);
    }
  }
  if (!any) field_.intra.clear();
}

void Motion::measure_blocks(float* out) {
  const std::size_t blocks = field_.lists[0].x.size();
  magnitudes(field_.lists[0].x.data(), field_.lists[0].y.data(), blocks, field_.cameras[0], out);
  if (params_.vector == VectorMode::kBoth) {
    for (std::size_t i = 0; i < blocks; ++i) {
      if ((field_.used[i] & 2) == 0) continue;
      const float second = magnitude(field_.lists[1].x[i], field_.lists[1].y[i], field_.cameras[1]);
      out[i] = (field_.used[i] & 1) != 0 ? std::max(out[i], second) : second;
    }
  }
  for (std::size_t i = 0; i < field_.intra.size(); ++i) {
    if (field_.intra[i] != 0) out[i] = field_.fill;
  }
}

// |v| of intra blocks, from that of the others.
void Motion::fill_intra() {
  field_.fill = 0;
  if (field_.intra.empty() || params_.intra_blocks == IntraBlocks::kZero) return;
  values_.resize(field_.intra.size());
  if (samples_) {
    const std::span<const float> middles = samples_->middles();
    std::copy(middles.begin(), middles.end(), values_.begin());
  } else {
    measure_blocks(values_.data());
  }
  std::size_t count = 0;
  for (std::size_t i = 0; i < field_.intra.size(); ++i) {
    if (field_.intra[i] == 0) values_[count++] = values_[i];
  }
  values_.resize(count);
  field_.fill =
      filled_magnitude(params_.intra_blocks, finder_.find(values_, 50.0), largest(values_.data(), count, 0.0f));
}

// Adds the values of the picture read last to the map.
void Motion::accumulate() {
  const std::size_t columns = map_.columns;
  if (!samples_ && params_.vector != VectorMode::kBoth && field_.intra.empty()) {
    const VectorField& field = field_.lists[0];
    return accumulate_magnitudes(field.x.data(), field.y.data(), field.x.size(), field_.cameras[0], params_.accumulate,
                                 map_.values.data());
  }
  values_.resize(samples_ ? columns : map_.values.size());
  if (!samples_) measure_blocks(values_.data());
  for (std::size_t first = 0, y = 0; first < map_.values.size(); first += values_.size(), ++y) {
    const float* values = samples_ ? samples_->row(static_cast<int>(y), 0, static_cast<int>(columns)) : values_.data();
    saliency::accumulate(values, values_.size(), params_.accumulate, map_.values.data() + first);
  }
}

void check_motion(const HeatParams& params, const PictureView& picture) {
  if (picture.mv == nullptr) throw std::invalid_argument("mv is missing: pass it, or set mv_weight=0");
  if (params.vector == VectorMode::kDisplacement && picture.ref_poc == nullptr && picture.list_poc == nullptr) {
    throw std::invalid_argument("ref_poc is missing: pass it (and poc), or choose another vector than 'displacement'");
  }
  if (params.intra_blocks != IntraBlocks::kAsCoded && picture.pred == nullptr && picture.ref_idx == nullptr) {
    throw std::invalid_argument("pred is missing: pass it, or set intra_blocks='as_coded'");
  }
}

void Motion::read(const PictureView& picture) {
  check_motion(params_, picture);
  if (only_magnitudes()) return read_magnitudes(picture);
  if (params_.vector == VectorMode::kDisplacement) {
    read_displacement(picture);
  } else {
    read_list(picture, 0);
    if (params_.vector == VectorMode::kBoth) read_list(picture, 1);
  }
  mark_intra(picture);
  for (int i = 0; i < (params_.vector == VectorMode::kBoth ? 2 : 1); ++i) {
    field_.cameras[i] = fit_camera(field_.lists[i], grid_, params_.compensate, field_.intra);
  }
  if (samples_) samples_->begin(field_);
  fill_intra();
  if (params_.accumulate != Accumulate::kNone) {
    accumulate();
  } else if (!samples_) {
    measure_blocks(map_.values.data());
  }
}

void Motion::clear() {
  if (params_.accumulate != Accumulate::kNone) std::fill(map_.values.begin(), map_.values.end(), 0.0f);
}

void Motion::energies(int y, int begin, int end, float scale, float weight, float* out) {
  const std::int32_t* column_of = map_.column_of.data();
  if (aligned_ && !in_map()) return samples_->energies(map_.row_of[y], begin, end, scale, weight, out);
  const float* values =
      in_map() ? map_.row(y) : samples_->row(map_.row_of[y], column_of[begin], column_of[end - 1] + 1);
  for (int x = begin; x < end; ++x) out[x - begin] = values[column_of[x]];
  saliency::energies(out, end - begin, scale, weight, out);
}

double Motion::percentile(double q) { return in_map() ? finder_.find(map_.values, q) : samples_->percentile(q); }

void Motion::count(MagnitudeHistogram& histogram) {
  for (const float value : map_.values) histogram.add(value);
  for (int y = 0; !in_map() && y < samples_->rows(); ++y) {
    const float* values = samples_->row(y, 0, samples_->columns());
    for (int x = 0; x < samples_->columns(); ++x) histogram.add(values[x]);
  }
}

}  // namespace ove::saliency
