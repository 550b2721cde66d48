// A slice of a picture at work: what its parsing and its motion derivation need to know.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "h264/slice_header.h"

namespace ove::h264 {

// RefPicList1[0] of a B slice (8.4.1.2.1), as it was coded. A picture is null where all of it is intra.
struct Collocated {
  // kFrame, kMbaff: `frame`, also where a field of it is referred to. kFieldPair: both of `fields`. kTopField,
  // kBottomField, in field pictures alone: that one of `fields`.
  Structure structure = Structure::kFrame;
  std::shared_ptr<const CodecPicture> frame;
  std::array<std::shared_ptr<const CodecPicture>, 2> fields;  // top, bottom
  std::array<int, 2> field_poc{};  // at the time of the current picture, which memory_management_control_operation 5
                                   // may have changed
};

struct SliceContext {
  SliceHeader header;
  const Pps* pps = nullptr;        // of the picture's ActiveSets
  std::uint16_t slice_idx = 0;     // into CodecPicture::slices, which has the reference lists
  std::vector<std::uint8_t> rbsp;  // after the NAL unit header, without cabac_zero_words
  std::int64_t position = -1;      // of the NAL unit in the source
  Collocated collocated;           // B slices
  // A reference index may point at a picture that is not there (RefEntry::decode_index is -1): decoding began in the
  // middle of a sequence. Elsewhere that is an error.
  bool may_miss_references = false;
  bool x264_444_contexts = false;  // see ActiveSets
};

}  // namespace ove::h264
