// Blocks of pictures, brought onto canvases.
#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include "common/geometry.h"
#include "common/yuv.h"
#include "pipeline/frame_facts.h"
#include "tokens/area_gather.h"

namespace ove::pipeline {

// A block of a frame, by its row and column there, and where it goes.
struct BlockPlacement {
  std::int32_t row = 0, column = 0;
  std::int32_t canvas = 0, canvas_row = 0, canvas_column = 0;
};

// Of frames and canvases, in samples; `side` is that of a block.
struct CanvasSize {
  int height = 0, width = 0, side = 0;
};

class CanvasPainter {
 public:
  // `images` is (canvases, height, width, 3) R'G'B', and stays where it is. FrameFacts are taken from every
  // `facts_step`-th row of the frames; 0: none are. Throws std::invalid_argument where these do not fit one another.
  CanvasPainter(const CanvasSize& size, std::span<std::uint8_t> images, Orientation orientation, int facts_step);

  // Throws std::invalid_argument for a placement that lies off the frame or the canvases.
  void check(std::span<const BlockPlacement> placements) const;
  // Writes blocks of the picture, all of which check() lets pass.
  FrameFacts paint(const YuvPicture& picture, std::span<const BlockPlacement> placements);

 private:
  void place(const YuvPicture& picture, std::span<const BlockPlacement> placements) const;
  FrameFacts facts_of(const YuvPicture& picture) const;

  CanvasSize size_;
  std::span<std::uint8_t> images_;
  Orientation orientation_;
  int facts_step_;
  std::int64_t canvases_ = 0;
  std::optional<tokens::AreaGather> gather_;  // of the pictures' format
};

}  // namespace ove::pipeline
