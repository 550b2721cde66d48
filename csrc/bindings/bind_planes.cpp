// Decoded planes on their way to a GPU: the rows that selected patches touch, one behind the other in pinned memory.
#include <pybind11/numpy.h>
#include <pybind11/stl.h>

#include <array>
#include <cstdint>
#include <cstring>
#include <optional>
#include <stdexcept>
#include <string>

#include "bindings/bindings.h"
#include "bindings/canvas.h"
#include "bindings/gil.h"
#include "bindings/source.h"
#include "codec/limits.h"
#include "pipeline/chosen_pictures.h"

namespace py = pybind11;

namespace ove::bindings {

namespace {

using NvdecArgument = std::array<std::uintptr_t, 2>;  // addresses of a CUDA context, and of a stream of it

std::optional<media::Nvdec> nvdec_of(const std::optional<NvdecArgument>& addresses) {
  if (!addresses) return std::nullopt;
  return media::Nvdec{reinterpret_cast<void*>((*addresses)[0]), reinterpret_cast<void*>((*addresses)[1])};
}

py::bytes bytes_of(const tokens::ClipPlanes& clip) {
  return py::bytes(reinterpret_cast<const char*>(&clip), sizeof(clip));
}

class StagedPictures {
 public:
  StagedPictures(py::handle source, const Array<std::int64_t>& packets, const std::string& resize, int size,
                 int patch_size, std::array<int, 2> source_size, std::array<float, 3> mean, std::array<float, 3> std,
                 int threads, std::shared_ptr<const reader::VideoIndex> index, std::int64_t max_luma_samples,
                 std::optional<NvdecArgument> nvdec)
      : canvas_(canvas_options(resize, size, patch_size, mean, std)), source_size_(source_size) {
    media::Demuxer demuxer = open_demuxer(source);
    orientation_ = demuxer.info().orientation;
    const WithoutGil unlocked;
    pictures_.emplace(std::move(demuxer), std::span(packets.data(), static_cast<std::size_t>(packets.size())),
                      pipeline::Decoding{std::move(index), threads, max_luma_samples, nvdec_of(nvdec)},
                      [](std::size_t) { return true; });
  }

  // Its place among the packets.
  std::optional<std::size_t> next() {
    std::size_t slot = 0;
    bool more = false;
    {
      const WithoutGil unlocked;
      more = pictures_->next(picture_, slot);
    }
    if (!more) return std::nullopt;
    formula_ = tokens::make_patch_formula(
        picture_.format, orientation_, canvas_geometry(picture_.format, orientation_, canvas_), canvas_.normalization);
    if (formula_.source_width() != source_size_[0] || formula_.source_height() != source_size_[1]) {
      throw std::invalid_argument("the selection is for pictures of " + std::to_string(source_size_[0]) + "x" +
                                  std::to_string(source_size_[1]) + ", but those of this video are " +
                                  std::to_string(formula_.source_width()) + "x" +
                                  std::to_string(formula_.source_height()));
    }
    return slot;
  }

  py::object frame() const {
    if (!picture_.on_gpu) return py::none();
    auto kept = std::make_unique<std::shared_ptr<const void>>(pictures_->frame());
    py::capsule capsule(kept.get(), [](void* frame) { delete static_cast<std::shared_ptr<const void>*>(frame); });
    static_cast<void>(kept.release());
    return capsule;
  }

  py::tuple stage(const Array<std::int32_t>& positions, std::uintptr_t memory, std::int64_t used, std::int64_t capacity,
                  std::uintptr_t device) const {
    const YuvFormat& format = picture_.format;
    if (picture_.planes[0] == nullptr) throw std::invalid_argument("next() has not returned a picture");
    const auto touched = tokens::touched_rows(formula_, places_of(positions));
    const int sample_bytes = format.bit_depth > 8 ? 2 : 1;
    tokens::ClipPlanes clip;
    clip.formula = formula_;
    clip.frames = 1;
    clip.sample_bytes = sample_bytes;
    if (picture_.on_gpu) {
      for (std::size_t i = 0; i < static_cast<std::size_t>(format.components); ++i) {
        clip.planes[i] = {picture_.planes[i], 0, picture_.strides[i], picture_.steps[i]};
      }
      clip.low_bits = picture_.low_bits;
      return py::make_tuple(used, bytes_of(clip));
    }
    struct Part {
      const std::uint8_t* from;
      std::ptrdiff_t stride;
      std::int64_t bytes, to;
      int rows;
    };
    std::array<Part, 3> parts{};
    for (int i = 0; i < format.components; ++i) {
      const auto [begin, end] = touched[i > 0];
      constexpr std::int64_t kAlignment = 16;
      const std::int64_t bytes = std::int64_t{i > 0 ? format.chroma_width() : format.width} * sample_bytes;
      const std::int64_t stride = (bytes + kAlignment - 1) / kAlignment * kAlignment;
      const std::ptrdiff_t from_stride = picture_.strides[static_cast<std::size_t>(i)];
      parts[static_cast<std::size_t>(i)] = {picture_.planes[static_cast<std::size_t>(i)] + from_stride * begin,
                                            from_stride, bytes, used, end - begin};
      // The first row of the picture, whether it went up or not.
      const std::uintptr_t first = device + static_cast<std::uintptr_t>(used - begin * stride);
      clip.planes[static_cast<std::size_t>(i)] = {reinterpret_cast<const std::uint8_t*>(first), 0, stride,
                                                  sample_bytes};
      used += stride * (end - begin);
    }
    if (used > capacity) return py::make_tuple(used, py::none());
    {
      const WithoutGil unlocked;
      for (int i = 0; i < format.components; ++i) {
        const Part& part = parts[static_cast<std::size_t>(i)];
        const std::int64_t stride = clip.planes[static_cast<std::size_t>(i)].row_stride;
        auto* to = reinterpret_cast<std::uint8_t*>(memory) + part.to;
        for (int row = 0; row < part.rows; ++row) {
          std::memcpy(to + stride * row, part.from + part.stride * row, static_cast<std::size_t>(part.bytes));
        }
      }
    }
    return py::make_tuple(used, bytes_of(clip));
  }

 private:
  CanvasOptions canvas_;
  std::array<int, 2> source_size_;
  Orientation orientation_;
  std::optional<pipeline::ChosenPictures> pictures_;
  YuvPicture picture_;
  tokens::PatchFormula formula_;
};

}  // namespace

void bind_planes(py::module_& m) {
  const tokens::Normalization clip;
  py::class_<StagedPictures> staged(m, "StagedPictures",
                                    "Decoded planes of chosen pictures, for _cuda.gather_patches.");
  staged.def(py::init<py::handle, const Array<std::int64_t>&, const std::string&, int, int, std::array<int, 2>,
                      std::array<float, 3>, std::array<float, 3>, int, std::shared_ptr<const reader::VideoIndex>,
                      std::int64_t, std::optional<NvdecArgument>>(),
             py::arg("source"), py::arg("packets"), py::kw_only(), py::arg("resize"), py::arg("size"),
             py::arg("patch_size"), py::arg("source_size"), py::arg("mean") = clip.mean, py::arg("std") = clip.std,
             py::arg("threads") = 0, py::arg("index") = py::none(),
             py::arg("max_luma_samples") = codec::Limits().max_luma_samples, py::arg("nvdec") = py::none(),
             "nvdec: addresses of the CUDA context, and of its stream, on which NVDEC decodes what it knows.");
  staged.def("next", &StagedPictures::next,
             "Decodes the next picture, in output order: its place among the packets, None at the end.");
  staged.def_property_readonly("frame", &StagedPictures::frame,
                               "What keeps the last picture where it lies on a GPU, until the work that reads it is "
                               "done; None for a picture in\n"
                               "the CPU's memory. At most StagedPictures.most_frames of them may be kept.");
  staged.attr("most_frames") = media::PixelDecoder::kMostFrames;
  staged.def(
      "stage", &StagedPictures::stage, py::arg("positions"), py::arg("memory"), py::arg("used"), py::arg("capacity"),
      py::arg("device"),
      "Copies the rows of the picture that its patches (N, 2) touch to `memory`, an address where `capacity`\n"
      "bytes lie, behind the `used` ones; a picture that lies on a GPU stays where it is. Gives the bytes then\n"
      "used and what _cuda.gather_patches reads of the picture once `memory` was copied to the address `device`;\n"
      "None, and nothing is copied, where there is too little room.");
}

}  // namespace ove::bindings
