// The memory of pictures, and the pools that it comes back to.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <limits>
#include <memory>
#include <mutex>
#include <span>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include "codec/detail.h"
#include "codec/format.h"
#include "common/process.h"
#include "common/slabs.h"

namespace ove::codec {

// A transform block with coefficients, in units of 4 luma samples.
struct CodedBlock {
  std::uint16_t x4, y4;
  std::uint16_t size4;
};
static_assert(sizeof(CodedBlock) == 6);

// Fills a block of a plane. The widths that blocks mostly have are constants, whose rows take a store or two.
template <class T>
void fill_block(T* out, std::ptrdiff_t stride, int width, int height, T value) {
  const auto rows = [&](auto constant_width) {
    for (int y = 0; y < height; ++y, out += stride) std::fill_n(out, constant_width(), value);
  };
  switch (width) {
    case 1:
      return rows(std::integral_constant<int, 1>());
    case 2:
      return rows(std::integral_constant<int, 2>());
    case 4:
      return rows(std::integral_constant<int, 4>());
    case 8:
      return rows(std::integral_constant<int, 8>());
    case 16:
      return rows(std::integral_constant<int, 16>());
    case 32:
      return rows(std::integral_constant<int, 32>());
    default:
      return rows([&] { return width; });
  }
}

// Storage of one picture but for its residual. Recycled through a pool, because clearing and mapping it costs as much
// as decoding a still picture.
struct PictureBuffers {
  // by 4x4 block, row by row
  std::span<std::array<Mv, 2>> mv;
  std::span<std::array<std::int8_t, 2>> ref_idx;  // -1 before the block is decoded
  // by unit (PictureFormat::log2_unit)
  std::span<std::int8_t> qp;
  std::span<std::uint8_t> log2_size, skip;  // of the coding block; whether it is skipped
  std::span<std::uint8_t> field;            // 0 frame, 1 top field, 2 bottom field; empty in progressive pictures
  // by block of the bits grid
  std::span<std::int32_t> bits;
  // The same bits by 4x4 block: those of a transform unit, those of the rest of a coding unit, and those of the rest of
  // a block of the bits grid each count evenly for all that it covers. Empty where they are not wanted.
  std::span<float> block_bits;
  // by block of the slice grid: index into CodecPicture::slices, kNoSlice where nothing was decoded
  std::span<std::uint16_t> slice_idx;

  static constexpr std::uint16_t kNoSlice = 0xFFFF;

  PictureBuffers() = default;
  PictureBuffers(const PictureBuffers&) = delete;
  PictureBuffers& operator=(const PictureBuffers&) = delete;

  // Clears what decoding does not write everywhere.
  void prepare(const PictureFormat& format, Slabs& slabs, bool bits_by_block = false);

 private:
  std::shared_ptr<std::byte> memory_;  // of all these
};

// The residual is most of a picture's storage, and no other picture needs it: it comes back sooner, still in the cache.
struct ResidualBuffer {
  ResidualForm form = ResidualForm::kPlane;
  // By luma sample, zero outside `coded` once clear_above() has been there; or, packed, only the first `packed`
  // samples: of one coded block behind the other, each row by row.
  std::span<std::int16_t> samples;
  int width = 0;
  std::size_t packed = 0;
  std::vector<CodedBlock> coded;  // in decoding order

  ResidualBuffer() = default;
  ResidualBuffer(const ResidualBuffer&) = delete;
  ResidualBuffer& operator=(const ResidualBuffer&) = delete;

  void prepare(const PictureFormat& format, Slabs& slabs, ResidualForm wanted);

  // Clears what the picture before left above this row of 4x4 blocks: shortly before it is written, while it stays in
  // the cache. Everything without argument. Rows come in order, if the blocks of that picture lay in bands that end
  // with one of them.
  void clear_above(int y4 = std::numeric_limits<int>::max());

 private:
  std::vector<CodedBlock> stale_;      // of the picture before, in decoding order
  std::size_t num_cleared_ = 0;        // of those
  std::shared_ptr<std::byte> memory_;  // of `samples`
};

// Prepared buffers, which come back to the pool with their last owner (or are freed if the pool is gone). A thread gets
// those that it had, as long as there are any: they are in the cache of its core, or at least in that of no other.
template <class Buffer>
class BufferPool : public std::enable_shared_from_this<BufferPool<Buffer>> {
 public:
  // `how` goes to Buffer::prepare().
  template <class... How>
  std::shared_ptr<Buffer> take(const PictureFormat& format, How... how);

 private:
  const HomeProcess home_{};  // the lock may be anyone's elsewhere
  Slabs slabs_;
  std::mutex mutex_;
  std::vector<std::pair<std::thread::id, std::unique_ptr<Buffer>>> free_;  // with the thread that took it
};

struct BufferPools {
  std::shared_ptr<BufferPool<PictureBuffers>> pictures = std::make_shared<BufferPool<PictureBuffers>>();
  std::shared_ptr<BufferPool<ResidualBuffer>> residuals = std::make_shared<BufferPool<ResidualBuffer>>();
};

template <class Buffer>
template <class... How>
std::shared_ptr<Buffer> BufferPool<Buffer>::take(const PictureFormat& format, How... how) {
  const std::thread::id thread = std::this_thread::get_id();
  std::unique_ptr<Buffer> buffers;
  {
    const std::lock_guard lock(mutex_);
    if (!free_.empty()) {
      auto found = std::find_if(free_.rbegin(), free_.rend(), [&](const auto& free) { return free.first == thread; });
      if (found == free_.rend()) found = free_.rbegin();
      buffers = std::move(found->second);
      free_.erase(std::next(found).base());
    }
  }
  if (!buffers) buffers = std::make_unique<Buffer>();
  buffers->prepare(format, slabs_, how...);
  return {buffers.release(), [pool = this->weak_from_this(), thread](Buffer* returned) {
            std::unique_ptr<Buffer> owned(returned);
            if (const auto alive = pool.lock(); alive && alive->home_.is_here()) {
              const std::lock_guard lock(alive->mutex_);
              alive->free_.emplace_back(thread, std::move(owned));
            }
          }};
}

}  // namespace ove::codec
