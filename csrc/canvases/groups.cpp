#include "canvases/groups.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <stdexcept>

namespace ove::canvases {

namespace {

constexpr int kFewestFrames = 4;  // of a group or chunk that counts

// The group that begins at `start`.
Group grown(const RankedFrames& frames, const GroupRules& rules, int start) {
  const int last = std::min(frames.frames(), start + rules.max_frames);
  Group group{start, last, last == frames.frames() ? Stop::kTail : Stop::kMostFrames};
  TopBlocks top(frames);
  std::optional<double> before;
  for (int end = start + 2; end <= last; ++end) {
    top.add(end - 1);
    if (end < start + rules.min_frames) continue;
    const double sum = top.sum();
    if (sum >= rules.threshold && top.coverage(start, end, rules.coverage_bins) >= rules.min_coverage) {
      group = {start, end, Stop::kReady};
      if (before && (sum - *before) / std::max(std::abs(*before), 1e-6) < rules.delta_ratio) {
        group.stop = Stop::kLowGain;
        break;
      }
    }
    before = sum;
  }
  return group;
}

}  // namespace

double mean_chunk_sum(const RankedFrames& frames, int group_size) {
  if (group_size < 1) throw std::invalid_argument("group_size must be positive");
  double sum = 0;
  int count = 0;
  for (int start = 0; frames.frames() - start >= kFewestFrames && group_size >= kFewestFrames; start += group_size) {
    TopBlocks top(frames);
    for (int frame = start + 1; frame < std::min(frames.frames(), start + group_size); ++frame) top.add(frame);
    sum += top.sum();
    ++count;
  }
  return count ? sum / count : 0;
}

std::vector<Group> readiness_groups(const RankedFrames& frames, const GroupRules& rules) {
  if (rules.min_frames < 2 || rules.max_frames < rules.min_frames || rules.coverage_bins < 1) {
    throw std::invalid_argument(
        "min_group_frames must be 2 or more, max_group_frames not below it, and coverage_bins positive");
  }
  std::vector<Group> groups;
  for (int start = 0; frames.frames() - start >= std::max(kFewestFrames, rules.min_frames);) {
    const Group group = grown(frames, rules, start);
    if (group.end - start >= kFewestFrames) groups.push_back(group);
    start = group.end;
  }
  return groups;
}

std::vector<Block> chosen_blocks(const RankedFrames& frames, std::span<const std::uint8_t> good, const Group& group,
                                 int anchor) {
  TopBlocks top(frames);
  for (int frame = group.start; frame < group.end; ++frame) {
    if (frame != anchor && (good.empty() || good[static_cast<std::size_t>(frame)])) top.add(frame);
  }
  return {top.blocks().begin(), top.blocks().end()};
}

}  // namespace ove::canvases
