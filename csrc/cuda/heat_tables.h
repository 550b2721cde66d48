// What the kernels know of a clip before its pictures: parameters, and tables in one block of memory.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <type_traits>
#include <vector>

#include "common/geometry.h"
#include "common/host_device.h"
#include "saliency/bits.h"
#include "saliency/camera.h"
#include "saliency/params.h"
#include "saliency/picture.h"

namespace ove::cuda {

// A table, as the distance of its first byte from the beginning of the block.
template <class T>
struct Table {
  std::int64_t offset = 0;
};

struct AxisTable {  // saliency::Axis
  std::int32_t canvas = 0, taps = 0;
  bool reversed = false;
  Table<std::int32_t> first;
  Table<float> weight;
};

struct SumsTable {  // saliency::PatchSums
  std::int32_t count = 0;
  Table<std::int32_t> begin, offset;
  Table<float> weight;
};

struct CellTable {  // saliency::ValueMap, without its values
  std::int32_t columns = 0, rows = 0;
  Table<std::int32_t> column_of, row_of;
};

struct HeatTables {
  saliency::HeatParams params;
  DisplayWindow window;
  saliency::BlockGrid grid;
  std::int32_t rows = 0, columns = 0, patch = 0;  // of the canvas, in display orientation
  std::int32_t lists = 1;                         // of vectors that count
  std::int32_t energies = 0;                      // in use
  bool swapped = false, linear = false, motion = false, residual = false, bits = false;
  bool motion_in_blocks = false;  // |v| is the same all over a 4x4 block
  bool motion_in_map = false;     // its energies are added up cell by cell of its map
  double full_score = 0;

  AxisTable vertical, horizontal;
  CellTable motion_cells, bits_cells;
  SumsTable motion_vertical, motion_horizontal, sample_vertical, sample_horizontal, bits_vertical, bits_horizontal;
  Table<float> centre_u, centre_v;    // those of the middles of blocks
  Table<float> u, v;                  // coordinates of Camera along the map's sides
  Table<float> prior_x, prior_y;      // bells of the centre prior
  Table<std::uint32_t> bits_samples;  // of the window, in each CTU

  OVE_HOST_DEVICE std::int64_t blocks() const { return std::int64_t{grid.columns} * grid.rows; }
  OVE_HOST_DEVICE std::int64_t samples() const { return std::int64_t{window.width} * window.height; }
  OVE_HOST_DEVICE std::int64_t cells() const { return std::int64_t{motion_cells.columns} * motion_cells.rows; }
  OVE_HOST_DEVICE std::int64_t ctus() const { return std::int64_t{bits_cells.columns} * bits_cells.rows; }
  OVE_HOST_DEVICE std::int64_t patches() const { return std::int64_t{rows} * columns; }
  // Whether |v| of intra blocks comes from the other blocks.
  OVE_HOST_DEVICE bool fills_intra() const { return motion && params.intra_blocks != saliency::IntraBlocks::kAsCoded; }
  // Whether pictures count for the next sampled one.
  OVE_HOST_DEVICE bool accumulates() const { return params.accumulate != saliency::Accumulate::kNone; }
  // Whether the map of motion of a picture is computed once, or each time a sample of it is looked at.
  OVE_HOST_DEVICE bool motion_kept() const { return motion_in_blocks || params.local_variance > 0; }
  // Of what local variances are made of: the map of |v|, for the reference's integral images with its borders repeated.
  OVE_HOST_DEVICE std::int64_t variance_samples() const {
    const std::int64_t border = params.reference_motion ? params.local_variance - 1 : 0;
    return (grid.width + border) * (grid.height + border);
  }
};
static_assert(std::is_trivially_copyable_v<HeatTables>);

// A coded block of the window, in its samples; `offset` of its levels among those of the picture.
struct LevelBlock {
  std::uint16_t x, y, width, height;
  std::uint32_t offset;
};
static_assert(sizeof(LevelBlock) == 12);

// Where what the kernels read of one picture lies, in the executor's memory. Strides count elements from row to row.
struct PictureRecord {
  const std::int16_t* mv = nullptr;    // of the window's first block, likewise the next two
  const std::uint8_t* pred = nullptr;  // null: a list is used where its vector is not 0
  const std::int32_t* ref_poc = nullptr;
  std::int64_t block_stride = 0;
  const std::int32_t* bits = nullptr;  // of the window's first CTU
  std::int64_t bits_stride = 0;
  // Residuals: samples of the window at bit_depth; or, where that is null, the levels of blocks, 0 outside of them.
  const std::int16_t* residual = nullptr;
  std::int64_t residual_stride = 0;
  const LevelBlock* level_blocks = nullptr;
  const std::uint8_t* levels = nullptr;  // |Y - 128|
  std::int64_t level_block_count = 0;
  std::int32_t poc = 0, bit_depth = 8;
  std::int32_t intra = 0;    // 1: an I picture
  std::int32_t sampled = 0;  // the number of the sampled picture that it counts for
};
static_assert(sizeof(PictureRecord) == 104 && std::is_trivially_copyable_v<PictureRecord>);

class HeatPlan {
 public:
  // `ctb_size` is that of the clip's pictures, looked at where bits count. Throws std::invalid_argument for parameters
  // that make no sense.
  HeatPlan(const saliency::HeatParams& params, const DisplayWindow& window, const Geometry& geometry, int ctb_size);

  const HeatTables& tables() const { return tables_; }
  std::span<const std::byte> block() const { return block_; }  // the memory that the tables lie in

  // Bytes of the largest picture that pack() writes.
  std::int64_t most_bytes() const { return most_bytes_; }

  // Writes what counts of a picture to `to`, where most_bytes() lie; `there` is the address that these bytes are copied
  // to. `bytes` is set to how many were written. Throws std::invalid_argument for what saliency::Saliency does.
  PictureRecord pack(const saliency::PictureView& picture, std::byte* to, const std::byte* there,
                     std::int64_t& bytes) const;

  // A picture whose arrays lie in the executor's memory: the view's pointers are never followed. Throws what pack()
  // does.
  PictureRecord in_place(const saliency::PictureView& picture) const;

 private:
  template <class T>
  Table<T> add(std::span<const T> values);
  void check(const saliency::PictureView& picture) const;

  HeatTables tables_;
  std::vector<std::byte> block_;
  std::int64_t most_bytes_ = 0, most_blocks_ = 0;  // of a picture
  std::optional<saliency::CtuCells> ctus_;         // where bits count
};

}  // namespace ove::cuda
