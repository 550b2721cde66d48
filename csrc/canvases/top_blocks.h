// The best blocks of pictures, and how their sum grows from picture to picture.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace ove::canvases {

struct Block {
  float score = 0;
  std::int32_t frame = 0, block = 0;
};

// Scores (frames, blocks) with the blocks of each frame in order: score descending, then block.
class RankedFrames {
 public:
  // Keeps no more than `most` blocks of a frame.
  RankedFrames(std::span<const float> scores, int frames, std::size_t most);

  int frames() const { return frames_; }
  std::size_t budget() const { return most_; }
  std::span<const Block> of(int frame) const {
    return std::span(ranked_).subspan(static_cast<std::size_t>(frame) * kept_, kept_);
  }

 private:
  int frames_;
  std::size_t most_, kept_ = 0;
  std::vector<Block> ranked_;
};

// The best `budget` blocks of the frames added: score descending, then frame, then block.
class TopBlocks {
 public:
  explicit TopBlocks(const RankedFrames& frames) : frames_(frames) {}

  // Frames come in ascending order.
  void add(int frame);
  std::span<const Block> blocks() const { return best_; }
  float sum() const;
  // In how many of so many equal parts of the frames start+1 to end-1 any of the blocks lie.
  int coverage(int start, int end, int bins) const;

 private:
  const RankedFrames& frames_;
  std::vector<Block> best_, merged_;
};

}  // namespace ove::canvases
