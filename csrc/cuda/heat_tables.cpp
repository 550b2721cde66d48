#include "cuda/heat_tables.h"

#include <algorithm>
#include <stdexcept>
#include <string>

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

std::int64_t num_blocks(int begin, int length, int side) { return (begin % side + length + side - 1) / side; }

// Hands out the sections of a packed picture, at multiples of kAlignment.
class Sections {
 public:
  Sections(std::byte* here, const std::byte* there) : here_(here), there_(there) {}

  // Memory for so many values here, and its address there.
  template <class T>
  T* take(std::int64_t count, const T*& there) {
    T* const part = reinterpret_cast<T*>(here_ + bytes_);
    there = reinterpret_cast<const T*>(there_ + bytes_);
    bytes_ += aligned(count * static_cast<std::int64_t>(sizeof(T)));
    return part;
  }
  std::int64_t bytes() const { return bytes_; }

 private:
  std::byte* here_;
  const std::byte* there_;
  std::int64_t bytes_ = 0;
};

// The coded blocks of a picture, cut to the window.
std::vector<LevelBlock> level_blocks(const DisplayWindow& window, const PictureView& picture) {
  std::vector<LevelBlock> blocks;
  std::uint32_t levels = 0;
  const auto add = [&](int x, int y, int width, int height) {
    const int left = std::max(x - window.x, 0), right = std::min(x + width - window.x, window.width);
    const int top = std::max(y - window.y, 0), bottom = std::min(y + height - window.y, window.height);
    if (left >= right || top >= bottom) return;
    blocks.push_back({static_cast<std::uint16_t>(left), static_cast<std::uint16_t>(top),
                      static_cast<std::uint16_t>(right - left), static_cast<std::uint16_t>(bottom - top), levels});
    levels += static_cast<std::uint32_t>((right - left) * (bottom - top));
  };
  if (picture.coded) {
    for (const CodedSquare& s : *picture.coded) add(4 * s.x4, 4 * s.y4, 4 * s.size4, 4 * s.size4);
  } else {
    for (int y = 0; y < picture.height; y += kUnknownSide) {
      for (int x = 0; x < picture.width; x += kUnknownSide) add(x, y, kUnknownSide, kUnknownSide);
    }
  }
  return blocks;
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

HeatPlan::HeatPlan(const HeatParams& params, const DisplayWindow& window, const Geometry& geometry, int ctb_size) {
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

  const Axes axes = make_axes(geometry, window.orientation, params.interpolation);
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

  // Coded blocks are of at least 4x4 samples.
  most_blocks_ = num_blocks(window.x, window.width, 4) * num_blocks(window.y, window.height, 4);
  if (t.motion) most_bytes_ += aligned(t.blocks() * 8) + aligned(t.blocks());
  if (t.motion && params.vector == VectorMode::kDisplacement) most_bytes_ += aligned(t.blocks() * 8);
  if (t.bits) most_bytes_ += aligned(t.ctus() * 4);
  if (t.residual) {
    most_bytes_ += aligned(most_blocks_ * static_cast<std::int64_t>(sizeof(LevelBlock))) + aligned(t.samples());
  }
}

void HeatPlan::check(const PictureView& picture) const {
  const HeatTables& t = tables_;
  check_picture(t.params, t.window, picture);
  if (t.motion) check_motion(t.params, picture);
  if (!t.bits) return;
  check_bits(picture);
  if (picture.ctb_size != ctus_->side) {
    throw std::invalid_argument("ctb_size changes inside the clip: select from pictures of one sequence");
  }
  ctus_->check(picture);
}

PictureRecord HeatPlan::in_place(const PictureView& picture) const {
  check(picture);
  const HeatTables& t = tables_;
  const DisplayWindow& window = t.window;
  PictureRecord record;
  record.poc = picture.poc;
  record.bit_depth = picture.bit_depth;
  record.intra = picture.intra;
  if (t.motion) {
    record.block_stride = picture.block_columns();
    const std::int64_t first = window.y / 4 * record.block_stride + window.x / 4;
    record.mv = picture.mv + 4 * first;
    if (picture.pred != nullptr) record.pred = picture.pred + first;
    if (t.params.vector == VectorMode::kDisplacement) record.ref_poc = picture.ref_poc + 2 * first;
  }
  if (t.bits) {
    record.bits_stride = picture.bits_columns;
    record.bits = picture.bits + ctus_->first_row * record.bits_stride + ctus_->first_column;
  }
  if (t.residual) {
    record.residual_stride = picture.width;
    record.residual = picture.residual + window.y * record.residual_stride + window.x;
  }
  return record;
}

PictureRecord HeatPlan::pack(const PictureView& picture, std::byte* to, const std::byte* there,
                             std::int64_t& bytes) const {
  const HeatTables& t = tables_;
  const DisplayWindow& window = t.window;
  const PictureRecord from = in_place(picture);
  PictureRecord record = from;
  Sections sections(to, there);
  const auto copy_rows = [&]<class T>(const T* source, std::int64_t stride, int rows, std::int64_t width,
                                      const T*& at) {
    T* const values = sections.take<T>(rows * width, at);
    for (std::int64_t row = 0; row < rows; ++row) std::copy_n(source + row * stride, width, values + row * width);
  };
  if (t.motion) {
    const std::int64_t columns = t.grid.columns;
    record.block_stride = columns;
    copy_rows(from.mv, 4 * from.block_stride, t.grid.rows, 4 * columns, record.mv);
    if (from.pred != nullptr) copy_rows(from.pred, from.block_stride, t.grid.rows, columns, record.pred);
    if (from.ref_poc != nullptr) {
      copy_rows(from.ref_poc, 2 * from.block_stride, t.grid.rows, 2 * columns, record.ref_poc);
    }
  }
  if (t.bits) {
    record.bits_stride = t.bits_cells.columns;
    copy_rows(from.bits, from.bits_stride, t.bits_cells.rows, record.bits_stride, record.bits);
  }
  if (t.residual) {
    const std::vector<LevelBlock> blocks = level_blocks(window, picture);
    const std::int64_t levels = blocks.empty() ? 0 : blocks.back().offset + blocks.back().width * blocks.back().height;
    if (std::ssize(blocks) > most_blocks_ || levels > t.samples()) {
      throw std::invalid_argument("coded blocks of a picture overlap");
    }
    record.residual = nullptr;
    record.level_block_count = std::ssize(blocks);
    copy_rows(blocks.data(), 0, 1, std::ssize(blocks), record.level_blocks);
    std::uint8_t* level = sections.take<std::uint8_t>(levels, record.levels);
    for (const LevelBlock& block : blocks) {
      const Run run{0, block.width};
      for (int y = 0; y < block.height; ++y) {
        const std::int16_t* row = from.residual + (block.y + y) * from.residual_stride + block.x;
        level += residual_levels(row, std::span(&run, 1), picture.bit_depth - 8, level);
      }
    }
  }
  bytes = sections.bytes();
  return record;
}

}  // namespace ove::cuda
