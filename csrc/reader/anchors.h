// Samples moved to pictures that are cheap to decode.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "reader/video_index.h"

namespace ove::reader {

struct AnchorRequest {
  std::vector<std::int64_t> shown;  // display indices that may be taken, ascending
  std::vector<std::int64_t> asked;  // positions in `shown` of the pictures asked for, ascending, each once
  std::optional<double> tolerance;  // seconds; half the distance to each neighbour where there is none
  bool intra = true;                // whether I pictures may be taken
};

// Positions in `shown` of the pictures taken for those asked for: ascending, each once, within the tolerance.
//
// From the last sample to the first each takes the picture that adds the fewest coded pictures to what the samples
// behind it decode (VideoIndex::Edges::kDecoding). Among equals that add any it takes a random access picture before
// others; then the nearest to the one asked for, then the earlier.
// This is not always the least for all samples together, but never more than what was asked for takes: where it would
// be, `asked` is returned. Without `intra` an I picture is taken only for a sample that nothing else is left for; what
// takes the place of one that was asked for may then take more.
//
// Of an index of some pictures only these are taken and sync samples, which are I pictures that need nothing: the same
// as by the whole index, if it knows all of unanchored(). Nothing where it cannot tell whether `asked` takes less.
//
// Throws std::invalid_argument for a request that is not as described.
std::optional<std::vector<std::int64_t>> anchors(const VideoIndex& index, const AnchorRequest& request);

// Of an index of some pictures, those (display indices) among which a sample would be moved that has no sync sample
// near it that it may take.
std::vector<std::int64_t> unanchored(const VideoIndex& index, const AnchorRequest& request);

}  // namespace ove::reader
