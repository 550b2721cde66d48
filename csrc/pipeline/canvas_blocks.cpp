#include "pipeline/canvas_blocks.h"

#include <algorithm>
#include <optional>
#include <stdexcept>
#include <utility>
#include <vector>

#include "tokens/area_gather.h"

namespace ove::pipeline {

namespace {

using tokens::AreaGather;

FrameFacts facts_of(const AreaGather& gather, const YuvPicture& picture, const CanvasSize& size, int step) {
  std::vector<std::uint8_t> row(3 * static_cast<std::size_t>(size.width));
  FrameSums sums;
  for (int y = std::min(step, size.height) / 2; y < size.height; y += step) {
    gather.rectangle(picture, {0, y, size.width, 1}, row.data(), 0);
    sums.add(row);
  }
  return sums.facts();
}

// Neighbours that stay neighbours are written at once.
bool follows(const BlockPlacement& a, const BlockPlacement& b) {
  return b.row == a.row && b.column == a.column + 1 && b.canvas == a.canvas && b.canvas_row == a.canvas_row &&
         b.canvas_column == a.canvas_column + 1;
}

void place(const AreaGather& gather, const YuvPicture& picture, std::span<const BlockPlacement> blocks,
           const CanvasSize& size, std::span<std::uint8_t> images) {
  const std::ptrdiff_t row_bytes = 3 * static_cast<std::ptrdiff_t>(size.width);
  for (std::size_t i = 0, next = 0; i < blocks.size(); i = next) {
    for (next = i + 1; next < blocks.size() && follows(blocks[next - 1], blocks[next]);) ++next;
    const BlockPlacement& b = blocks[i];
    std::uint8_t* const out =
        images.data() + row_bytes * (static_cast<std::ptrdiff_t>(b.canvas) * size.height + b.canvas_row * size.side) +
        3 * static_cast<std::ptrdiff_t>(b.canvas_column) * size.side;
    gather.rectangle(picture,
                     {b.column * size.side, b.row * size.side, static_cast<int>(next - i) * size.side, size.side}, out,
                     row_bytes);
  }
}

void check(const CanvasRequest& r, std::span<std::uint8_t> images, std::span<FrameFacts> facts) {
  const CanvasSize& s = r.size;
  if (s.side <= 0 || s.height <= 0 || s.width <= 0 || s.height % s.side != 0 || s.width % s.side != 0) {
    throw std::invalid_argument("the canvas must be a whole number of blocks");
  }
  if (r.starts.size() != r.packets.size() + 1 || r.starts.front() != 0 || r.starts.back() != std::ssize(r.placements) ||
      !std::is_sorted(r.starts.begin(), r.starts.end())) {
    throw std::invalid_argument("starts must rise from 0 to the number of placements, one more than packets");
  }
  if (r.facts_step < 0 || (r.facts_step > 0 && facts.size() != r.packets.size())) {
    throw std::invalid_argument("facts must have an entry a packet");
  }
  const std::size_t bytes = 3 * static_cast<std::size_t>(s.height) * static_cast<std::size_t>(s.width);
  if (images.size() % bytes != 0) throw std::invalid_argument("images must be (canvases, height, width, 3)");
  const auto canvases = static_cast<std::int64_t>(images.size() / bytes);
  const auto inside = [&](std::int32_t row, std::int32_t column) {
    return row >= 0 && row < s.height / s.side && column >= 0 && column < s.width / s.side;
  };
  for (const BlockPlacement& b : r.placements) {
    if (!inside(b.row, b.column) || !inside(b.canvas_row, b.canvas_column) || b.canvas < 0 || b.canvas >= canvases) {
      throw std::invalid_argument("a placement is outside the frame or the canvases");
    }
  }
}

}  // namespace

void place_blocks(media::Demuxer demuxer, const CanvasRequest& request, std::span<std::uint8_t> images,
                  std::span<FrameFacts> facts) {
  check(request, images, facts);
  const Orientation orientation = demuxer.info().orientation;
  const auto& starts = request.starts;
  ChosenPictures pictures(std::move(demuxer), request.packets, request.decoding,
                          [&](std::size_t slot) { return request.facts_step > 0 || starts[slot] < starts[slot + 1]; });
  std::optional<AreaGather> gather;
  std::size_t slot = 0;
  for (YuvPicture picture; pictures.next(picture, slot);) {
    if (!gather || gather->format() != picture.format) {
      gather.emplace(picture.format, orientation, request.size.height, request.size.width);
    }
    const auto begin = static_cast<std::size_t>(starts[slot]), end = static_cast<std::size_t>(starts[slot + 1]);
    place(*gather, picture, request.placements.subspan(begin, end - begin), request.size, images);
    if (request.facts_step > 0) facts[slot] = facts_of(*gather, picture, request.size, request.facts_step);
  }
}

}  // namespace ove::pipeline
