#include "cuda/heat_tables.h"

#include <algorithm>
#include <cstring>
#include <numeric>
#include <stdexcept>
#include <string>

#include "hevc/trans_matrix.h"
#include "saliency/bits.h"
#include "saliency/motion.h"
#include "saliency/resampling.h"
#include "saliency/rows.h"
#include "saliency/saliency.h"

namespace ove::cuda {

using namespace saliency;

namespace {

constexpr std::int64_t kAlignment = 16;

std::int64_t aligned(std::int64_t bytes) { return (bytes + kAlignment - 1) / kAlignment * kAlignment; }

constexpr int kMostSide = 65535;  // as LevelBlock counts

// Side of the blocks that a picture is cut into where nothing tells which of its blocks are coded.
constexpr int kUnknownSide = 32;

std::int64_t most_blocks(int begin, int length, int side) { return (begin % side + length + side - 1) / side; }

template <class T>
void copy_all(const std::vector<T>& values, std::byte* to) {
  if (!values.empty()) std::memcpy(to, values.data(), values.size() * sizeof(T));
}

}  // namespace

template <class T>
Table<T> HeatPlan::add(std::span<const T> values) {
  const auto bytes = std::as_bytes(values);
  const Table<T> table{static_cast<std::int64_t>(block_.size())};
  block_.insert(block_.end(), bytes.begin(), bytes.end());
  block_.resize(static_cast<std::size_t>(aligned(std::ssize(block_))));
  return table;
}

HeatPlan::HeatPlan(const HeatParams& params, const DisplayWindow& window, const Geometry& geometry, int ctb_size,
                   std::int64_t coded_samples) {
  check_params(params);
  if (window.width > kMostSide || window.height > kMostSide) {
    throw std::invalid_argument("pictures on a GPU have at most " + std::to_string(kMostSide) + " samples a side");
  }
  HeatTables& t = tables_;
  t.params = params;
  t.window = window;
  t.rows = geometry.rows;
  t.columns = geometry.columns;
  t.patch = geometry.patch;
  t.motion = params.mv_weight > 0;
  t.residual = params.residual_weight > 0;
  t.bits = params.bits_weight > 0;
  t.energies = t.motion + t.residual + t.bits;
  t.lists = params.vector == VectorMode::kBoth ? 2 : 1;
  t.linear = is_linear(params);
  t.full_score = full_score(params, geometry);

  const Axes axes = make_axes(geometry, window.quarter_turns, params.interpolation);
  t.swapped = axes.swapped;
  const auto axis_table = [&](const Axis& axis) {
    return AxisTable{axis.canvas, axis.taps, axis.reversed, add(std::span(axis.first)), add(std::span(axis.weight))};
  };
  t.vertical = axis_table(axes.vertical);
  t.horizontal = axis_table(axes.horizontal);
  const auto sums_table = [&](const Axis& axis, std::span<const std::int32_t> cell_of) {
    const PatchSums sums(axis, cell_of);
    std::vector<std::int32_t> begin, offset{0};
    std::vector<float> weight;
    for (int p = 0; p < sums.count(); ++p) {
      begin.push_back(sums.begin(p));
      weight.insert(weight.end(), sums.row(p).begin(), sums.row(p).end());
      offset.push_back(static_cast<std::int32_t>(weight.size()));
    }
    return SumsTable{sums.count(), add(std::span<const std::int32_t>(begin)),
                     add(std::span<const std::int32_t>(offset)), add(std::span<const float>(weight))};
  };
  const auto add_cells = [&](const ValueMap& map, int rows, SumsTable& vertical, SumsTable& horizontal) {
    vertical = sums_table(axes.vertical, map.row_of);
    horizontal = sums_table(axes.horizontal, map.column_of);
    return CellTable{map.columns, rows, add(std::span<const std::int32_t>(map.column_of)),
                     add(std::span<const std::int32_t>(map.row_of))};
  };
  t.sample_vertical = sums_table(axes.vertical, even_cells(window.height, 1, 0));
  t.sample_horizontal = sums_table(axes.horizontal, even_cells(window.width, 1, 0));

  const Motion motion(params, window);
  t.grid = motion.grid();
  t.motion_in_blocks = motion.in_blocks();
  t.motion_in_map = motion.in_map();
  t.motion_cells = add_cells(motion.map(), motion.rows(), t.motion_vertical, t.motion_horizontal);
  t.u = add(std::span<const float>(unit_coordinates(t.grid.width)));
  t.v = add(std::span<const float>(unit_coordinates(t.grid.height)));
  t.centre_u = add(std::span<const float>(centre_coordinates(t.grid.columns, t.grid.phase_x, t.grid.width)));
  t.centre_v = add(std::span<const float>(centre_coordinates(t.grid.rows, t.grid.phase_y, t.grid.height)));
  if (params.center_prior > 0) {
    t.prior_x = add(std::span<const float>(centre_bell(window.width, window, params.center_sigma)));
    t.prior_y = add(std::span<const float>(centre_bell(window.height, window, params.center_sigma)));
  }
  if (t.bits) {
    ctus_.emplace(window, ctb_size);
    t.bits_cells = add_cells(ctus_->map, ctus_->rows, t.bits_vertical, t.bits_horizontal);
    std::vector<std::uint32_t> samples(ctus_->samples.begin(), ctus_->samples.end());
    t.bits_samples = add(std::span<const std::uint32_t>(samples));
  }

  if (t.residual && coded_samples > 0) {
    t.coded_samples = coded_samples;
    std::vector<std::int8_t> matrix, dst;
    for (const auto& row : hevc::kTransMatrix) matrix.insert(matrix.end(), row.begin(), row.end());
    for (const auto& row : hevc::kDst4) dst.insert(dst.end(), row.begin(), row.end());
    t.trans_matrix = add(std::span<const std::int8_t>(matrix));
    t.dst = add(std::span<const std::int8_t>(dst));
  }

  RecordLayout& record = t.record;
  record.pred = aligned(t.motion ? t.blocks() * 8 : 0);
  record.ref_poc = record.pred + aligned(t.motion ? t.blocks() : 0);
  record.bits = record.ref_poc + aligned(t.motion && params.vector == VectorMode::kDisplacement ? t.blocks() * 8 : 0);
  record.level_blocks = record.bits + aligned(t.ctus() * 4);
  // Coded blocks are of at least 4x4 samples.
  const std::int64_t squares = most_blocks(window.x, window.width, 4) * most_blocks(window.y, window.height, 4);
  const std::int64_t blocks = std::max<std::int64_t>(squares, window.height);
  record.capacity = record.level_blocks +
                    (t.residual ? aligned(blocks * static_cast<std::int64_t>(sizeof(LevelBlock))) + t.samples() : 0);
}

std::int64_t HeatPlan::record_bytes(const hevc::SparseResidual* residual) const {
  if (residual == nullptr) return tables_.record.capacity;
  const auto blocks = static_cast<std::int64_t>((residual->blocks.size() + 1) * sizeof(hevc::SparseBlock));
  const auto coefficients = static_cast<std::int64_t>(residual->coefficients.size() * sizeof(hevc::Coefficient));
  return tables_.record.level_blocks + aligned(blocks) + coefficients;
}

RecordSizes HeatPlan::pack(const PictureView& picture, const hevc::SparseResidual* residual, std::byte* record) const {
  const HeatTables& t = tables_;
  const DisplayWindow& window = t.window;
  HeatParams needed = t.params;
  if (residual != nullptr) needed.residual_weight = 0;
  check_picture(needed, window, picture);
  RecordSizes sizes;
  sizes.poc = picture.poc;
  sizes.bit_depth = picture.bit_depth;
  sizes.intra = picture.intra;
  if (t.motion) pack_motion(picture, record);
  if (t.bits) pack_bits(picture, record);
  if (!t.residual) {
    sizes.levels = sizes.bytes = t.record.level_blocks;
  } else if (residual != nullptr) {
    pack_coefficients(*residual, record, sizes);
  } else {
    pack_levels(picture, record, sizes);
  }
  return sizes;
}

void HeatPlan::pack_motion(const PictureView& picture, std::byte* record) const {
  const HeatTables& t = tables_;
  const DisplayWindow& window = t.window;
  check_motion(t.params, picture);
  const std::size_t columns = t.grid.columns;
  for (int row = 0; row < t.grid.rows; ++row) {
    const std::size_t from = static_cast<std::size_t>(window.y / 4 + row) * picture.block_columns() + window.x / 4;
    const std::size_t to = static_cast<std::size_t>(row) * columns;
    auto* pred = reinterpret_cast<std::uint8_t*>(record + t.record.pred) + to;
    std::memcpy(record + t.record.mv + to * 8, picture.mv + from * 4, columns * 8);
    if (picture.pred == nullptr) {
      used_lists(picture.mv + from * 4, columns, pred);
    } else {
      std::memcpy(pred, picture.pred + from, columns);
    }
    if (t.params.vector == VectorMode::kDisplacement) {
      std::memcpy(record + t.record.ref_poc + to * 8, picture.ref_poc + from * 2, columns * 8);
    }
  }
}

void HeatPlan::check_ctus(const PictureView& picture) const {
  check_bits(picture);
  if (picture.ctb_size != ctus_->side) {
    throw std::invalid_argument("ctb_size changes inside the clip: select from pictures of one sequence");
  }
  ctus_->check(picture);
}

void HeatPlan::pack_bits(const PictureView& picture, std::byte* record) const {
  check_ctus(picture);
  auto* to = reinterpret_cast<std::int32_t*>(record + tables_.record.bits);
  for (int row = 0; row < ctus_->rows; ++row) {
    for (const std::int32_t bits : ctus_->row(picture, row)) *to++ = std::max(0, bits);
  }
}

void HeatPlan::pack_coefficients(const hevc::SparseResidual& residual, std::byte* record, RecordSizes& sizes) const {
  if (residual.samples > tables_.coded_samples) throw std::invalid_argument("coded blocks of a picture overlap");
  std::byte* const blocks = record + tables_.record.level_blocks;
  const std::size_t block_bytes = residual.blocks.size() * sizeof(hevc::SparseBlock);
  sizes.sparse_blocks = std::ssize(residual.blocks);
  sizes.coded_samples = residual.samples;
  copy_all(residual.blocks, blocks);
  hevc::SparseBlock end;
  end.coefficients = static_cast<std::uint32_t>(residual.coefficients.size());
  std::memcpy(blocks + block_bytes, &end, sizeof(end));
  sizes.coefficients = tables_.record.level_blocks + aligned(static_cast<std::int64_t>(block_bytes + sizeof(end)));
  const std::size_t bytes = residual.coefficients.size() * sizeof(hevc::Coefficient);
  copy_all(residual.coefficients, record + sizes.coefficients);
  sizes.bytes = sizes.coefficients + static_cast<std::int64_t>(bytes);
}

void HeatPlan::pack_levels(const PictureView& picture, std::byte* record, RecordSizes& sizes) const {
  const HeatTables& t = tables_;
  const DisplayWindow& window = t.window;
  std::vector<LevelBlock> blocks;
  std::uint32_t count = 0;
  const auto add_block = [&](int x, int y, int width, int height) {
    const int left = std::max(x - window.x, 0), right = std::min(x + width - window.x, window.width);
    const int top = std::max(y - window.y, 0), bottom = std::min(y + height - window.y, window.height);
    if (left >= right || top >= bottom) return;
    blocks.push_back({static_cast<std::uint16_t>(left), static_cast<std::uint16_t>(top),
                      static_cast<std::uint16_t>(right - left), static_cast<std::uint16_t>(bottom - top), count});
    count += static_cast<std::uint32_t>((right - left) * (bottom - top));
  };
  if (picture.coded) {
    for (const CodedSquare& s : *picture.coded) add_block(4 * s.x4, 4 * s.y4, 4 * s.size4, 4 * s.size4);
  } else {
    for (int y = 0; y < picture.height; y += kUnknownSide) {
      for (int x = 0; x < picture.width; x += kUnknownSide) add_block(x, y, kUnknownSide, kUnknownSide);
    }
  }
  sizes.level_blocks = std::ssize(blocks);
  sizes.levels = t.record.level_blocks + aligned(sizes.level_blocks * static_cast<std::int64_t>(sizeof(LevelBlock)));
  sizes.bytes = sizes.levels + count;
  if (sizes.bytes > t.record.capacity) throw std::invalid_argument("coded blocks of a picture overlap");
  copy_all(blocks, record + t.record.level_blocks);
  auto* levels = reinterpret_cast<std::uint8_t*>(record + sizes.levels);
  for (const LevelBlock& block : blocks) {
    const Run run{0, block.width};
    for (int y = 0; y < block.height; ++y) {
      const std::int16_t* row =
          picture.residual + static_cast<std::size_t>(window.y + block.y + y) * picture.width + window.x + block.x;
      levels += residual_levels(row, std::span(&run, 1), picture.bit_depth - 8, levels);
    }
  }
}

RecordSizes HeatPlan::dense_sizes(const PictureView& picture) const {
  const HeatTables& t = tables_;
  check_picture(t.params, t.window, picture);
  if (t.motion) check_motion(t.params, picture);
  if (t.bits) check_ctus(picture);
  RecordSizes sizes;
  sizes.poc = picture.poc;
  sizes.intra = picture.intra;
  sizes.level_blocks = t.residual ? t.window.height : 0;
  sizes.levels = t.record.level_blocks + aligned(sizes.level_blocks * static_cast<std::int64_t>(sizeof(LevelBlock)));
  sizes.bytes = sizes.levels + (t.residual ? t.samples() : 0);
  return sizes;
}

std::vector<LevelBlock> HeatPlan::dense_blocks() const {
  const auto width = static_cast<std::uint16_t>(tables_.window.width);
  std::vector<LevelBlock> blocks;
  for (int y = 0; tables_.residual && y < tables_.window.height; ++y) {
    blocks.push_back({0, static_cast<std::uint16_t>(y), width, 1, static_cast<std::uint32_t>(y) * width});
  }
  return blocks;
}

}  // namespace ove::cuda
