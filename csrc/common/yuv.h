// A decoded picture, as pixel decoding gives it and token gathering takes it.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace ove {

// How the three components make R, G and B (H.273 MatrixCoefficients). kRgb: the planes are R, G and B themselves.
enum class ColorMatrix : std::uint8_t { kRgb, kBt709, kBt601, kFcc, kSmpte240m, kYcgco, kBt2020 };

// What stays the same from picture to picture of a sequence.
struct YuvFormat {
  int width = 0, height = 0;  // luma samples shown, before they are turned
  int bit_depth = 8;          // up to 8: one byte a sample; above: two, in the byte order of the machine
  int components = 3;         // 1: luma only
  int chroma_shift_x = 0, chroma_shift_y = 0;  // log2 of luma samples per chroma sample
  // Where chroma samples sit between the luma samples they stand for: 0 at the first of them, 1/2 midway, 1 at the
  // last.
  float chroma_site_x = 0, chroma_site_y = 0.5F;
  ColorMatrix matrix = ColorMatrix::kBt601;
  bool full_range = false;

  bool operator==(const YuvFormat&) const = default;

  int chroma_width() const { return -((-width) >> chroma_shift_x); }
  int chroma_height() const { return -((-height) >> chroma_shift_y); }
};

// A view; whoever made it says how long the samples live.
struct YuvPicture {
  YuvFormat format;
  std::array<const std::uint8_t*, 3> planes{};  // first sample shown; Y, Cb, Cr or R, G, B
  std::array<std::ptrdiff_t, 3> strides{};      // bytes from row to row
  // Only where the samples lie in the memory of a GPU, which the CPU must not read: bytes from sample to sample, as
  // chroma may be interleaved, and unused bits below the samples' own.
  bool on_gpu = false;
  std::array<int, 3> steps{};
  int low_bits = 0;
};

}  // namespace ove
