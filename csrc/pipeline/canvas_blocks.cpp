#include "pipeline/canvas_blocks.h"

#include <algorithm>
#include <cstddef>
#include <stdexcept>
#include <utility>

namespace ove::pipeline {

namespace {

void check(const CanvasRequest& r, std::span<FrameFacts> facts) {
  if (r.starts.size() != r.packets.size() + 1 || r.starts.front() != 0 || r.starts.back() != std::ssize(r.placements) ||
      !std::is_sorted(r.starts.begin(), r.starts.end())) {
    throw std::invalid_argument("starts must rise from 0 to the number of placements, one more than packets");
  }
  if (r.facts_step > 0 && facts.size() != r.packets.size()) {
    throw std::invalid_argument("facts must have an entry a packet");
  }
}

}  // namespace

void place_blocks(media::Demuxer demuxer, const CanvasRequest& request, std::span<std::uint8_t> images,
                  std::span<FrameFacts> facts) {
  check(request, facts);
  CanvasPainter painter(request.size, images, demuxer.info().orientation, request.facts_step);
  painter.check(request.placements);
  const auto& starts = request.starts;
  ChosenPictures pictures(std::move(demuxer), request.packets, request.decoding,
                          [&](std::size_t slot) { return request.facts_step > 0 || starts[slot] < starts[slot + 1]; });
  std::size_t slot = 0;
  for (YuvPicture picture; pictures.next(picture, slot);) {
    const auto begin = static_cast<std::size_t>(starts[slot]), end = static_cast<std::size_t>(starts[slot + 1]);
    const FrameFacts found = painter.paint(picture, request.placements.subspan(begin, end - begin));
    if (request.facts_step > 0) facts[slot] = found;
  }
}

}  // namespace ove::pipeline
