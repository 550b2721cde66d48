// What syntax decoding leaves of a picture: motion, residual, quantiser, coding blocks and bits.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "codec/access_unit.h"
#include "codec/buffers.h"
#include "codec/detail.h"
#include "codec/format.h"

namespace ove::codec {

using Bytes = std::vector<std::uint8_t>;

// The parameter sets in force for a picture. What they say is the codec's own.
struct ParameterSets {
  // One of a slot, which is its kind and id, takes the place of the one before it.
  struct Unit {
    int slot = 0;
    std::shared_ptr<const Bytes> nal_unit;
  };

  virtual ~ParameterSets() = default;
  std::vector<Unit> units;  // in the order in which a decoder takes them; none for codecs without
};

enum class SliceType : std::uint8_t { kB = 0, kP = 1, kI = 2 };

// Motion of a prediction block; a list is unused where its ref_idx is negative, and its vector then 0.
struct BlockMotion {
  std::array<Mv, 2> mv{};
  std::array<std::int8_t, 2> ref_idx{-1, -1};
  bool is_inter() const { return ref_idx[0] >= 0 || ref_idx[1] >= 0; }
  bool operator==(const BlockMotion&) const = default;
};

// A picture of a reference list.
struct RefEntry {
  int poc = 0;
  bool is_long_term = false;
  // Of a frame, or one of its fields. A frame that was coded as two fields goes by the first, which the second follows.
  Structure structure = Structure::kFrame;
  std::int64_t decode_index = -1;
};

using RefLists = std::array<std::vector<RefEntry>, 2>;

// Explicit luma weights of one reference: prediction * weight / 2^log2_denominator + offset
struct LumaWeight {
  int weight = 1, offset = 0;  // offset at 8 bits, or at the bit depth where the stream says so
};

// What the blocks of a slice refer to, kept as long as the picture.
struct Slice {
  SliceType type = SliceType::kI;
  int address = 0;  // of its first block in the bits grid, in raster scan
  int qp = 0;
  RefLists ref_list;
  // Of field blocks in an MBAFF frame, of the top and the bottom field; empty elsewhere.
  std::array<RefLists, 2> field_ref_list;
  bool has_weights = false;
  int luma_log2_weight_denom = 0;
  std::array<std::vector<LumaWeight>, 2> luma_weights;
  std::int64_t data_bits = 0;  // of its slice data, without emulation prevention bytes
};

// Whether a stream can be given to a decoder without a picture that nothing refers to.
enum class Dropping : std::uint8_t {
  kFree,
  kUnlessCounted,  // not if order counts of later pictures are counted from it
  kNever,
};

// What the headers of a picture tell, and all that is needed to decode it apart from the pictures before it.
struct PictureHeaders {
  std::shared_ptr<const ParameterSets> parameter_sets;
  std::shared_ptr<const PictureFormat> format;
  Structure structure = Structure::kFrame;
  SliceType type = SliceType::kI;  // kB if any slice is B, else kP if any is P
  int poc = 0;
  std::array<int, 2> field_poc{};  // of top and bottom field; `poc` both where there are none
  bool random_access = false;      // decoding can begin here
  bool resets_order = false;       // no order count from here on is counted from an earlier picture
  // Another decoder may not show all pictures before it, or takes it for their continuation where it is none.
  bool starts_anew = false;
  // All that it refers to, directly or not, is in the stream. Other pictures are not shown.
  bool complete = true;
  Dropping dropping = Dropping::kFree;
  bool in_parts = false;                             // it has several slices, or slice segments
  bool referable = true;                             // its own headers do not rule out that others refer to it
  std::int64_t decode_index = 0;                     // among the coded pictures
  std::vector<std::int64_t> references, collocated;  // decode_index of the pictures that its slices refer to
};

// The headers of a picture of an index. What its slices refer to is resolved.
struct KnownPicture : PictureHeaders {
  std::int64_t packet = 0;
  std::vector<RefLists> ref_lists;  // by slice
};

struct CodecPicture : PictureHeaders {
  int temporal_id = 0;
  int num_coded = 1;  // coded pictures that it is made of: fields of a frame that is shown
  AccessUnitTag tag;
  double duration = 0;  // seconds, by the stream's own timing; 0 where it has none
  std::vector<Slice> slices;
  Detail detail;
  std::shared_ptr<PictureBuffers> buffers;   // null after decoding headers only
  std::shared_ptr<ResidualBuffer> residual;  // until the picture's last user is done with it

  int width() const { return format->width; }
  int height() const { return format->height; }
  int width4() const { return format->width4(); }
  int height4() const { return format->height4(); }

  const Slice& slice_at(int x4, int y4) const {
    const int shift = format->log2_slice - 2;
    const int columns = format->columns(format->log2_slice);
    return slices[buffers->slice_idx[static_cast<std::size_t>((y4 >> shift) * columns + (x4 >> shift))]];
  }
  // Whether all blocks have the same reference lists, those of the first slice.
  bool has_one_list() const { return slices.size() == 1 && slices.front().field_ref_list[0][0].empty(); }
  BlockMotion motion_at(int x4, int y4) const {
    const auto i = static_cast<std::size_t>(y4 * width4() + x4);
    return {buffers->mv[i], buffers->ref_idx[i]};
  }
  // 0 frame, 1 top field, 2 bottom field
  int field_at(int x4, int y4) const {
    if (buffers->field.empty()) return 0;
    const int shift = format->log2_unit - 2;
    return buffers->field[static_cast<std::size_t>((y4 >> shift) * (width4() >> shift) + (x4 >> shift))];
  }

  // Dense planes by 4x4 block, row by row, into arrays of width4() * height4() elements (ref_poc: times 2).
  void copy_pred(std::uint8_t* out) const;        // 0 intra, 1 L0, 2 L1, 3 both
  void copy_ref_poc(std::int32_t* out) const;     // POC per list, 0 where unused
  void copy_qp(std::int8_t* out) const;           // of luma
  void copy_block_size(std::uint8_t* out) const;  // luma samples
  void copy_skip(std::uint8_t* out) const;
  void copy_field(std::uint8_t* out) const;  // 0 frame, 1 top field, 2 bottom field
  // PictureBuffers::block_bits; without them, the bits of the grid spread evenly over the blocks inside the picture.
  void copy_block_bits(float* out) const;
  void copy_residual(std::int16_t* out) const;  // by luma sample, of a packed residual
};

}  // namespace ove::codec
