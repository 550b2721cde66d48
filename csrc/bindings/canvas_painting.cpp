#include "bindings/canvas_painting.h"

#include <stdexcept>

namespace py = pybind11;

namespace ove::bindings {

std::vector<pipeline::BlockPlacement> placements_of(const Array<std::int32_t>& array) {
  if (array.ndim() != 2 || array.shape(1) != 5) throw std::invalid_argument("placements must be (N, 5)");
  std::vector<pipeline::BlockPlacement> placements(static_cast<std::size_t>(array.shape(0)));
  const std::int32_t* from = array.data();
  for (pipeline::BlockPlacement& p : placements) {
    p = {from[0], from[1], from[2], from[3], from[4]};
    from += 5;
  }
  return placements;
}

pipeline::CanvasSize canvas_size(const py::array_t<std::uint8_t, py::array::c_style>& images, int side) {
  if (images.ndim() != 4 || images.shape(3) != 3) {
    throw std::invalid_argument("images must be (canvases, height, width, 3)");
  }
  return {static_cast<int>(images.shape(1)), static_cast<int>(images.shape(2)), side};
}

py::array_t<double> facts_array(std::span<const pipeline::FrameFacts> facts) {
  py::array_t<double> out({std::ssize(facts), py::ssize_t{13}});
  double* to = out.mutable_data();
  for (const pipeline::FrameFacts& f : facts) {
    for (const pipeline::FrameFacts::Channel& c : {f.luma, f.red, f.green, f.blue}) {
      *to++ = c.mean, *to++ = c.deviation, *to++ = c.range;
    }
    *to++ = f.green_screen;
  }
  return out;
}

}  // namespace ove::bindings
