// Blocks of chosen pictures, packed into canvases.
#pragma once

#include <cstdint>
#include <span>

#include "media/demuxer.h"
#include "pipeline/canvas_painter.h"
#include "pipeline/chosen_pictures.h"
#include "pipeline/frame_facts.h"

namespace ove::pipeline {

struct CanvasRequest {
  std::span<const std::int64_t> packets;  // of the pictures
  std::span<const std::int64_t> starts;   // placements starts[i] to starts[i + 1] are of picture i
  std::span<const BlockPlacement> placements;
  CanvasSize size;
  // FrameFacts are taken from every so many rows of the frame; 0: none are. Pictures without placements are then left
  // out.
  int facts_step = 0;
  Decoding decoding;
};

// Fills blocks of `images`, (canvases, height, width, 3) R'G'B', and `facts`, one a picture unless facts_step is 0.
// Throws what ChosenPictures throws, and std::invalid_argument where the arguments do not fit one another.
void place_blocks(media::Demuxer demuxer, const CanvasRequest& request, std::span<std::uint8_t> images,
                  std::span<FrameFacts> facts);

}  // namespace ove::pipeline
