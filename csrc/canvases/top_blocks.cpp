#include "canvases/top_blocks.h"

#include <algorithm>
#include <iterator>
#include <stdexcept>

namespace ove::canvases {

RankedFrames::RankedFrames(std::span<const float> scores, int frames, std::size_t most) : frames_(frames), most_(most) {
  if (frames <= 0 || scores.size() % static_cast<std::size_t>(frames) != 0) {
    throw std::invalid_argument("scores must be (frames, blocks)");
  }
  const std::size_t blocks = scores.size() / static_cast<std::size_t>(frames);
  kept_ = std::min(blocks, most);
  ranked_.reserve(kept_ * static_cast<std::size_t>(frames));
  std::vector<Block> all(blocks);
  for (int frame = 0; frame < frames; ++frame) {
    for (std::size_t b = 0; b < blocks; ++b) {
      all[b] = {scores[static_cast<std::size_t>(frame) * blocks + b], frame, static_cast<std::int32_t>(b)};
    }
    const auto end = all.begin() + static_cast<std::ptrdiff_t>(kept_);
    const auto better = [](const Block& a, const Block& b) {
      return a.score != b.score ? a.score > b.score : a.block < b.block;
    };
    if (end != all.end()) std::nth_element(all.begin(), end, all.end(), better);
    std::sort(all.begin(), end, better);
    ranked_.insert(ranked_.end(), all.begin(), end);
  }
}

void TopBlocks::add(int frame) {
  const std::span<const Block> added = frames_.of(frame);
  merged_.clear();
  merged_.reserve(std::min(frames_.budget(), best_.size() + added.size()));
  auto a = best_.begin();
  auto b = added.begin();
  while (merged_.size() < frames_.budget() && (a != best_.end() || b != added.end())) {
    const bool earlier = a != best_.end() && (b == added.end() || a->score >= b->score);
    merged_.push_back(earlier ? *a++ : *b++);
  }
  best_.swap(merged_);
}

float TopBlocks::sum() const {
  double sum = 0;
  for (const Block& b : best_) sum += b.score;
  return static_cast<float>(sum);
}

int TopBlocks::coverage(int start, int end, int bins) const {
  // Borders from 1 to the number of frames, rounded down; a part without a frame of its own takes the next one's first.
  const int last = std::max(2, end - start);
  const double step = static_cast<double>(last - 1) / bins;
  const auto border = [&](int i) { return i == bins ? last : static_cast<int>(1 + i * step); };
  std::vector<bool> frames(static_cast<std::size_t>(last) + 1);
  for (const Block& b : best_) frames[static_cast<std::size_t>(b.frame - start)] = true;
  int hit = 0;
  for (int i = 0; i < bins; ++i) {
    const int from = border(i), to = std::min(std::max(border(i + 1), from + 1), last + 1);
    hit += std::find(frames.begin() + from, frames.begin() + to, true) != frames.begin() + to;
  }
  return hit;
}

}  // namespace ove::canvases
