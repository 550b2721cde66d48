// Streams whose packets are pushed: pictures and pixels as they come.
#include <pybind11/numpy.h>
#include <pybind11/stl.h>

#include <array>
#include <cmath>
#include <limits>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>

#include "bindings/bindings.h"
#include "bindings/canvas.h"
#include "bindings/canvas_painting.h"
#include "bindings/gil.h"
#include "pipeline/live_decoder.h"
#include "tokens/patch_gather.h"

namespace py = pybind11;

namespace ove::bindings {

namespace {

codec::Bytes bytes_of(const py::buffer& data) {
  const py::buffer_info info = data.request();
  if (info.ndim > 0 && !PyBuffer_IsContiguous(info.view(), 'C')) throw py::value_error("bytes must be contiguous");
  const auto* begin = static_cast<const std::uint8_t*>(info.ptr);
  return {begin, begin + info.size * info.itemsize};
}

// The pixels of a picture of a stream.
class LiveFrame {
 public:
  LiveFrame(media::KeptPicture picture, Orientation orientation)
      : picture_(std::move(picture)), orientation_(orientation) {}

  std::int64_t packet() const { return picture_.packet; }

  py::array_t<float> patches(const Array<std::int32_t>& positions, const std::string& resize, int size, int patch_size,
                             std::array<float, 3> mean, std::array<float, 3> std) const {
    const CanvasOptions canvas = canvas_options(resize, size, patch_size, mean, std);
    const YuvFormat& format = picture_.yuv.format;
    const std::vector<tokens::PatchPosition> places = places_of(positions);
    const tokens::PatchGather gather(format, orientation_, canvas_geometry(format, orientation_, canvas),
                                     canvas.normalization);
    py::array_t<float> rows({positions.shape(0), static_cast<py::ssize_t>(gather.patch_length())});
    const std::span<float> out(rows.mutable_data(), static_cast<std::size_t>(rows.size()));
    const WithoutGil unlocked;
    gather.patches(picture_.yuv, places, out);
    return rows;
  }

  py::array_t<double> place_blocks(const Array<std::int32_t>& placements,
                                   py::array_t<std::uint8_t, py::array::c_style>& images, int side,
                                   int facts_step) const {
    const std::vector<pipeline::BlockPlacement> blocks = placements_of(placements);
    const std::span<std::uint8_t> samples(images.mutable_data(), static_cast<std::size_t>(images.size()));
    pipeline::CanvasPainter painter(canvas_size(images, side), samples, orientation_, facts_step);
    pipeline::FrameFacts facts;
    {
      const WithoutGil unlocked;
      painter.check(blocks);
      facts = painter.paint(picture_.yuv, blocks);
    }
    return facts_array({&facts, facts_step > 0 ? 1U : 0U});
  }

 private:
  media::KeptPicture picture_;
  Orientation orientation_;
};

// Calls from several threads take turns.
class LiveStream {
 public:
  LiveStream(const std::string& codec, const std::optional<py::buffer>& extradata, bool residual, bool packed,
             bool pixels, int threads, const LimitsDict& limits, int rotation, bool mirrored)
      : orientation_{rotation / 90, mirrored} {
    pipeline::LiveDecoder::Options options;
    options.codec = codec;
    if (extradata) options.extradata = bytes_of(*extradata);
    options.detail = {.amount = residual ? codec::Amount::kResidual : codec::Amount::kMotion,
                      .form = packed ? codec::ResidualForm::kPacked : codec::ResidualForm::kPlane};
    options.limits = limits_of(limits);
    options.pixels = pixels;
    options.threads = threads;
    decoder_ = std::make_unique<pipeline::LiveDecoder>(std::move(options));
  }

  void push(const py::buffer& packet, std::optional<double> pts, bool corrupt) {
    const py::buffer_info info = packet.request();
    if (info.ndim > 0 && !PyBuffer_IsContiguous(info.view(), 'C')) {
      throw py::value_error("a packet must be contiguous bytes");
    }
    const std::span<const std::uint8_t> bytes(static_cast<const std::uint8_t*>(info.ptr),
                                              static_cast<std::size_t>(info.size * info.itemsize));
    const WithoutGil unlocked;
    const std::lock_guard lock(mutex_);
    decoder_->push(bytes, pts.value_or(std::numeric_limits<double>::quiet_NaN()), corrupt);
  }
  void set_extradata(const py::buffer& extradata) {
    codec::Bytes bytes = bytes_of(extradata);
    const WithoutGil unlocked;
    const std::lock_guard lock(mutex_);
    decoder_->set_extradata(std::move(bytes));
  }
  void flush() {
    const WithoutGil unlocked;
    const std::lock_guard lock(mutex_);
    decoder_->flush();
  }
  py::object next() {
    reader::VideoPicture picture;
    {
      const WithoutGil unlocked;
      const std::lock_guard lock(mutex_);
      if (!decoder_->next(picture)) picture.codec = nullptr;
    }
    return picture.codec ? picture_object(std::move(picture), orientation_) : py::none();
  }
  void decide(std::int64_t packet, bool wanted) {
    const WithoutGil unlocked;
    const std::lock_guard lock(mutex_);
    decoder_->decide(packet, wanted);
  }
  std::int64_t pixels_decoded() {
    const WithoutGil unlocked;
    const std::lock_guard lock(mutex_);
    return decoder_->pixels_decoded();
  }
  std::vector<LiveFrame> take_frames() {
    std::vector<LiveFrame> frames;
    const WithoutGil unlocked;
    const std::lock_guard lock(mutex_);
    for (media::KeptPicture& picture : decoder_->take_pixels()) frames.emplace_back(std::move(picture), orientation_);
    return frames;
  }
  py::list take_losses() {
    std::vector<reader::Loss> taken;
    {
      const WithoutGil unlocked;
      const std::lock_guard lock(mutex_);
      taken = decoder_->take_losses();
    }
    py::list losses;
    for (const reader::Loss& loss : taken) losses.append(loss_tuple(loss));
    return losses;
  }

 private:
  Orientation orientation_;
  std::mutex mutex_;
  std::unique_ptr<pipeline::LiveDecoder> decoder_;
};

}  // namespace

void bind_stream(py::module_& m) {
  const tokens::Normalization clip;
  py::class_<LiveFrame>(m, "LiveFrame", "The pixels of a picture that a LiveStream gave.")
      .def_property_readonly("packet", &LiveFrame::packet, "Number of its packet.")
      .def("patches", &LiveFrame::patches, py::arg("positions"), py::kw_only(), py::arg("resize"), py::arg("size"),
           py::arg("patch_size"), py::arg("mean") = clip.mean, py::arg("std") = clip.std,
           "Normalised patches (N, 3*p*p) float32 at positions (N, 2), patch row and column; as gather_patches.")
      .def("place_blocks", &LiveFrame::place_blocks, py::arg("placements"), py::arg("images").noconvert(),
           py::kw_only(), py::arg("side"), py::arg("facts_step") = 0,
           "Writes blocks (N, 5) of the picture into `images`; gives facts (1, 13), (0, 13) where `facts_step` is 0.\n"
           "As the function place_blocks.");
  py::class_<LiveStream>(m, "LiveStream", "Decodes packets that are pushed; see ove_codec.Stream.")
      .def(py::init<const std::string&, const std::optional<py::buffer>&, bool, bool, bool, int, const LimitsDict&, int,
                    bool>(),
           py::arg("codec"), py::arg("extradata") = py::none(), py::kw_only(), py::arg("residual") = true,
           py::arg("packed") = false, py::arg("pixels") = false, py::arg("threads") = 1,
           py::arg("limits") = LimitsDict(), py::arg("rotation") = 0, py::arg("mirrored") = false)
      .def("push", &LiveStream::push, py::arg("packet"), py::arg("pts"), py::kw_only(), py::arg("corrupt") = false,
           "One access unit and its time in seconds, None where it has none.")
      .def("set_extradata", &LiveStream::set_extradata, py::arg("extradata"))
      .def("flush", &LiveStream::flush)
      .def("next", &LiveStream::next, "The next picture in display order, None where there is none yet.")
      .def("decide", &LiveStream::decide, py::arg("packet"), py::arg("wanted"),
           "Whether the pixels of a picture are wanted: to be told of every picture that next() gave.")
      .def("take_frames", &LiveStream::take_frames, "The wanted frames that have come out since the last call.")
      .def_property_readonly("pixels_decoded", &LiveStream::pixels_decoded, "Packets whose pixels were decoded.")
      .def("take_losses", &LiveStream::take_losses,
           "(first packet, packet behind the last, seconds or None, reason) of the losses since the last call.");
}

}  // namespace ove::bindings
