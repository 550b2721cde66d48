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
#include "hevc/coefficients.h"
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

// A picture as it goes up: vectors (and what tells which count) of the window's blocks, the bits of its CTUs (int32),
// and its residual: LevelBlocks and the levels of these blocks, |Y - 128| one a byte; or hevc::SparseBlocks, one more
// than there are, and hevc::Coefficients. Sections begin at multiples of 16 bytes.
struct RecordLayout {
  std::int64_t mv = 0, pred = 0, ref_poc = 0, bits = 0, level_blocks = 0;  // offsets of the sections
  std::int64_t capacity = 0;                                               // bytes of the largest record with levels
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
  std::int64_t coded_samples = 0;  // of a picture whose coefficients can be taken in; 0: only levels

  AxisTable vertical, horizontal;
  CellTable motion_cells, bits_cells;
  SumsTable motion_vertical, motion_horizontal, sample_vertical, sample_horizontal, bits_vertical, bits_horizontal;
  Table<float> centre_u, centre_v;       // those of the middles of blocks
  Table<float> u, v;                     // coordinates of Camera along the map's sides
  Table<float> prior_x, prior_y;         // bells of the centre prior
  Table<std::uint32_t> bits_samples;     // of the window, in each CTU
  Table<std::int8_t> trans_matrix, dst;  // hevc::kTransMatrix and kDst4, where there are coded_samples
  RecordLayout record;

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

// Of one picture.
struct RecordSizes {
  std::int64_t level_blocks = 0, sparse_blocks = 0;  // their numbers, of which one is 0
  std::int64_t levels = 0, coefficients = 0;         // offsets of the sections
  std::int64_t coded_samples = 0;                    // of the sparse blocks
  std::int64_t bytes = 0;                            // of the whole record
  std::int32_t poc = 0;
  std::int32_t bit_depth = 8;
  std::int32_t intra = 0;  // 1: an I picture
};

class HeatPlan {
 public:
  // `ctb_size` is that of the clip's pictures, looked at where bits count. `coded_samples` is 0, or how many luma
  // samples its pictures have: then records may have coefficients. Throws std::invalid_argument for parameters that
  // make no sense.
  HeatPlan(const saliency::HeatParams& params, const DisplayWindow& window, const Geometry& geometry, int ctb_size,
           std::int64_t coded_samples = 0);

  const HeatTables& tables() const { return tables_; }
  std::span<const std::byte> block() const { return block_; }  // the memory that the tables lie in

  // Bytes that hold the record of a picture with this residual; null for one that goes up as levels.
  std::int64_t record_bytes(const hevc::SparseResidual* residual) const;

  // Writes a picture to `record`, which holds record_bytes(residual). Its residual is looked at as given, that of the
  // view only where it is null. Throws std::invalid_argument for what saliency::Saliency does.
  RecordSizes pack(const saliency::PictureView& picture, const hevc::SparseResidual* residual, std::byte* record) const;

  // A record whose every level is given, row after row of the window: its sizes, and its level blocks. The picture's
  // arrays lie elsewhere: their pointers only tell which there are. Throws what pack() does.
  RecordSizes dense_sizes(const saliency::PictureView& picture) const;
  std::vector<LevelBlock> dense_blocks() const;

 private:
  template <class T>
  Table<T> add(std::span<const T> values);
  void pack_motion(const saliency::PictureView& picture, std::byte* record) const;
  void check_ctus(const saliency::PictureView& picture) const;
  void pack_bits(const saliency::PictureView& picture, std::byte* record) const;
  void pack_levels(const saliency::PictureView& picture, std::byte* record, RecordSizes& sizes) const;
  void pack_coefficients(const hevc::SparseResidual& residual, std::byte* record, RecordSizes& sizes) const;

  HeatTables tables_;
  std::vector<std::byte> block_;
  std::optional<saliency::CtuCells> ctus_;  // where bits count
};

}  // namespace ove::cuda
