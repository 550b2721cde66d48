#include "media/frame_memory.h"

#include <algorithm>
#include <array>
#include <mutex>
#include <utility>
#include <vector>

#include "common/slabs.h"

namespace ove::media {

namespace {

constexpr std::size_t kPadding = 64;  // vectors of libavcodec reach so far behind a plane

}  // namespace

struct FrameMemory::Pool {
  Slabs slabs;
  std::mutex mutex;      // threads of a decoder ask and give back
  std::size_t size = 0;  // of each of `free`
  std::vector<std::shared_ptr<std::byte>> free;
};

// The memory of a frame, which goes back to the pool.
struct FrameMemory::Piece {
  std::shared_ptr<Pool> pool;
  std::shared_ptr<std::byte> memory;
  std::size_t size;

  static void release(void* opaque, std::uint8_t*) {
    const std::unique_ptr<Piece> self(static_cast<Piece*>(opaque));
    const std::lock_guard lock(self->pool->mutex);
    // Where there is no room for it, it goes to the system.
    if (self->size == self->pool->size && self->pool->free.size() < self->pool->free.capacity()) {
      self->pool->free.push_back(std::move(self->memory));
    }
  }
};

FrameMemory::FrameMemory() : pool_(std::make_shared<Pool>()) { pool_->free.reserve(128); }
FrameMemory::~FrameMemory() = default;

void FrameMemory::serve(AVCodecContext& codec) {
  if ((codec.codec->capabilities & AV_CODEC_CAP_DR1) == 0) return;
  codec.opaque = this;
  codec.get_buffer2 = get_buffer;
  allow_callbacks_in_threads(codec);
}

int FrameMemory::get_buffer(AVCodecContext* codec, AVFrame* frame, int flags) {
  const AVPixFmtDescriptor* format = av_pix_fmt_desc_get(static_cast<AVPixelFormat>(frame->format));
  constexpr std::uint64_t kOthers = AV_PIX_FMT_FLAG_HWACCEL | AV_PIX_FMT_FLAG_PAL | AV_PIX_FMT_FLAG_BITSTREAM;
  if (!format || (format->flags & kOthers) != 0) return avcodec_default_get_buffer2(codec, frame, flags);
  try {
    return static_cast<FrameMemory*>(codec->opaque)->allocate(*codec, *frame);
  } catch (const std::bad_alloc&) {
    return AVERROR(ENOMEM);
  }
}

// Planes with the strides and heights that avcodec_default_get_buffer2() gives them.
int FrameMemory::allocate(AVCodecContext& codec, AVFrame& frame) {
  const auto format = static_cast<AVPixelFormat>(frame.format);
  int width = frame.width, height = frame.height;
  std::array<int, AV_NUM_DATA_POINTERS> alignment{};
  avcodec_align_dimensions2(&codec, &width, &height, alignment.data());
  std::array<int, 4> strides{};
  const auto aligned = [&] {
    for (std::size_t i = 0; i < strides.size(); ++i) {
      if (alignment[i] > 0 && strides[i] % alignment[i] != 0) return false;
    }
    return true;
  };
  do {
    const int code = av_image_fill_linesizes(strides.data(), format, width);
    if (code < 0) return code;
    width += width & -width;
  } while (!aligned());
  std::array<std::ptrdiff_t, 4> wide_strides{};
  std::copy(strides.begin(), strides.end(), wide_strides.begin());
  std::array<std::size_t, 4> sizes{}, begins{};
  const int code = av_image_fill_plane_sizes(sizes.data(), format, height, wide_strides.data());
  if (code < 0) return code;
  std::size_t size = 0;
  for (std::size_t i = 0; i < sizes.size() && sizes[i] > 0; ++i) {
    begins[i] = size;
    size += (sizes[i] + kPadding + Slabs::kAlignment - 1) / Slabs::kAlignment * Slabs::kAlignment;
  }

  if (!std::in_range<int>(size)) return AVERROR(ENOMEM);  // FFmpeg 4.4 counts the bytes of a buffer in int

  auto piece = std::make_unique<Piece>(Piece{pool_, nullptr, size});
  {
    const std::lock_guard lock(pool_->mutex);
    if (std::exchange(pool_->size, size) != size) pool_->free.clear();
    if (!pool_->free.empty()) {
      piece->memory = std::move(pool_->free.back());
      pool_->free.pop_back();
    }
  }
  if (!piece->memory) piece->memory = pool_->slabs.take(size);
  auto* const memory = reinterpret_cast<std::uint8_t*>(piece->memory.get());
  frame.buf[0] = av_buffer_create(memory, static_cast<int>(size), Piece::release, piece.get(), 0);
  if (!frame.buf[0]) return AVERROR(ENOMEM);
  static_cast<void>(piece.release());
  for (std::size_t i = 0; i < sizes.size() && sizes[i] > 0; ++i) {
    frame.data[i] = memory + begins[i];
    frame.linesize[i] = strides[i];
  }
  frame.extended_data = frame.data;
  return 0;
}

}  // namespace ove::media
