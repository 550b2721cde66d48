// Reference picture lists (8.2.4).
#pragma once

#include <array>
#include <memory>
#include <span>

#include "h264/dpb.h"

namespace ove::h264 {

// RefEntry::decode_index of a picture that is not there
constexpr std::int64_t kMissing = -1;      // a reference index that points at it is an error
constexpr std::int64_t kBeforeStart = -2;  // it precedes the picture at which decoding began

struct SliceLists {
  RefLists lists;
  std::array<RefLists, 2> field_lists;  // of MBAFF frames
};

// `frames` are those of the buffer, numbered (Dpb::number()) for the current picture; of a second field they hold the
// first. `poc` is the current picture's. Entries that are not there become `missing`.
SliceLists make_ref_pic_lists(const SliceHeader& header, const Sps& sps, int poc,
                              std::span<const std::shared_ptr<Frame>> frames, std::int64_t missing);

}  // namespace ove::h264
