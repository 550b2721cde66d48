// |v| that differs from sample to sample, row by row: under a camera that turns or zooms, or its local variance.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "saliency/camera.h"
#include "saliency/local_variance.h"
#include "saliency/order_statistics.h"

namespace ove::saliency {

// Vectors of the blocks of a grid, with the camera to be taken off them.
struct MotionField {
  VectorField lists[2];            // the second one only where both lists count
  std::vector<std::uint8_t> used;  // a block, likewise: bit 0 lists[0], bit 1 lists[1]; the longer vector counts
  Camera cameras[2];
  std::vector<std::uint8_t> intra;  // a block: 1 where `fill` takes the place of |v|; empty where it does nowhere
  float fill = 0;
};

// Nothing of the size of the picture is kept: rows are computed when they are asked for, and for percentiles.
class SampleRows {
 public:
  // local_variance: 0, or the side of its window; `reference` as in HeatParams::reference_motion.
  SampleRows(const BlockGrid& grid, int local_variance, bool reference);

  int columns() const { return variance_ ? variance_->columns() : grid_.width; }
  int rows() const { return variance_ ? variance_->rows() : grid_.height; }

  // `field` is borrowed until the next call.
  void begin(const MotionField& field);
  // |v| at the middles of all blocks, valid until the next call.
  std::span<const float> middles();
  // Columns [begin, end) of row y, valid until the next call; quickest in ascending order.
  const float* row(int y, int begin, int end);
  // weight * min(scale * value, 1) of these columns.
  void energies(int y, int begin, int end, float scale, float weight, float* out);
  // Of all values.
  double percentile(double q);

 private:
  // Vectors in a row, of both lists where both count, at the coordinates u.
  struct Vectors {
    const float *x[2], *y[2];
    const std::uint8_t *used, *intra;
    const float* u;
  };
  struct Samples {
    std::vector<float> x[2], y[2], u;
    std::vector<std::uint8_t> used, intra;
    void resize(std::size_t n, int lists);
    Vectors from(std::size_t i) const;
  };

  void read_line(int y);
  const float* magnitude_row(int y, int begin, int end);
  void measure(const Vectors& vectors, std::size_t n, float v, float* out);
  float variation() const;
  double bounded_percentile(double q);
  double streamed_percentile(double q);
  double block_percentile(double q);

  BlockGrid grid_;
  std::unique_ptr<LocalVariance> variance_;
  std::vector<float> u_, v_;                // coordinates of Camera along the sides of the map
  std::vector<float> centre_u_, centre_v_;  // of the middles of blocks
  const MotionField* field_ = nullptr;
  int lists_ = 1;

  Samples line_;        // of a row of blocks
  int line_row_ = -1;   // which one
  Samples candidates_;  // of a row of blocks, those whose values bounded_percentile() needs
  std::vector<float> out_, second_, centres_, values_;
  PercentileFinder finder_;
  TwoPassPercentile two_pass_;
};

}  // namespace ove::saliency
