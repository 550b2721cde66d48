// |v| in luma samples, over the display window of one picture.
#pragma once

#include <cstddef>
#include <vector>

#include "common/geometry.h"
#include "saliency/camera.h"
#include "saliency/params.h"
#include "saliency/picture.h"
#include "saliency/value_map.h"

namespace ove::saliency {

class Motion {
 public:
  Motion(const HeatParams& params, const DisplayWindow& window);

  // Reads the vectors of a picture. Throws std::invalid_argument where an array that the parameters need is missing.
  void read(const PictureView& picture);

  // One value a 4x4 block; one a sample with a camera that turns or zooms, or with a local variance.
  const ValueMap& map() const { return map_; }

 private:
  void place_cells();
  void read_list(const PictureView& picture, int list);
  void read_displacement(const PictureView& picture);
  void measure_blocks(const Camera cameras[2]);
  void measure_samples(const Camera cameras[2]);

  HeatParams params_;
  DisplayWindow window_;
  bool per_sample_;
  BlockGrid grid_;
  std::vector<float> u_, v_;        // coordinates of Camera along the sides of the grid's map
  VectorField fields_[2];           // the second one only for VectorMode::kBoth
  std::vector<std::uint8_t> used_;  // a block: bit 0 fields_[0], bit 1 fields_[1]; only for VectorMode::kBoth
  std::vector<float> samples_;
  ValueMap map_;
};

}  // namespace ove::saliency
