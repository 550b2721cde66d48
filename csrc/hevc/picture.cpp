#include "hevc/picture.h"

#include <algorithm>
#include <cstddef>
#include <iterator>
#include <type_traits>
#include <utility>

#include "common/simd.h"

namespace ove::hevc {

void PictureBuffers::prepare(const Sps& sps, Slabs& slabs) {
  const auto blocks = static_cast<std::size_t>(sps.width >> 2) * static_cast<std::size_t>(sps.height >> 2);
  const auto min_cbs =
      static_cast<std::size_t>(sps.width >> sps.log2_min_cb) * static_cast<std::size_t>(sps.height >> sps.log2_min_cb);
  const auto ctbs = static_cast<std::size_t>(sps.size_in_ctbs());
  if (mv.size() != blocks || qp.size() != min_cbs || bits.size() != ctbs) {
    // One array behind the other, each on a cache line of its own: first without memory, to know how much.
    std::size_t size = 0;
    const auto place = [&](auto& array, std::size_t count) {
      using T = typename std::remove_reference_t<decltype(array)>::element_type;
      if (memory_) array = {reinterpret_cast<T*>(memory_.get() + size), count};
      size += (count * sizeof(T) + Slabs::kAlignment - 1) / Slabs::kAlignment * Slabs::kAlignment;
    };
    const auto place_all = [&] {
      size = 0;
      place(mv, blocks);
      place(ref_idx, blocks);
      place(qp, min_cbs);
      place(log2_cb, min_cbs);
      place(cu_skip, min_cbs);
      place(bits, ctbs);
      place(slice_idx, ctbs);
    };
    memory_.reset();
    place_all();
    memory_ = slabs.take(size);
    place_all();
  }
  std::fill(ref_idx.begin(), ref_idx.end(), std::array<std::int8_t, 2>{-1, -1});
  std::fill(slice_idx.begin(), slice_idx.end(), kNoSlice);
}

void ResidualBuffer::prepare(const Sps& sps, Slabs& slabs, ResidualForm wanted) {
  const ResidualForm before = std::exchange(form, wanted);
  sparse.clear();
  if (form == ResidualForm::kCoefficients) return;
  packed = 0;
  const auto count = static_cast<std::size_t>(sps.width) * static_cast<std::size_t>(sps.height);
  const bool fits = samples.size() == count && width == sps.width;
  if (!fits || (form == ResidualForm::kPlane && before != ResidualForm::kPlane)) {
    memory_ = slabs.take(count * sizeof(std::int16_t));
    samples = {reinterpret_cast<std::int16_t*>(memory_.get()), count};
    width = sps.width;
  } else if (form == ResidualForm::kPlane) {
    for (const CodedBlock& b : coded) {
      const int size = b.size4 * 4;
      std::int16_t* at = samples.data() + static_cast<std::ptrdiff_t>(b.y4) * 4 * sps.width + b.x4 * 4;
      fill_block(at, sps.width, size, size, std::int16_t{0});
    }
  }
  coded.clear();
}

template <class Buffer>
template <class... How>
std::shared_ptr<Buffer> BufferPool<Buffer>::take(const Sps& sps, How... how) {
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
  buffers->prepare(sps, slabs_, how...);
  return {buffers.release(), [pool = this->weak_from_this(), thread](Buffer* returned) {
            std::unique_ptr<Buffer> owned(returned);
            if (const auto alive = pool.lock(); alive && alive->home_.is_here()) {
              const std::lock_guard lock(alive->mutex_);
              alive->free_.emplace_back(thread, std::move(owned));
            }
          }};
}

template std::shared_ptr<PictureBuffers> BufferPool<PictureBuffers>::take(const Sps&);
template std::shared_ptr<ResidualBuffer> BufferPool<ResidualBuffer>::take(const Sps&, ResidualForm);

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
  const int ctb4 = sps->ctb_size() >> 2;
  for (int y4 = 0; y4 < height4(); ++y4) {
    for (int x0 = 0; x0 < width4(); x0 += ctb4) {
      const Slice& slice = slice_at(x0, y4);
      const auto row = static_cast<std::size_t>(y4 * width4());
      for (int x4 = x0; x4 < std::min(x0 + ctb4, width4()); ++x4) {
        const auto i = row + static_cast<std::size_t>(x4);
        for (std::size_t list = 0; list < 2; ++list) {
          const int idx = buffers->ref_idx[i][list];
          out[i * 2 + list] = idx < 0 ? 0 : slice.ref_list[list][static_cast<std::size_t>(idx)].poc;
        }
      }
    }
  }
}

namespace {

// Spreads a plane by smallest coding block over the 4x4 blocks.
template <class In, class Out, class Convert>
void expand_min_cbs(const CodecPicture& picture, std::span<const In> plane, Out* out, Convert convert) {
  const int shift = picture.sps->log2_min_cb - 2;
  const int stride = picture.width4() >> shift;
  for (int y4 = 0; y4 < picture.height4(); ++y4) {
    const In* row = plane.data() + static_cast<std::ptrdiff_t>(y4 >> shift) * stride;
    for (int x4 = 0; x4 < picture.width4(); ++x4) *out++ = convert(row[x4 >> shift]);
  }
}

}  // namespace

void CodecPicture::copy_qp(std::int8_t* out) const {
  expand_min_cbs<std::int8_t>(*this, buffers->qp, out, [](std::int8_t v) { return v; });
}

void CodecPicture::copy_cu_size(std::uint8_t* out) const {
  expand_min_cbs<std::uint8_t>(*this, buffers->log2_cb, out,
                               [](std::uint8_t v) { return static_cast<std::uint8_t>(1 << v); });
}

void CodecPicture::copy_skip(std::uint8_t* out) const {
  expand_min_cbs<std::uint8_t>(*this, buffers->cu_skip, out, [](std::uint8_t v) { return v; });
}

}  // namespace ove::hevc
