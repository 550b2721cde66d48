#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <random>
#include <span>
#include <vector>

#include "common/geometry.h"
#include "patch_runner.h"
#include "tokens/patch_formula.h"
#include "tokens/patch_gather.h"

using namespace ove;
using namespace ove::tokens;

namespace {

// How the samples of a clip lie in memory.
enum class Layout { kPlanar, kSemiPlanar, kPacked };

// A clip in planes, for PatchGather, and in its layout, for the shared formula.
template <class Sample>
struct Clip {
  std::vector<Sample> planar[3];
  std::vector<Sample> stored[3];
};

int length(std::mt19937& random, int low, int high) { return std::uniform_int_distribution(low, high)(random); }

// The GPU's way on the CPU, with rows brought nearer (or, without room, from where they are stored), which must give
// the same to the bit.
std::vector<float> row_by_formula(const ClipPlanes& clip, std::int64_t frame, PatchPosition at, int threads,
                                  int& staged) {
  const auto p = static_cast<std::size_t>(clip.formula.patch);
  std::vector<float> row(3 * p * p, -1e9F), again(row.size(), 1e9F);
  staged += cuda::PatchRunner(clip.formula.patch, threads).run(clip, frame, at, row.data());
  REQUIRE(!cuda::PatchRunner(clip.formula.patch, threads, 0).run(clip, frame, at, again.data()));
  REQUIRE(row == again);
  return row;
}

template <class Sample>
void compare(std::mt19937& random, Layout layout, int& staged) {
  YuvFormat format;
  format.width = length(random, 0, 9) == 0 ? length(random, 900, 3000) : length(random, 1, 60);
  format.height = length(random, 1, 60);
  format.bit_depth = sizeof(Sample) == 1 ? 8 : length(random, 9, 16);
  format.components = layout == Layout::kPlanar && length(random, 0, 3) == 0 ? 1 : 3;
  if (layout != Layout::kPacked) {
    format.chroma_shift_x = length(random, 0, 2);
    format.chroma_shift_y = length(random, 0, 1);
  }
  format.chroma_site_x = static_cast<float>(length(random, 0, 2)) / 2;
  format.chroma_site_y = static_cast<float>(length(random, 0, 2)) / 2;
  format.matrix = layout == Layout::kPacked ? ColorMatrix::kRgb : static_cast<ColorMatrix>(length(random, 0, 6));
  format.full_range = length(random, 0, 1) == 1;
  const int frames = length(random, 1, 3);
  const int low_bits = layout == Layout::kSemiPlanar && sizeof(Sample) == 2 ? 16 - format.bit_depth : 0;

  Clip<Sample> data;
  ClipPlanes clip;
  const int channels[3] = {layout == Layout::kPacked ? 3 : 1, layout == Layout::kSemiPlanar ? 2 : 1, 0};
  for (int k = 0; k < format.components; ++k) {
    const int width = k ? format.chroma_width() : format.width, height = k ? format.chroma_height() : format.height;
    const std::size_t count = static_cast<std::size_t>(width) * height * frames;
    // The vector that holds component k, its samples' distance, and its place among those that it is stored with.
    const int owner = layout == Layout::kPacked ? 0 : layout == Layout::kSemiPlanar ? (k > 0) : k;
    const int step = layout == Layout::kPlanar ? 1 : channels[owner], place = k - owner;
    data.planar[k].resize(count);
    data.stored[owner].resize(count * static_cast<std::size_t>(step));
    for (std::size_t i = 0; i < count; ++i) {
      const int value = length(random, 0, (1 << format.bit_depth) - 1);
      data.planar[k][i] = static_cast<Sample>(value);
      // The bits below a sample are to be ignored.
      const int noise = low_bits ? length(random, 0, (1 << low_bits) - 1) : 0;
      data.stored[owner][i * static_cast<std::size_t>(step) + static_cast<std::size_t>(place)] =
          static_cast<Sample>((value << low_bits) | noise);
    }
    const std::int64_t bytes = static_cast<std::int64_t>(sizeof(Sample)) * step;
    clip.planes[k] = {reinterpret_cast<const std::uint8_t*>(data.stored[owner].data() + place), bytes * width * height,
                      bytes * width, bytes};
  }
  const int patch = length(random, 1, 9);
  const Orientation orientation{length(random, 0, 3), length(random, 0, 1) == 1};
  const DisplayWindow window{0, 0, format.width, format.height, orientation};
  const Geometry geometry = make_geometry(window.display_width(), window.display_height(),
                                          static_cast<Resize>(length(random, 0, 2)), length(random, 9, 50), patch);
  const PatchGather gather(format, orientation, geometry, {});
  clip.formula = make_patch_formula(format, orientation, geometry, {});
  clip.frames = frames;
  clip.sample_bytes = sizeof(Sample);
  clip.low_bits = low_bits;
  for (int frame = 0; frame < frames; ++frame) {
    YuvPicture picture{format, {}, {}};
    for (int k = 0; k < format.components; ++k) {
      const int width = k ? format.chroma_width() : format.width, height = k ? format.chroma_height() : format.height;
      picture.planes[k] = reinterpret_cast<const std::uint8_t*>(data.planar[k].data() + width * height * frame);
      picture.strides[k] = static_cast<std::ptrdiff_t>(sizeof(Sample)) * width;
    }
    for (int i = 0; i < geometry.rows * geometry.columns; ++i) {
      const PatchPosition at{i / geometry.columns, i % geometry.columns};
      std::vector<float> expected(gather.patch_length());
      gather.patches(picture, std::span(&at, 1), expected);
      const std::vector<float> row = row_by_formula(clip, frame, at, length(random, 1, 40), staged);
      REQUIRE(row == expected);
    }
  }
}

}  // namespace

TEST_CASE("the formula that GPU kernels run gives the rows of PatchGather") {
  std::mt19937 random(4);
  int staged = 0;
  for (int i = 0; i < 60; ++i) {
    for (const Layout layout : {Layout::kPlanar, Layout::kSemiPlanar, Layout::kPacked}) {
      compare<std::uint8_t>(random, layout, staged);
      compare<std::uint16_t>(random, layout, staged);
    }
  }
  CHECK(staged > 1000);
}
