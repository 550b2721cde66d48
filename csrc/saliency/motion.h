// |v| in luma samples, over the display window of one picture.
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

  // Reads the vectors of a picture. Throws what check_motion does.
  void read(const PictureView& picture);

  // Whether values are the same all over a 4x4 block; with a camera that turns or zooms and with a local variance they
  // are not.
  bool in_blocks() const { return !samples_; }
  const BlockGrid& grid() const { return grid_; }
  // Of the map of values: blocks or samples.
  int rows() const { return samples_ ? samples_->rows() : grid_.rows; }
  // One value a block, where in_blocks().
  const ValueMap& map() const { return map_; }
  // weight * min(scale * |v|, 1) at columns [begin, end) of row y of the window; quickest in ascending order.
  void energies(int y, int begin, int end, float scale, float weight, float* out);

  // Of all values, one a block where in_blocks(), else one a sample.
  double percentile(double q);
  void count(MagnitudeHistogram& histogram);

 private:
  void place_cells();
  void read_list(const PictureView& picture, int list);
  void read_displacement(const PictureView& picture);
  void measure_blocks();

  HeatParams params_;
  DisplayWindow window_;
  BlockGrid grid_;
  MotionField field_;
  std::vector<std::uint8_t> pred_;  // of a row of blocks
  std::optional<SampleRows> samples_;
  bool aligned_ = false;  // the samples of samples_ are those of the window
  ValueMap map_;          // its values only where in_blocks()
  PercentileFinder finder_;
};

}  // namespace ove::saliency
