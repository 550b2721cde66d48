// Heat of one picture after another on the patch grid of a clip: energies, fused, resized, summed over patches.
#pragma once

#include <array>
#include <functional>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "common/geometry.h"
#include "saliency/accumulated_residual.h"
#include "saliency/bits.h"
#include "saliency/motion.h"
#include "saliency/order_statistics.h"
#include "saliency/params.h"
#include "saliency/picture.h"
#include "saliency/resampling.h"
#include "saliency/residual.h"
#include "saliency/value_map.h"

namespace ove::saliency {

// Factors from a value to its energy, before that is clipped to 1.
struct Scales {
  float motion = 0, residual = 0, bits = 0;
};

// Both throw std::invalid_argument: for values out of range, and for a picture that lacks samples or arrays.
void check_params(const HeatParams& params);
void check_picture(const HeatParams& params, const DisplayWindow& window, const PictureView& picture);

// The sum over a patch whose heat is 1 (255 when quantised) everywhere.
double full_score(const HeatParams& params, const Geometry& geometry);

// Whether heat on the canvas is linear in the energies, so that patch sums need no canvas.
bool is_linear(const HeatParams& params);

// One axis of the centre prior exp(-d^2 / 2 sigma^2), 1 at its highest sample; sigma over the window's shorter side.
std::vector<float> centre_bell(int length, const DisplayWindow& window, double center_sigma);

// Keeps scratch memory from picture to picture: an object serves one thread at a time.
// Energies are min(x / percentile, 1) of |v| in luma samples, of |Y - 128| and of log1p(bits); a percentile below 1e-6
// (1 for the residual, whose values are whole) counts as that, so that 0 / 0 is 0 and x / 0 is 1.
class Saliency {
 public:
  // `geometry` is that of the display picture, whose turns `window` names. Throws std::invalid_argument.
  Saliency(const HeatParams& params, const DisplayWindow& window, const Geometry& geometry);

  // With Accumulate, the next picture that is measured, scored or rendered also counts what this one has.
  void accumulate(const PictureView& picture);

  // With clip_scope, every picture of the clip must be measured before the first one is scored.
  void measure(const PictureView& picture);

  // Sums of the heat over each patch, (rows, columns) in display orientation. They are rounded to 2^-22 of a full score
  // (quantised heat is whole anyway), so that patches of equal heat score the same and ties are ties.
  void score(const PictureView& picture, std::span<float> scores);

  // The fused heat on the canvas, (canvas_height, canvas_width) in display orientation. Its patch sums are the scores.
  void heat(const PictureView& picture, std::span<float> canvas);

  // Makes the scales of the clip, from the pictures measured, instead of the first picture that is scored.
  void finish_measuring();

  // Those of the picture read last, or of the clip.
  const Scales& scales() const { return scales_; }
  // Takes the scales of a clip that was measured earlier.
  void set_clip_scales(const Scales& scales) {
    scales_ = scales;
    scales_final_ = true;
  }

  // Whether pictures may have a packed residual, heat() without Accumulate aside: where residuals are summed on their
  // own, or spread out as they accumulate.
  bool takes_packed() const;

  double full_score() const { return saliency::full_score(params_, geometry_); }

 private:
  struct MapSums {
    PatchSums vertical, horizontal;
  };

  bool off(const PictureView& picture) const { return picture.intra && params_.zero_intra_pictures; }
  void read(const PictureView& picture);  // leaves motion_, bit_cost_ and residual_ those of the picture
  void begin_anew();                      // behind a picture that is measured, scored or rendered
  void find_scales();
  double residual_percentile();
  // out += weight * E_res at the columns `part` of row y of the window.
  void add_residual(int y, const Run& part, float weight, float* out);

  // Sums where the heat is linear in the energies.
  void sum_linear();
  void add_map(const ValueMap& map, const MapSums& sums, float scale, double weight);
  void add_rows();

  // Calls emit(y, row) with every row y of the canvas, in any order, along the axes of the coded picture.
  using Emit = std::function<void(int y, std::span<const float> row)>;
  void render(const Emit& emit);
  const float* fused_row(int y);
  void fuse_row(int y, std::span<float> fused);

  HeatParams params_;
  DisplayWindow window_;
  Geometry geometry_;
  Axes axes_;
  bool use_motion_, use_residual_, use_bits_;
  Motion motion_;
  BitCost bit_cost_;

  CodedResidual residual_;
  std::optional<AccumulatedResidual> accumulated_residual_;
  bool empty_ = true;  // no picture has been read since begin_anew()

  Scales scales_;
  bool scales_final_ = false;  // those of the clip
  MagnitudeHistogram clip_motion_, clip_bits_, clip_accumulated_residual_;
  ResidualHistogram clip_residual_{};

  MapSums sample_sums_;
  std::optional<MapSums> motion_sums_, bits_sums_;
  int bits_side_ = 0;                                            // of bits_sums_
  std::vector<std::vector<std::pair<int, float>>> row_weights_;  // the patch rows that a row of the window adds to
  RowSums residual_rows_;                                        // the same by patch row, with the residual's weight
  std::vector<float> prior_x_, prior_y_;                         // factors of the centre prior's bell

  std::vector<double> sums_;  // of patches, along the axes of the coded picture
  std::vector<float> accumulator_, energy_, block_energies_, line_, canvas_row_;

  std::vector<std::int32_t> line_first_;  // horizontal.first as an index into line_, which begins `taps` samples early

  // Fused rows of the window that the next rows of the canvas need too, row y at y % kKeptRows.
  static constexpr int kKeptRows = 4;
  std::array<std::vector<float>, kKeptRows> fused_;
  std::array<int, kKeptRows> fused_at_{};
};

}  // namespace ove::saliency
