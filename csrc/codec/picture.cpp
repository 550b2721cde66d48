#include "codec/picture.h"

#include <algorithm>
#include <cstddef>
#include <span>

#include "common/simd.h"

namespace ove::codec {

namespace {

// By the signs of n pairs.
OVE_VECTOR_CLONES
void pair_signs(const std::int8_t* __restrict pairs, std::size_t n, std::uint8_t* __restrict out) {
  for (std::size_t i = 0; i < n; ++i) {
    out[i] = static_cast<std::uint8_t>(3 - ((pairs[2 * i] >> 7 & 1) | (pairs[2 * i + 1] >> 7 & 1) << 1));
  }
}

}  // namespace

void CodecPicture::copy_pred(std::uint8_t* out) const {
  if (!buffers->ref_idx.empty()) pair_signs(buffers->ref_idx.front().data(), buffers->ref_idx.size(), out);
}

void CodecPicture::copy_ref_poc(std::int32_t* out) const {
  const int side = has_one_list() ? width4() : 1 << (format->log2_slice - 2);
  for (int y4 = 0; y4 < height4(); ++y4) {
    for (int x0 = 0; x0 < width4(); x0 += side) {
      const Slice& slice = slice_at(x0, y4);
      const int field = slice.field_ref_list[0][0].empty() ? 0 : field_at(x0, y4);  // the same in the whole block
      const RefLists& lists = field == 0 ? slice.ref_list : slice.field_ref_list[static_cast<std::size_t>(field - 1)];
      const auto row = static_cast<std::size_t>(y4 * width4());
      int first = -1, second = -1;  // indices that `of_both` is of: mostly the block's before
      std::array<std::int32_t, 2> of_both{};
      for (int x4 = x0; x4 < std::min(x0 + side, width4()); ++x4) {
        const auto i = row + static_cast<std::size_t>(x4);
        const auto [idx0, idx1] = buffers->ref_idx[i];
        if (idx0 != first) of_both[0] = idx0 < 0 ? 0 : lists[0][static_cast<std::size_t>(idx0)].poc;
        if (idx1 != second) of_both[1] = idx1 < 0 ? 0 : lists[1][static_cast<std::size_t>(idx1)].poc;
        first = idx0;
        second = idx1;
        out[i * 2] = of_both[0];
        out[i * 2 + 1] = of_both[1];
      }
    }
  }
}

namespace {

// Spreads a plane by unit over the 4x4 blocks.
template <class In, class Out, class Convert>
void spread_units(const CodecPicture& picture, std::span<const In> plane, Out* out, Convert convert) {
  const int shift = picture.format->log2_unit - 2;
  const int stride = picture.width4() >> shift;
  for (int y4 = 0; y4 < picture.height4(); ++y4) {
    const In* row = plane.data() + static_cast<std::ptrdiff_t>(y4 >> shift) * stride;
    for (int x4 = 0; x4 < picture.width4(); ++x4) *out++ = convert(row[x4 >> shift]);
  }
}

constexpr auto kSame = [](auto v) { return v; };

}  // namespace

void CodecPicture::copy_qp(std::int8_t* out) const { spread_units<std::int8_t>(*this, buffers->qp, out, kSame); }

void CodecPicture::copy_block_size(std::uint8_t* out) const {
  spread_units<std::uint8_t>(*this, buffers->log2_size, out,
                             [](std::uint8_t v) { return static_cast<std::uint8_t>(1 << v); });
}

void CodecPicture::copy_skip(std::uint8_t* out) const { spread_units<std::uint8_t>(*this, buffers->skip, out, kSame); }

void CodecPicture::copy_field(std::uint8_t* out) const {
  if (buffers->field.empty()) {
    std::fill_n(out, buffers->mv.size(), std::uint8_t{0});
  } else {
    spread_units<std::uint8_t>(*this, buffers->field, out, kSame);
  }
}

void CodecPicture::copy_block_bits(float* out) const {
  if (!buffers->block_bits.empty()) {
    std::copy(buffers->block_bits.begin(), buffers->block_bits.end(), out);
    return;
  }
  const int shift = format->log2_bits - 2, side = 1 << shift;
  const int columns = format->columns(format->log2_bits);
  for (int y4 = 0; y4 < height4(); ++y4) {
    const int rows_inside = std::min(side, height4() - (y4 >> shift << shift));
    for (int x4 = 0; x4 < width4(); ++x4) {
      const int columns_inside = std::min(side, width4() - (x4 >> shift << shift));
      const auto cell = static_cast<std::size_t>((y4 >> shift) * columns + (x4 >> shift));
      *out++ = static_cast<float>(buffers->bits[cell]) / static_cast<float>(rows_inside * columns_inside);
    }
  }
}

void CodecPicture::copy_residual(std::int16_t* out) const {
  const std::ptrdiff_t stride = width();
  std::fill_n(out, stride * height(), std::int16_t{0});
  const std::int16_t* samples = residual->samples.data();
  for (const CodedBlock& block : residual->coded) {
    const int side = 4 * block.size4;
    for (int y = 0; y < side; ++y, samples += side) {
      std::copy_n(samples, side, out + (4 * block.y4 + y) * stride + 4 * block.x4);
    }
  }
}

}  // namespace ove::codec
