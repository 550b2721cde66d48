#include <pybind11/numpy.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "bindings/bindings.h"
#include "bindings/canvas.h"
#include "bindings/gil.h"
#include "bindings/source.h"
#include "common/error.h"
#include "common/geometry.h"
#include "media/pixel_decoder.h"
#include "pipeline/chosen_pictures.h"
#include "reader/reading_plan.h"
#include "tokens/patch_gather.h"

namespace py = pybind11;

namespace ove::bindings {

namespace {

// Calls visit(slot, picture, gather) for every decoded picture of `packets` that `needs(slot)`, in output order; `slot`
// is its place among `packets`.
template <class Needs, class Visit>
void for_each_picture(media::Demuxer demuxer, const Array<std::int64_t>& packets, const pipeline::Decoding& decoding,
                      const CanvasOptions& canvas, Needs&& needs, Visit&& visit) {
  const std::span<const std::int64_t> wanted(packets.data(), static_cast<std::size_t>(packets.size()));
  const Orientation orientation = demuxer.info().orientation;
  pipeline::ChosenPictures pictures(std::move(demuxer), wanted, decoding, needs);
  std::optional<tokens::PatchGather> gather;
  std::size_t slot = 0;
  for (YuvPicture picture; pictures.next(picture, slot);) {
    const YuvFormat& format = picture.format;
    if (!gather || gather->format() != format) {
      gather.emplace(format, orientation, canvas_geometry(format, orientation, canvas), canvas.normalization);
    }
    visit(slot, picture, *gather);
  }
}

// A NumPy array that takes the memory over.
template <class T>
py::array_t<T> own(std::unique_ptr<T[]> memory, std::vector<py::ssize_t> shape) {
  T* data = memory.get();
  py::capsule owner(data, [](void* p) { delete[] static_cast<T*>(p); });
  memory.release();
  return py::array_t<T>(std::move(shape), data, owner);
}

py::array_t<float> gather_patches(py::handle source, const Array<std::int64_t>& packets,
                                  const Array<std::int64_t>& starts, const Array<std::int32_t>& positions,
                                  const std::string& resize, int size, int patch_size, std::array<int, 2> source_size,
                                  std::array<float, 3> mean, std::array<float, 3> std, int threads,
                                  std::shared_ptr<const reader::VideoIndex> index, std::int64_t max_luma_samples) {
  const std::span<const std::int64_t> bounds(starts.data(), static_cast<std::size_t>(starts.size()));
  if (starts.size() != packets.size() + 1 || bounds.front() != 0 || bounds.back() != positions.shape(0) ||
      !std::is_sorted(bounds.begin(), bounds.end())) {
    throw std::invalid_argument("starts must rise from 0 to the number of positions, one more than packets");
  }
  const CanvasOptions canvas = canvas_options(resize, size, patch_size, mean, std);
  const std::vector<tokens::PatchPosition> places = places_of(positions);
  media::Demuxer demuxer = open_demuxer(source);

  const std::size_t length = 3 * static_cast<std::size_t>(patch_size) * static_cast<std::size_t>(patch_size);
  std::unique_ptr<float[]> rows;
  {
    const WithoutGil unlocked;
    rows = std::make_unique_for_overwrite<float[]>(places.size() * length);
    for_each_picture(
        std::move(demuxer), packets, {index, threads, max_luma_samples}, canvas,
        [&](std::size_t slot) { return bounds[slot] < bounds[slot + 1]; },
        [&](std::size_t slot, const YuvPicture& picture, const tokens::PatchGather& gather) {
          const Geometry& g = gather.geometry();
          if (g.source_width != source_size[0] || g.source_height != source_size[1]) {
            throw std::invalid_argument("the positions are for pictures displayed as " +
                                        std::to_string(source_size[0]) + "x" + std::to_string(source_size[1]) +
                                        ", but those of the video are " + std::to_string(g.source_width) + "x" +
                                        std::to_string(g.source_height));
          }
          const auto begin = static_cast<std::size_t>(bounds[slot]), end = static_cast<std::size_t>(bounds[slot + 1]);
          gather.patches(picture, std::span(places).subspan(begin, end - begin),
                         {rows.get() + begin * length, (end - begin) * length});
        });
  }
  return own(std::move(rows), {positions.shape(0), static_cast<py::ssize_t>(length)});
}

// Sample: float, or uint8 for canvases in [0, 1], which are stored times 255.
template <class Sample>
py::array gather_frames(py::handle source, const Array<std::int64_t>& packets, const std::string& resize, int size,
                        std::array<float, 3> mean, std::array<float, 3> std, int threads,
                        std::shared_ptr<const reader::VideoIndex> index, std::int64_t max_luma_samples) {
  const CanvasOptions canvas = canvas_options(resize, size, 1, mean, std);
  if (packets.size() == 0) throw std::invalid_argument("packets must name at least one picture");
  media::Demuxer demuxer = open_demuxer(source);
  std::unique_ptr<Sample[]> frames;
  std::vector<float> frame;  // one picture, before it is stored
  py::ssize_t height = 0, width = 0;
  {
    const WithoutGil unlocked;
    for_each_picture(
        std::move(demuxer), packets, {index, threads, max_luma_samples}, canvas, [](std::size_t) { return true; },
        [&](std::size_t slot, const YuvPicture& picture, const tokens::PatchGather& gather) {
          height = gather.geometry().canvas_height();
          width = gather.geometry().canvas_width();
          const std::size_t length = 3 * static_cast<std::size_t>(height) * static_cast<std::size_t>(width);
          if (!frames) {
            frames = std::make_unique_for_overwrite<Sample[]>(static_cast<std::size_t>(packets.size()) * length);
          }
          Sample* const out = frames.get() + slot * length;
          if constexpr (std::is_same_v<Sample, float>) {
            gather.canvas(picture, {out, length});
          } else {
            frame.resize(length);
            gather.canvas(picture, frame);
            for (std::size_t i = 0; i < length; ++i) out[i] = static_cast<std::uint8_t>(frame[i] * 255.0F + 0.5F);
          }
        });
  }
  return own(std::move(frames), {packets.size(), 3, height, width});
}

// The planes as arrays of Sample, checked against the format.
template <class Sample>
YuvPicture picture_of(const YuvFormat& format, const std::vector<py::array>& planes) {
  YuvPicture picture{format, {}, {}};
  for (std::size_t i = 0; i < planes.size(); ++i) {
    const int width = i ? format.chroma_width() : format.width, height = i ? format.chroma_height() : format.height;
    if (!py::isinstance<py::array_t<Sample>>(planes[i]) || planes[i].ndim() != 2 || planes[i].shape(0) != height ||
        planes[i].shape(1) != width || planes[i].strides(1) != static_cast<py::ssize_t>(sizeof(Sample))) {
      throw std::invalid_argument("planes must be contiguous rows of " +
                                  std::string(sizeof(Sample) > 1 ? "uint16" : "uint8") +
                                  " samples for this bit_depth, the chroma planes of " +
                                  std::to_string(format.chroma_width()) + "x" + std::to_string(format.chroma_height()));
    }
    picture.planes[i] = static_cast<const std::uint8_t*>(planes[i].data());
    picture.strides[i] = planes[i].strides(0);
  }
  return picture;
}

py::array_t<float> gather_planes(const std::vector<py::array>& planes, const Array<std::int32_t>& positions,
                                 int bit_depth, const std::string& matrix, bool full_range,
                                 std::array<int, 2> chroma_shift, std::array<float, 2> chroma_site, int quarter_turns,
                                 bool mirrored, const std::string& resize, int size, int patch_size,
                                 std::array<float, 3> mean, std::array<float, 3> std) {
  if ((planes.size() != 1 && planes.size() != 3) || planes[0].ndim() != 2) {
    throw std::invalid_argument("planes must be one or three arrays of two dimensions");
  }
  const YuvFormat format =
      yuv_format(static_cast<int>(planes[0].shape(1)), static_cast<int>(planes[0].shape(0)),
                 static_cast<int>(planes.size()), bit_depth, matrix, full_range, chroma_shift, chroma_site);
  const CanvasOptions canvas = canvas_options(resize, size, patch_size, mean, std);
  const Orientation orientation{quarter_turns, mirrored};
  const tokens::PatchGather gather(format, orientation, canvas_geometry(format, orientation, canvas),
                                   canvas.normalization);
  const YuvPicture picture =
      bit_depth > 8 ? picture_of<std::uint16_t>(format, planes) : picture_of<std::uint8_t>(format, planes);
  const std::vector<tokens::PatchPosition> places = places_of(positions);
  py::array_t<float> rows({positions.shape(0), static_cast<py::ssize_t>(gather.patch_length())});
  const std::span<float> out(rows.mutable_data(), static_cast<std::size_t>(rows.size()));
  const WithoutGil unlocked;
  gather.patches(picture, places, out);
  return rows;
}

}  // namespace

void bind_tokens(py::module_& m) {
  const tokens::Normalization clip;
  m.attr("CLIP_MEAN") = py::tuple(py::cast(clip.mean));
  m.attr("CLIP_STD") = py::tuple(py::cast(clip.std));
  m.def(
      "gather_patches", &gather_patches, py::arg("source"), py::arg("packets"), py::arg("starts"), py::arg("positions"),
      py::kw_only(), py::arg("resize"), py::arg("size"), py::arg("patch_size"), py::arg("source_size"),
      py::arg("mean") = clip.mean, py::arg("std") = clip.std, py::arg("threads") = 0, py::arg("index") = py::none(),
      py::arg("max_luma_samples") = codec::Limits().max_luma_samples,
      "Normalised patches (N, 3*p*p) float32 of the pictures of the given packets (T,): the rows starts[i] to\n"
      "starts[i+1] of positions (N, 2), patch row and column, belong to packets[i]. `source_size` is the width and\n"
      "height that they must be shown with; with the `index` of an HEVC video, nothing is read that they do not need.");
  m.def("gather_frames", &gather_frames<float>, py::arg("source"), py::arg("packets"), py::kw_only(), py::arg("resize"),
        py::arg("size"), py::arg("mean") = clip.mean, py::arg("std") = clip.std, py::arg("threads") = 0,
        py::arg("index") = py::none(), py::arg("max_luma_samples") = codec::Limits().max_luma_samples,
        "Normalised R'G'B' frames (T, 3, H, W) float32 of the pictures of the given packets (T,).");
  m.def("gather_byte_frames", &gather_frames<std::uint8_t>, py::arg("source"), py::arg("packets"), py::kw_only(),
        py::arg("resize"), py::arg("size"), py::arg("mean") = std::array<float, 3>{},
        py::arg("std") = std::array<float, 3>{1, 1, 1}, py::arg("threads") = 0, py::arg("index") = py::none(),
        py::arg("max_luma_samples") = codec::Limits().max_luma_samples,
        "The same as R'G'B' (T, 3, H, W) uint8, 0 to 255, which is all that it allocates.");
  m.def(
      "gather_planes", &gather_planes, py::arg("planes"), py::arg("positions"), py::kw_only(), py::arg("bit_depth") = 8,
      py::arg("matrix") = "bt601", py::arg("full_range") = false, py::arg("chroma_shift") = std::array<int, 2>{1, 1},
      py::arg("chroma_site") = std::array<float, 2>{0, 0.5F}, py::arg("quarter_turns") = 0, py::arg("mirrored") = false,
      py::arg("resize"), py::arg("size"), py::arg("patch_size"), py::arg("mean") = clip.mean, py::arg("std") = clip.std,
      "Normalised patches (N, 3*p*p) float32 of one picture given as its planes, Y, Cb, Cr or R, G, B or Y alone:\n"
      "(H, W) uint8, uint16 above 8 bits. chroma_shift is log2 of luma samples per chroma sample (x, y); chroma_site\n"
      "is where a chroma sample sits among them, 0 the first, 1/2 midway; positions (N, 2) are patch rows and "
      "columns.");
}

}  // namespace ove::bindings
