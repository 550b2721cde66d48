// |v| in luma samples, over the display window of one picture, or of those that are accumulated.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "common/geometry.h"
#include "saliency/camera.h"
#include "saliency/order_statistics.h"
#include "saliency/params.h"
#include "saliency/picture.h"
#include "saliency/sample_rows.h"
#include "saliency/value_map.h"

namespace ove::saliency {

// Throws std::invalid_argument where an array that the parameters need is missing.
void check_motion(const HeatParams& params, const PictureView& picture);

class Motion {
 public:
  Motion(const HeatParams& params, const DisplayWindow& window);

  // Reads the vectors of a picture; values that are accumulated add to those read since clear(). Throws what
  // check_motion does.
  void read(const PictureView& picture);
  void clear();

  // Whether map() holds all values. Those that are accumulated are kept, and so are those that are the same all over a
  // 4x4 block: one a block. With a camera that turns or zooms and with a local variance there is one a sample.
  bool in_map() const { return !samples_ || params_.accumulate != Accumulate::kNone; }
  const BlockGrid& grid() const { return grid_; }
  // Whether values are the same all over a 4x4 block, and so one a block is told.
  bool in_blocks() const { return !samples_; }
  // Of the map of values: blocks or samples.
  int rows() const { return samples_ ? samples_->rows() : grid_.rows; }
  const ValueMap& map() const { return map_; }
  // weight * min(scale * |v|, 1) at columns [begin, end) of row y of the window; quickest in ascending order.
  void energies(int y, int begin, int end, float scale, float weight, float* out);

  // Of all values, one a block or one a sample.
  double percentile(double q);
  void count(MagnitudeHistogram& histogram);

 private:
  void place_cells();
  // Which lists the blocks of a row use, from `block` on.
  const std::uint8_t* pred_row(const PictureView& picture, std::size_t block);
  bool only_magnitudes() const;
  void read_magnitudes(const PictureView& picture);
  void read_list(const PictureView& picture, int list);
  void read_displacement(const PictureView& picture);
  void read_indexed_displacement(const PictureView& picture);
  void mark_intra(const PictureView& picture);
  void fill_intra();
  void measure_blocks(float* out);
  void accumulate();

  HeatParams params_;
  DisplayWindow window_;
  BlockGrid grid_;
  MotionField field_;
  std::vector<std::uint8_t> pred_;  // of a row of blocks
  std::optional<SampleRows> samples_;
  bool aligned_ = false;       // the samples of samples_ are those of the window
  ValueMap map_;               // its values only where in_map()
  std::vector<float> values_;  // of a picture to be accumulated, and of blocks that fill others
  PercentileFinder finder_;
};

}  // namespace ove::saliency
