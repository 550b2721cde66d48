// What syntax decoding leaves of a picture: motion, residual, quantiser, coding blocks and bits.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include "common/process.h"
#include "common/slabs.h"
#include "hevc/coefficients.h"
#include "hevc/nal_unit_type.h"
#include "hevc/slice_header.h"

namespace ove::hevc {

struct Mv {
  std::int16_t x = 0, y = 0;  // quarter luma samples
  bool operator==(const Mv&) const = default;
};
static_assert(sizeof(Mv) == 4);

// Motion of a prediction block; a list is unused where its ref_idx is negative, and its vector then 0.
struct Motion {
  std::array<Mv, 2> mv{};
  std::array<std::int8_t, 2> ref_idx{-1, -1};
  bool is_inter() const { return ref_idx[0] >= 0 || ref_idx[1] >= 0; }
  bool operator==(const Motion&) const = default;
};

struct RefEntry {
  int poc = 0;
  bool is_long_term = false;
};

// What the blocks of a slice refer to, kept as long as the picture.
struct Slice {
  SliceType type = SliceType::kI;
  int address = 0;  // SliceAddrRs
  int qp = 0;
  std::array<std::vector<RefEntry>, 2> ref_list;
  bool has_weights = false;
  int luma_log2_weight_denom = 0;
  std::array<std::vector<LumaWeight>, 2> luma_weights;
  std::int64_t data_bits = 0;  // of slice_segment_data() of its segments, without emulation prevention bytes
};

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
  // by smallest coding block
  std::span<std::int8_t> qp;
  std::span<std::uint8_t> log2_cb, cu_skip;  // cu_skip: cu_skip_flag
  // by CTB, raster scan
  std::span<std::int32_t> bits;
  std::span<std::uint16_t> slice_idx;  // index into CodecPicture::slices, kNoSlice where nothing was decoded

  static constexpr std::uint16_t kNoSlice = 0xFFFF;

  PictureBuffers() = default;
  PictureBuffers(const PictureBuffers&) = delete;
  PictureBuffers& operator=(const PictureBuffers&) = delete;

  // Clears what decoding does not write everywhere.
  void prepare(const Sps& sps, Slabs& slabs);

 private:
  std::shared_ptr<std::byte> memory_;  // of all these
};

enum class ResidualForm : std::uint8_t { kPlane, kPacked, kCoefficients };

// The residual is most of a picture's storage, and no other picture needs it: it comes back sooner, still in the cache.
struct ResidualBuffer {
  ResidualForm form = ResidualForm::kPlane;
  // By luma sample, zero outside `coded`; or, packed, only the first `packed` samples: of one coded block behind the
  // other, each row by row.
  std::span<std::int16_t> samples;
  int width = 0;
  std::size_t packed = 0;
  std::vector<CodedBlock> coded;  // in decoding order
  SparseResidual sparse;          // as coefficients, with which the above means nothing

  ResidualBuffer() = default;
  ResidualBuffer(const ResidualBuffer&) = delete;
  ResidualBuffer& operator=(const ResidualBuffer&) = delete;

  void prepare(const Sps& sps, Slabs& slabs, ResidualForm wanted);

 private:
  std::shared_ptr<std::byte> memory_;  // of `samples`
};

// Prepared buffers, which come back to the pool with their last owner (or are freed if the pool is gone). A thread gets
// those that it had, as long as there are any: they are in the cache of its core, or at least in that of no other.
template <class Buffer>
class BufferPool : public std::enable_shared_from_this<BufferPool<Buffer>> {
 public:
  // `how` goes to Buffer::prepare().
  template <class... How>
  std::shared_ptr<Buffer> take(const Sps& sps, How... how);

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

// How much of a picture to decode; with kCoefficients, what the residual is made of in its place; with kPacked, the
// samples of its coded blocks without the plane.
enum class Detail : std::uint8_t { kHeaders, kMotion, kCoefficients, kPacked, kResidual };

constexpr ResidualForm residual_form(Detail detail) {
  return detail == Detail::kCoefficients ? ResidualForm::kCoefficients
         : detail == Detail::kPacked     ? ResidualForm::kPacked
                                         : ResidualForm::kPlane;
}

// What the caller knows of an access unit, found again on the picture that begins in it.
struct AccessUnitTag {
  std::int64_t packet = -1;
  std::int64_t position = -1, size = 0;  // bytes of the packet in the source
  std::int64_t pts = 0, dts = 0;
  bool has_pts = false;
  bool discard = false;
};

struct CodecPicture {
  std::shared_ptr<const Sps> sps;
  std::shared_ptr<const Pps> pps;
  std::shared_ptr<const std::vector<std::uint8_t>> vps;  // NAL unit, null where there is none
  NalUnitType nal_unit_type = NalUnitType::kTrailN;
  int temporal_id = 0;
  int poc = 0;
  AccessUnitTag tag;
  std::int64_t decode_index = 0;   // among the pictures decoded
  SliceType type = SliceType::kI;  // kB if any slice is B, else kP if any is P
  std::vector<Slice> slices;
  std::vector<std::int64_t> references, collocated;  // decode_index of the pictures that its slices refer to
  Detail detail = Detail::kResidual;
  std::shared_ptr<PictureBuffers> buffers;   // null after decoding headers only
  std::shared_ptr<ResidualBuffer> residual;  // from kCoefficients on, until the picture's last user is done with it

  int width() const { return sps->width; }
  int height() const { return sps->height; }
  int width4() const { return sps->width >> 2; }
  int height4() const { return sps->height >> 2; }

  const Slice& slice_at(int x4, int y4) const {
    const int shift = sps->log2_ctb - 2;
    const auto ctb = static_cast<std::size_t>((y4 >> shift) * sps->width_in_ctbs() + (x4 >> shift));
    return slices[buffers->slice_idx[ctb]];
  }
  Motion motion_at(int x4, int y4) const {
    const auto i = static_cast<std::size_t>(y4 * width4() + x4);
    return {buffers->mv[i], buffers->ref_idx[i]};
  }

  // Dense planes by 4x4 block, row by row, into arrays of width4() * height4() elements (ref_poc: times 2).
  void copy_pred(std::uint8_t* out) const;     // 0 intra, 1 L0, 2 L1, 3 both
  void copy_ref_poc(std::int32_t* out) const;  // POC per list, 0 where unused
  void copy_qp(std::int8_t* out) const;        // QpY
  void copy_cu_size(std::uint8_t* out) const;  // luma samples
  void copy_skip(std::uint8_t* out) const;     // cu_skip_flag
};

}  // namespace ove::hevc
