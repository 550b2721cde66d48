// |v| in luma samples, over the display window of one picture.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "common/geometry.h"
#include "saliency/camera.h"
#include "saliency/params.h"
#include "saliency/picture.h"

namespace ove::saliency {

class Motion {
 public:
  Motion(const HeatParams& params, const DisplayWindow& window);

  // Whether values() holds one value a sample of the window (row after row) instead of one a block of grid().
  bool per_sample() const { return per_sample_; }
  const BlockGrid& grid() const { return grid_; }

  // Reads the vectors of a picture. Throws std::invalid_argument where an array that the parameters need is missing.
  void read(const PictureView& picture);
  std::span<const float> values() const { return values_; }

 private:
  void read_list(const PictureView& picture, int list);
  void read_displacement(const PictureView& picture);
  void measure_blocks(const Camera cameras[2]);
  void measure_samples(const Camera cameras[2]);
  void local_variance();

  HeatParams params_;
  DisplayWindow window_;
  BlockGrid grid_;
  bool per_sample_;
  VectorField fields_[2];           // the second one only for VectorMode::kBoth
  std::vector<std::uint8_t> used_;  // a block: bit 0 fields_[0], bit 1 fields_[1]; only for VectorMode::kBoth
  std::vector<float> values_, scratch_;
};

}  // namespace ove::saliency
