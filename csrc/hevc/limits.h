// What a stream may ask for before it is refused. The defaults take every level of the standard up to 6.2.
#pragma once

#include <cstdint>

namespace ove::hevc {

struct Limits {
  int max_width = 16888, max_height = 16888;    // luma samples
  std::int64_t max_luma_samples = 142'606'336;  // of a picture; level 6.2 allows 35 651 584, level 7.2 four times that
  int max_slice_segments = 65'536;              // of a picture
};

}  // namespace ove::hevc
