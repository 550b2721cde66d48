// What Python says of blocks on canvases, and is told of the frames.
#pragma once

#include <pybind11/numpy.h>

#include <cstdint>
#include <span>
#include <vector>

#include "bindings/bindings.h"
#include "pipeline/canvas_painter.h"

namespace ove::bindings {

// Of rows (N, 5): block row and column in the frame, canvas, and block row and column there.
std::vector<pipeline::BlockPlacement> placements_of(const Array<std::int32_t>& array);
// Throws std::invalid_argument for images that are not (canvases, height, width, 3).
pipeline::CanvasSize canvas_size(const pybind11::array_t<std::uint8_t, pybind11::array::c_style>& images, int side);
// (frames, 13): mean, standard deviation and range of luma, red, green and blue, and the share of green screen.
pybind11::array_t<double> facts_array(std::span<const pipeline::FrameFacts> facts);

}  // namespace ove::bindings
