#include "saliency/rows.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "common/simd.h"
#include "saliency/formulas.h"

namespace ove::saliency {

OVE_VECTOR_CLONES
void magnitudes(const float* x, const float* y, const float* u, float v, std::size_t n, const Camera& camera,
                float* out) {
  const Camera c = camera;
  for (std::size_t i = 0; i < n; ++i) out[i] = magnitude(x[i], y[i], c, u[i], v);
}

OVE_VECTOR_CLONES
void magnitudes(const float* x, const float* y, std::size_t n, const Camera& camera, float* out) {
  const Camera c = camera;
  for (std::size_t i = 0; i < n; ++i) out[i] = magnitude(x[i], y[i], c);
}

OVE_VECTOR_CLONES
void magnitude_energies(const float* x, const float* y, const float* u, float v, std::size_t n, const Camera& camera,
                        float scale, float weight, float* out) {
  const Camera c = camera;
  for (std::size_t i = 0; i < n; ++i) out[i] = energy(magnitude(x[i], y[i], c, u[i], v), scale, weight);
}

OVE_VECTOR_CLONES
void energies(const float* values, std::size_t n, float scale, float weight, float* out) {
  for (std::size_t i = 0; i < n; ++i) out[i] = energy(values[i], scale, weight);
}

OVE_VECTOR_CLONES
std::size_t residual_levels(const std::int16_t* residual, std::span<const Run> runs, int shift, std::uint8_t* levels) {
  // Runs are short, and mostly made of so many samples.
  typedef std::int16_t Samples __attribute__((vector_size(32)));
  typedef std::uint8_t Levels __attribute__((vector_size(16)));
  constexpr int kAtOnce = sizeof(Levels);
  std::size_t count = 0;
  for (const Run& run : runs) {
    int x = run.begin;
    for (; x + kAtOnce <= run.end; x += kAtOnce, count += kAtOnce) {
      Samples v;
      std::memcpy(&v, residual + x, sizeof(v));
      v >>= shift;
      v = v < -128 ? Samples{} - 128 : v;
      v = v > 127 ? Samples{} + 127 : v;
      v = v < 0 ? -v : v;
      const Levels out = __builtin_convertvector(v, Levels);
      std::memcpy(levels + count, &out, sizeof(out));
    }
    for (; x < run.end; ++x) levels[count++] = static_cast<std::uint8_t>(residual_level(residual[x] >> shift));
  }
  return count;
}

OVE_VECTOR_CLONES
void count_above(const std::uint8_t* values, std::size_t n, const std::uint8_t* bounds, std::uint64_t* above) {
  // Counters of a byte, one for each place in a vector; they are emptied before they overflow.
  typedef std::uint8_t Bytes __attribute__((vector_size(32)));
  constexpr std::size_t kLanes = sizeof(Bytes), kMostRounds = 255;
  Bytes bound[4];
  for (int i = 0; i < 4; ++i) {
    bound[i] = Bytes{} + bounds[i];
    above[i] = 0;
  }
  std::size_t at = 0;
  while (n - at >= kLanes) {
    Bytes c0{}, c1{}, c2{}, c3{};
    const std::size_t end = at + std::min((n - at) / kLanes, kMostRounds) * kLanes;
    for (; at < end; at += kLanes) {
      Bytes v;
      std::memcpy(&v, values + at, kLanes);
      c0 -= reinterpret_cast<Bytes>(v > bound[0]);
      c1 -= reinterpret_cast<Bytes>(v > bound[1]);
      c2 -= reinterpret_cast<Bytes>(v > bound[2]);
      c3 -= reinterpret_cast<Bytes>(v > bound[3]);
    }
    for (std::size_t lane = 0; lane < kLanes; ++lane) {
      above[0] += c0[lane], above[1] += c1[lane], above[2] += c2[lane], above[3] += c3[lane];
    }
  }
  for (; at < n; ++at) {
    for (int i = 0; i < 4; ++i) above[i] += values[at] > bounds[i];
  }
}

OVE_VECTOR_CLONES
void add_level_energies(const std::uint8_t* __restrict levels, std::span<const Run> runs, const Run& part, float scale,
                        float weight, float* __restrict out) {
  for (const Run& run : runs) {
    const int begin = std::max(run.begin, part.begin), n = std::min(run.end, part.end) - begin;
    const std::uint8_t* level = levels + (begin - run.begin);
    float* sum = out + (begin - part.begin);
    for (int i = 0; i < n; ++i) sum[i] += energy(static_cast<float>(level[i]), scale, weight);
    levels += run.end - run.begin;
  }
}

OVE_VECTOR_CLONES
void level_energies(const std::uint8_t* __restrict levels, std::size_t n, float scale, float* __restrict out) {
  for (std::size_t i = 0; i < n; ++i) out[i] = energy(static_cast<float>(levels[i]), scale, 1.0f);
}

namespace {

typedef float Values4 __attribute__((vector_size(16)));
typedef float Values8 __attribute__((vector_size(32)));

// Weighted sums of some columns of a block, which stay in a register from row to row.
template <class Values>
[[gnu::always_inline]] inline void add_block_columns(const float* values, int stride, const float* weights, int rows,
                                                     float* sums) {
  Values sum;
  std::memcpy(&sum, sums, sizeof(sum));
  for (int y = 0; y < rows; ++y, values += stride) {
    Values value;
    std::memcpy(&value, values, sizeof(value));
    sum += weights[y] * value;
  }
  std::memcpy(sums, &sum, sizeof(sum));
}

}  // namespace

OVE_VECTOR_CLONES
void add_blocks(const float* values, std::span<const LevelBlock> blocks, const RowSums& rows, const Run& part,
                std::size_t stride, float* out) {
  for (const LevelBlock& block : blocks) {
    const float* const block_values = values;
    values += block.width * block.height;
    if (block.x >= part.end || block.x + block.width <= part.begin) continue;
    // Sums ascend or descend along the rows.
    const auto top = static_cast<std::size_t>(block.y), bottom = top + static_cast<std::size_t>(block.height) - 1;
    const int lowest = std::min(rows.lowest[top], rows.lowest[bottom]);
    const int highest = std::max(rows.highest[top], rows.highest[bottom]);
    for (int i = lowest; i <= highest; ++i) {
      const RowSums::Sum& sum = rows.sums[static_cast<std::size_t>(i)];
      const int begin = std::max(block.y, sum.begin);
      const int end = std::min(block.y + block.height, sum.begin + static_cast<int>(sum.weights.size()));
      if (begin >= end) continue;
      const float* const weights = sum.weights.data() + (begin - sum.begin);
      const float* const first = block_values + (begin - block.y) * block.width;
      float* const row = out + static_cast<std::size_t>(i) * stride + block.x;
      const int n = end - begin;
      int x = 0;
      for (; x + 8 <= block.width; x += 8) add_block_columns<Values8>(first + x, block.width, weights, n, row + x);
      for (; x + 4 <= block.width; x += 4) add_block_columns<Values4>(first + x, block.width, weights, n, row + x);
      for (; x < block.width; ++x) {
        for (int y = 0; y < n; ++y) row[x] += weights[y] * first[y * block.width + x];
      }
    }
  }
}

OVE_VECTOR_CLONES
void add_energies(const float* values, std::size_t n, float scale, float weight, float* out) {
  for (std::size_t i = 0; i < n; ++i) out[i] += energy(values[i], scale, weight);
}

OVE_VECTOR_CLONES
void accumulate(const float* values, std::size_t n, Accumulate accumulate, float* so_far) {
  for (std::size_t i = 0; i < n; ++i) so_far[i] = accumulated(accumulate, so_far[i], values[i]);
}

OVE_VECTOR_CLONES
void accumulate(const std::uint8_t* levels, std::size_t n, Accumulate accumulate, float* so_far) {
  for (std::size_t i = 0; i < n; ++i) so_far[i] = accumulated(accumulate, so_far[i], static_cast<float>(levels[i]));
}

OVE_VECTOR_CLONES
void accumulate_magnitudes(const float* x, const float* y, std::size_t n, const Camera& camera, Accumulate accumulate,
                           float* so_far) {
  const Camera c = camera;
  for (std::size_t i = 0; i < n; ++i) so_far[i] = accumulated(accumulate, so_far[i], magnitude(x[i], y[i], c));
}

namespace {

// kWidth columns of a block whose rows are `width` levels apart.
template <int kWidth, class Next>
[[gnu::always_inline]] inline void accumulate_columns(const std::uint8_t* levels, int width, int rows, float* so_far,
                                                      Next next) {
  for (int y = 0; y < rows; ++y, levels += width, so_far += kStripWidth) {
    for (int x = 0; x < kWidth; ++x) so_far[x] = next(so_far[x], static_cast<float>(levels[x]));
  }
}

template <class Next>
[[gnu::always_inline]] inline void accumulate_each(const std::uint8_t* levels, std::span<const LevelBlock> blocks,
                                                   int height, float* so_far, Next next) {
  for (const LevelBlock& block : blocks) {
    int columns;
    for (int x = 0; x < block.width; x += columns) {
      const int place = (block.x + x) % kStripWidth, strip = (block.x + x) / kStripWidth;
      columns = std::min(block.width - x, kStripWidth - place);
      float* const first = so_far + (static_cast<std::size_t>(strip) * height + block.y) * kStripWidth + place;
      if (columns == 16) {
        accumulate_columns<16>(levels + x, block.width, block.height, first, next);
      } else if (columns == 8) {
        accumulate_columns<8>(levels + x, block.width, block.height, first, next);
      } else if (columns == 4) {
        accumulate_columns<4>(levels + x, block.width, block.height, first, next);
      } else {
        for (int i = 0; i < columns; ++i) {
          accumulate_columns<1>(levels + x + i, block.width, block.height, first + i, next);
        }
      }
    }
    levels += block.width * block.height;
  }
}

}  // namespace

OVE_VECTOR_CLONES
void accumulate_blocks(const std::uint8_t* levels, std::span<const LevelBlock> blocks, Accumulate accumulate,
                       int height, float* so_far) {
  if (accumulate == Accumulate::kMax) {
    accumulate_each(
        levels, blocks, height, so_far,
        [](float a, float b) __attribute__((always_inline)) { return accumulated(Accumulate::kMax, a, b); });
  } else {
    accumulate_each(
        levels, blocks, height, so_far,
        [](float a, float b) __attribute__((always_inline)) { return accumulated(Accumulate::kSum, a, b); });
  }
}

OVE_VECTOR_CLONES
void repeat4(const float* values, std::size_t n, float* out) {
  for (std::size_t i = 0; i < n; ++i) {
    for (std::size_t k = 0; k < 4; ++k) out[4 * i + k] = values[i];
  }
}

OVE_VECTOR_CLONES
float largest(const float* values, std::size_t n, float least) {
  float lanes[8];
  std::fill_n(lanes, 8, least);
  std::size_t i = 0;
  for (; i + 8 <= n; i += 8) {
    for (std::size_t k = 0; k < 8; ++k) lanes[k] = std::max(lanes[k], values[i + k]);
  }
  for (; i < n; ++i) lanes[0] = std::max(lanes[0], values[i]);
  for (const float lane : lanes) least = std::max(least, lane);
  return least;
}

OVE_VECTOR_CLONES
std::size_t keep_between(const float* values, std::size_t n, float low, float high, float* out, std::uint64_t& below) {
  constexpr std::size_t kBlock = 64;  // most blocks hold nothing between the bounds
  std::size_t kept = 0;
  below = 0;
  for (std::size_t at = 0; at < n; at += kBlock) {
    const float* v = values + at;
    const std::size_t end = std::min(kBlock, n - at);
    std::int32_t smaller = 0, inside = 0;
    for (std::size_t i = 0; i < end; ++i) {
      smaller += v[i] < low;
      inside += (v[i] >= low) & (v[i] <= high);
    }
    below += static_cast<std::uint64_t>(smaller);
    if (low == high) {
      kept += static_cast<std::size_t>(inside);
    } else if (inside != 0) {
      for (std::size_t i = 0; i < end; ++i) {
        out[kept] = v[i];
        kept += (v[i] >= low) & (v[i] <= high);
      }
    }
  }
  return kept;
}

OVE_VECTOR_CLONES
void count_around(const float* values, std::size_t n, float low, float high, std::size_t& smaller,
                  std::size_t& inside) {
  std::int32_t below = 0, between = 0;
  for (std::size_t i = 0; i < n; ++i) {
    below += values[i] < low;
    between += (values[i] >= low) & (values[i] <= high);
  }
  smaller = static_cast<std::size_t>(below);
  inside = static_cast<std::size_t>(between);
}

OVE_VECTOR_CLONES
std::size_t count_moving(const float* x, const float* y, std::size_t n) {
  std::int32_t count = 0;
  for (std::size_t i = 0; i < n; ++i) count += (x[i] != 0) | (y[i] != 0);
  return static_cast<std::size_t>(count);
}

OVE_VECTOR_CLONES
void resample(const float* values, const std::int32_t* first, const float* weight, int taps, std::size_t n,
              float* out) {
  if (taps == 2) {
    for (std::size_t i = 0; i < n; ++i) {
      const float* v = values + first[i];
      out[i] = weight[2 * i] * v[0] + weight[2 * i + 1] * v[1];
    }
    return;
  }
  for (std::size_t i = 0; i < n; ++i) {
    const float* v = values + first[i];
    const float* w = weight + 4 * i;
    out[i] = (w[0] * v[0] + w[1] * v[1]) + (w[2] * v[2] + w[3] * v[3]);
  }
}

OVE_VECTOR_CLONES
void add_weighted(const float* values, std::size_t n, float weight, float* out) {
  for (std::size_t i = 0; i < n; ++i) out[i] += weight * values[i];
}

OVE_VECTOR_CLONES
void apply_prior(const float* prior, std::size_t n, float strength, float* row) {
  for (std::size_t i = 0; i < n; ++i) row[i] = with_prior(row[i], strength, prior[i]);
}

OVE_VECTOR_CLONES
void apply_prior_and_quantize(const float* prior, std::size_t n, float strength, float* row) {
  for (std::size_t i = 0; i < n; ++i) row[i] = quantized(with_prior(row[i], strength, prior[i]));
}

OVE_VECTOR_CLONES
void quantize(std::size_t n, float* row) {
  for (std::size_t i = 0; i < n; ++i) row[i] = quantized(row[i]);
}

OVE_VECTOR_CLONES
void saturate(std::size_t n, float* row) {
  for (std::size_t i = 0; i < n; ++i) row[i] = saturated(row[i]);
}

}  // namespace ove::saliency
