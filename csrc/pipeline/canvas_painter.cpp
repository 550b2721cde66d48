#include "pipeline/canvas_painter.h"

#include <algorithm>
#include <cstddef>
#include <stdexcept>
#include <vector>

namespace ove::pipeline {

namespace {

// Neighbours that stay neighbours are written at once.
bool follows(const BlockPlacement& a, const BlockPlacement& b) {
  return b.row == a.row && b.column == a.column + 1 && b.canvas == a.canvas && b.canvas_row == a.canvas_row &&
         b.canvas_column == a.canvas_column + 1;
}

}  // namespace

CanvasPainter::CanvasPainter(const CanvasSize& size, std::span<std::uint8_t> images, Orientation orientation,
                             int facts_step)
    : size_(size), images_(images), orientation_(orientation), facts_step_(facts_step) {
  if (size.side <= 0 || size.height <= 0 || size.width <= 0 || size.height % size.side != 0 ||
      size.width % size.side != 0) {
    throw std::invalid_argument("the canvas must be a whole number of blocks");
  }
  if (facts_step < 0) throw std::invalid_argument("facts_step must not be negative");
  const std::size_t bytes = 3 * static_cast<std::size_t>(size.height) * static_cast<std::size_t>(size.width);
  if (images.size() % bytes != 0) throw std::invalid_argument("images must be (canvases, height, width, 3)");
  canvases_ = static_cast<std::int64_t>(images.size() / bytes);
}

void CanvasPainter::check(std::span<const BlockPlacement> placements) const {
  const auto inside = [&](std::int32_t row, std::int32_t column) {
    return row >= 0 && row < size_.height / size_.side && column >= 0 && column < size_.width / size_.side;
  };
  for (const BlockPlacement& b : placements) {
    if (!inside(b.row, b.column) || !inside(b.canvas_row, b.canvas_column) || b.canvas < 0 || b.canvas >= canvases_) {
      throw std::invalid_argument("a placement is outside the frame or the canvases");
    }
  }
}

void CanvasPainter::place(const YuvPicture& picture, std::span<const BlockPlacement> placements) const {
  const std::ptrdiff_t row_bytes = 3 * static_cast<std::ptrdiff_t>(size_.width);
  for (std::size_t i = 0, next = 0; i < placements.size(); i = next) {
    for (next = i + 1; next < placements.size() && follows(placements[next - 1], placements[next]);) ++next;
    const BlockPlacement& b = placements[i];
    std::uint8_t* const out =
        images_.data() +
        row_bytes * (static_cast<std::ptrdiff_t>(b.canvas) * size_.height + b.canvas_row * size_.side) +
        3 * static_cast<std::ptrdiff_t>(b.canvas_column) * size_.side;
    gather_->rectangle(picture,
                       {b.column * size_.side, b.row * size_.side, static_cast<int>(next - i) * size_.side, size_.side},
                       out, row_bytes);
  }
}

FrameFacts CanvasPainter::facts_of(const YuvPicture& picture) const {
  std::vector<std::uint8_t> row(3 * static_cast<std::size_t>(size_.width));
  FrameSums sums;
  for (int y = std::min(facts_step_, size_.height) / 2; y < size_.height; y += facts_step_) {
    gather_->rectangle(picture, {0, y, size_.width, 1}, row.data(), 0);
    sums.add(row);
  }
  return sums.facts();
}

FrameFacts CanvasPainter::paint(const YuvPicture& picture, std::span<const BlockPlacement> placements) {
  if (!gather_ || gather_->format() != picture.format) {
    gather_.emplace(picture.format, orientation_, size_.height, size_.width);
  }
  place(picture, placements);
  return facts_step_ > 0 ? facts_of(picture) : FrameFacts();
}

}  // namespace ove::pipeline
