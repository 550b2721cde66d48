#include "codec/buffers.h"

#include <algorithm>
#include <cstddef>
#include <type_traits>
#include <utility>

namespace ove::codec {

void PictureBuffers::prepare(const PictureFormat& format, Slabs& slabs, bool bits_by_block) {
  const auto count = [&](int log2_side) {
    return static_cast<std::size_t>(format.columns(log2_side)) * static_cast<std::size_t>(format.rows(log2_side));
  };
  const std::size_t blocks = count(2), units = count(format.log2_unit), bit_blocks = count(format.log2_bits),
                    slice_blocks = count(format.log2_slice), fields = format.has_fields ? units : 0,
                    fine = bits_by_block ? blocks : 0;
  if (mv.size() != blocks || qp.size() != units || bits.size() != bit_blocks || slice_idx.size() != slice_blocks ||
      field.size() != fields || block_bits.size() != fine) {
    // One array behind the other, each on a cache line of its own: first without memory, to know how much.
    std::size_t size = 0;
    const auto place = [&](auto& array, std::size_t length) {
      using T = typename std::remove_reference_t<decltype(array)>::element_type;
      if (memory_) array = {reinterpret_cast<T*>(memory_.get() + size), length};
      size += (length * sizeof(T) + Slabs::kAlignment - 1) / Slabs::kAlignment * Slabs::kAlignment;
    };
    const auto place_all = [&] {
      size = 0;
      place(mv, blocks);
      place(ref_idx, blocks);
      place(qp, units);
      place(log2_size, units);
      place(skip, units);
      place(field, fields);
      place(bits, bit_blocks);
      place(block_bits, fine);
      place(slice_idx, slice_blocks);
    };
    memory_.reset();
    place_all();
    memory_ = slabs.take(size);
    place_all();
  }
  std::fill(ref_idx.begin(), ref_idx.end(), std::array<std::int8_t, 2>{-1, -1});
  std::fill(slice_idx.begin(), slice_idx.end(), kNoSlice);
  std::fill(block_bits.begin(), block_bits.end(), 0.0F);
}

void ResidualBuffer::prepare(const PictureFormat& format, Slabs& slabs, ResidualForm wanted) {
  const ResidualForm before = std::exchange(form, wanted);
  packed = 0;
  const auto count = static_cast<std::size_t>(format.width) * static_cast<std::size_t>(format.height);
  const bool fits = samples.size() == count && width == format.width;
  if (!fits || (form == ResidualForm::kPlane && before != ResidualForm::kPlane)) {
    memory_ = slabs.take(count * sizeof(std::int16_t));
    samples = {reinterpret_cast<std::int16_t*>(memory_.get()), count};
    width = format.width;
    stale_.clear();
  } else if (form == ResidualForm::kPlane) {
    clear_above();  // the picture before may have been given up
    stale_.swap(coded);
  } else {
    stale_.clear();
  }
  num_cleared_ = 0;
  coded.clear();
}

void ResidualBuffer::clear_above(int y4) {
  for (; num_cleared_ < stale_.size() && stale_[num_cleared_].y4 < y4; ++num_cleared_) {
    const CodedBlock& b = stale_[num_cleared_];
    const int size = b.size4 * 4;
    fill_block(samples.data() + static_cast<std::ptrdiff_t>(b.y4) * 4 * width + b.x4 * 4, width, size, size,
               std::int16_t{0});
  }
}

}  // namespace ove::codec
