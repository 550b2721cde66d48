// Groups of sampled pictures, each of which fills one set of canvases.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "canvases/top_blocks.h"

namespace ove::canvases {

struct GroupRules {
  double threshold = 0;  // of the sum of a group's best blocks
  int min_frames = 8, max_frames = 64;
  int coverage_bins = 3, min_coverage = 3;
  double delta_ratio = 0.05;  // a group that gains less by one more frame ends
};

enum class Stop : std::uint8_t { kReady, kLowGain, kMostFrames, kTail };

struct Group {
  int start = 0, end = 0;
  Stop stop = Stop::kReady;
};

// Mean over chunks of so many frames of the sum of their best blocks. The frame at the start of a chunk, as of a group,
// is its anchor, which is kept whole; sums are of the frames behind it.
double mean_chunk_sum(const RankedFrames& frames, int group_size);

// A group ends where the sum of its best blocks reaches the threshold and these lie in enough parts of it. Groups of
// fewer than 4 frames, and frames at the end that are too few for a group, are left out. Throws std::invalid_argument
// for rules that make no sense.
std::vector<Group> readiness_groups(const RankedFrames& frames, const GroupRules& rules);

// The best blocks of the good frames of a group but the anchor; `good` is empty where all are.
std::vector<Block> chosen_blocks(const RankedFrames& frames, std::span<const std::uint8_t> good, const Group& group,
                                 int anchor);

}  // namespace ove::canvases
