// Loops over rows of values. Outputs do not overlap inputs unless they are the same row; n may be 0.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "saliency/camera.h"
#include "saliency/params.h"

namespace ove::saliency {

// Samples [begin, end) of a row.
struct Run {
  int begin = 0, end = 0;
};

// Samples [x, x + width) of the rows [y, y + height).
struct LevelBlock {
  int x = 0, y = 0, width = 0, height = 0;
};

// Weighted sums of rows, which ascend or descend along the rows.
struct RowSums {
  struct Sum {
    int begin = 0;  // its first row
    std::vector<float> weights;
  };
  std::vector<Sum> sums;
  std::vector<std::int32_t> lowest, highest;  // by row: the sums that it adds to, or those of a neighbour if to none
};

// |(x, y) - camera| along a row of n values whose coordinates are u[i] and v.
void magnitudes(const float* x, const float* y, const float* u, float v, std::size_t n, const Camera& camera,
                float* out);
// The same for a camera that only translates.
void magnitudes(const float* x, const float* y, std::size_t n, const Camera& camera, float* out);

// out = weight * min(scale * |(x, y) - camera|, 1)
void magnitude_energies(const float* x, const float* y, const float* u, float v, std::size_t n, const Camera& camera,
                        float scale, float weight, float* out);
// out = weight * min(scale * value, 1)
void energies(const float* values, std::size_t n, float scale, float weight, float* out);
// |Y - 128| of residuals of 8 + shift bits, see residual.h: of the runs of a row, one behind the other. Returns their
// number.
std::size_t residual_levels(const std::int16_t* residual, std::span<const Run> runs, int shift, std::uint8_t* levels);
// above[i]: how many of n values are above bounds[i], for four bounds.
void count_above(const std::uint8_t* values, std::size_t n, const std::uint8_t* bounds, std::uint64_t* above);
// out += weight * min(scale * level, 1) at the samples of the runs that lie in `part`, out[0] being its first one; the
// levels are those of all the runs, one behind the other.
void add_level_energies(const std::uint8_t* levels, std::span<const Run> runs, const Run& part, float scale,
                        float weight, float* out);
// out = min(scale * level, 1)
void level_energies(const std::uint8_t* levels, std::size_t n, float scale, float* out);
// out[i * stride + x] += w * value at sample x of each row of the blocks that adds to sum i with weight w, for blocks
// that reach into the columns `part`. The values are those of one block behind the other, each row by row.
void add_blocks(const float* values, std::span<const LevelBlock> blocks, const RowSums& rows, const Run& part,
                std::size_t stride, float* out);
// out += weight * min(scale * value, 1)
void add_energies(const float* values, std::size_t n, float scale, float weight, float* out);
// so_far = accumulated(accumulate, so_far, value)
void accumulate(const float* values, std::size_t n, Accumulate accumulate, float* so_far);
void accumulate(const std::uint8_t* levels, std::size_t n, Accumulate accumulate, float* so_far);
// so_far = accumulated(accumulate, so_far, |(x, y) - camera|), for a camera that only translates.
void accumulate_magnitudes(const float* x, const float* y, std::size_t n, const Camera& camera, Accumulate accumulate,
                           float* so_far);
// The same at the samples of blocks, whose levels lie one behind the other, each row by row; so_far in strips of
// kStripWidth columns, one behind the other, each (height, kStripWidth).
constexpr int kStripWidth = 16;
void accumulate_blocks(const std::uint8_t* levels, std::span<const LevelBlock> blocks, Accumulate accumulate,
                       int height, float* so_far);
// Every value four times.
void repeat4(const float* values, std::size_t n, float* out);
float largest(const float* values, std::size_t n, float least);
// Copies the values from low to high, unless both are the same; returns how many there are and sets `below` to the
// number of smaller ones.
std::size_t keep_between(const float* values, std::size_t n, float low, float high, float* out, std::uint64_t& below);
// How many of n values are smaller than low, and how many lie from low to high.
void count_around(const float* values, std::size_t n, float low, float high, std::size_t& smaller, std::size_t& inside);
// How many of n vectors are not 0.
std::size_t count_moving(const float* x, const float* y, std::size_t n);
// out[i] is the sum over k < taps of weight[i * taps + k] * values[first[i] + k]; 2 or 4 taps.
void resample(const float* values, const std::int32_t* first, const float* weight, int taps, std::size_t n, float* out);
// out += weight * values
void add_weighted(const float* values, std::size_t n, float weight, float* out);
// row = min(row * (1 + strength * prior), 1)
void apply_prior(const float* prior, std::size_t n, float strength, float* row);
// row = floor(255 * min(row, 1)), of rows that are not negative
void quantize(std::size_t n, float* row);
// The two in one pass.
void apply_prior_and_quantize(const float* prior, std::size_t n, float strength, float* row);
// row = row clipped to 0..255, rounded half to even
void saturate(std::size_t n, float* row);

}  // namespace ove::saliency
