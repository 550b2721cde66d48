// The coded pictures behind an entry of a reference list.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <vector>

#include "h264/slice_context.h"

namespace ove::h264 {

// A frame as it was coded: as one picture, or as fields. What is not there is null.
struct CodedFrame {
  std::shared_ptr<const CodecPicture> frame;
  std::array<std::shared_ptr<const CodecPicture>, 2> fields;
  std::array<int, 2> field_poc{};
};

// Adds the decode_index of the pictures that hold the frame, or that field of it.
void add_references(const CodedFrame& coded, Structure structure, std::vector<std::int64_t>& references);

// 8.4.1.2.1: `structure` is that of RefPicList1[0], which is (of) `coded`. Adds the pictures that the motion of
// `picture` is derived from to its `collocated`.
void set_collocated(const CodedFrame& coded, Structure structure, Collocated& collocated, CodedPicture& picture);

}  // namespace ove::h264
