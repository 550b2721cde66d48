#include <pybind11/numpy.h>
#include <pybind11/stl.h>

#include <array>
#include <cstdint>
#include <cstdio>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include "bindings/bindings.h"
#include "bindings/gil.h"
#include "reader/video_reader.h"

namespace py = pybind11;

namespace ove::bindings {

namespace {

using codec::CodecPicture;
using codec::Slice;

const char* structure_name(codec::Structure structure) {
  switch (structure) {
    case codec::Structure::kFrame:
      return "frame";
    case codec::Structure::kMbaff:
      return "mbaff";
    case codec::Structure::kTopField:
      return "top";
    case codec::Structure::kBottomField:
      return "bottom";
    case codec::Structure::kFieldPair:
      break;
  }
  return "field pair";
}

// A read-only array over memory that `owner` keeps alive. Pictures still to be decoded may refer to the same memory.
template <class T>
py::array view(const T* data, std::vector<py::ssize_t> shape, std::shared_ptr<const void> owner) {
  auto* handle = new std::shared_ptr<const void>(std::move(owner));
  const py::capsule base(handle, [](void* p) { delete static_cast<std::shared_ptr<const void>*>(p); });
  py::array array(py::dtype::of<T>(), std::move(shape), data, base);
  array.attr("flags").attr("writeable") = false;
  return array;
}

// A picture as Python sees it. Planes that the decoder keeps in another form are spread out on first use.
class Picture {
 public:
  Picture(reader::VideoPicture picture, Orientation orientation)
      : codec_(std::move(picture.codec)), index_(picture.index), pts_(picture.pts), orientation_(orientation) {}

  const CodecPicture& codec() const { return *codec_; }
  const std::shared_ptr<const CodecPicture>& shared() const { return codec_; }
  std::int64_t index() const { return index_; }
  double pts() const { return pts_; }
  int rotation() const { return 90 * orientation_.quarter_turns; }
  bool mirrored() const { return orientation_.mirrored; }

  py::array mv() const {
    check_motion();
    return view(reinterpret_cast<const std::int16_t*>(buffers().mv.data()), {height4(), width4(), 2, 2}, codec_);
  }
  py::array residual() {
    buffers();
    if (!codec_->detail.has_residual()) {
      throw std::logic_error("the residual was not decoded: read the picture with residual=True");
    }
    const std::vector<py::ssize_t> shape{codec_->height(), codec_->width()};
    if (codec_->detail.form == codec::ResidualForm::kPacked) {
      return plane<std::int16_t>("residual", shape, &CodecPicture::copy_residual);
    }
    return view(codec_->residual->samples.data(), shape, codec_);
  }
  py::array bits() const {
    const codec::PictureFormat& format = *codec_->format;
    return view(buffers().bits.data(), {format.rows(format.log2_bits), format.columns(format.log2_bits)}, codec_);
  }
  py::array block_bits() { return plane<float>("block_bits", {height4(), width4()}, &CodecPicture::copy_block_bits); }
  py::array pred() {
    check_motion();
    return plane<std::uint8_t>("pred", {height4(), width4()}, &CodecPicture::copy_pred);
  }
  py::array ref_poc() {
    check_motion();
    return plane<std::int32_t>("ref_poc", {height4(), width4(), 2}, &CodecPicture::copy_ref_poc);
  }
  py::array qp() { return plane<std::int8_t>("qp", {height4(), width4()}, &CodecPicture::copy_qp); }
  py::array field() { return plane<std::uint8_t>("field", {height4(), width4()}, &CodecPicture::copy_field); }
  py::array cu_size() { return plane<std::uint8_t>("cu_size", {height4(), width4()}, &CodecPicture::copy_block_size); }
  py::array skip() {
    return plane<std::uint8_t>("skip", {height4(), width4()}, &CodecPicture::copy_skip).attr("view")("?");
  }

 private:
  const codec::PictureBuffers& buffers() const {
    if (!codec_->buffers) throw std::logic_error("only the headers of this picture were decoded");
    return *codec_->buffers;
  }
  void check_motion() const {
    buffers();
    if (!codec_->detail.has_motion()) {
      throw std::logic_error("the motion was not decoded: read the picture with motion=True");
    }
  }
  py::ssize_t width4() const { return codec_->width4(); }
  py::ssize_t height4() const { return codec_->height4(); }

  template <class T>
  py::array plane(const char* name, std::vector<py::ssize_t> shape, void (CodecPicture::*copy)(T*) const) {
    buffers();
    auto& cached = planes_[name];
    if (!cached) {
      py::ssize_t size = 1;
      for (const py::ssize_t n : shape) size *= n;
      auto memory = std::make_shared<std::vector<T>>(static_cast<std::size_t>(size));
      {
        const WithoutGil unlocked;
        ((*codec_).*copy)(memory->data());
      }
      cached = view(memory->data(), std::move(shape), memory);
    }
    return *cached;
  }

  std::shared_ptr<const CodecPicture> codec_;
  std::int64_t index_;
  double pts_;
  Orientation orientation_;
  std::map<std::string, std::optional<py::array>> planes_;
};

py::list ref_lists(const Slice& slice, const std::function<py::object(const codec::RefEntry&)>& value) {
  py::list lists;
  for (const auto& list : slice.ref_list) {
    py::list values;
    for (const auto& entry : list) values.append(value(entry));
    lists.append(values);
  }
  return lists;
}

py::object weights(const Slice& slice) {
  if (!slice.has_weights) return py::none();
  py::list lists;
  for (const auto& list : slice.luma_weights) {
    py::list values;
    for (const auto& w : list) values.append(py::make_tuple(slice.luma_log2_weight_denom, w.weight, w.offset));
    lists.append(values);
  }
  return lists;
}

std::string picture_text(const Picture& picture) {
  const CodecPicture& codec = picture.codec();
  std::array<char, 32> seconds{};
  std::snprintf(seconds.data(), seconds.size(), "%.3f s", picture.pts());
  return "Picture(" + std::to_string(picture.index()) + ": " + type_letter(codec.type) + ", " + seconds.data() + ", " +
         std::to_string(codec.width()) + "x" + std::to_string(codec.height()) + ", POC " + std::to_string(codec.poc) +
         ")";
}

}  // namespace

py::object picture_object(reader::VideoPicture picture, Orientation orientation) {
  return py::cast(Picture(std::move(picture), orientation));
}

char type_letter(codec::SliceType type) { return "BPI"[static_cast<int>(type)]; }

std::shared_ptr<const CodecPicture> codec_picture(const py::object& picture) {
  if (!py::isinstance<Picture>(picture)) throw py::type_error("picture must be one that a Video gave");
  return picture.cast<const Picture&>().shared();
}

void bind_picture(py::module_& m) {
  py::class_<Slice>(m, "Slice", "What a slice header says that motion refers to.")
      .def_property_readonly(
          "type", [](const Slice& s) { return std::string(1, type_letter(s.type)); }, "'I', 'P' or 'B'")
      .def_readonly("address", &Slice::address, "First CTB, in raster scan (SliceAddrRs).")
      .def_readonly("qp", &Slice::qp, "SliceQpY")
      .def_readonly("data_bits", &Slice::data_bits,
                    "Bits of its slice data, emulation prevention bytes left out: the sum of its CTUs' `bits`.")
      .def_property_readonly(
          "ref_poc", [](const Slice& s) { return ref_lists(s, [](auto& e) { return py::int_(e.poc); }); },
          "[list 0, list 1], each the POC of its references by ref_idx.")
      .def_property_readonly(
          "is_long_term",
          [](const Slice& s) { return ref_lists(s, [](auto& e) { return py::bool_(e.is_long_term); }); },
          "[list 0, list 1], each whether its references are long-term pictures.")
      .def_property_readonly(
          "weights", &weights,
          "None, or [list 0, list 1] of (luma_log2_weight_denom, weight, offset) by ref_idx (7.4.7.3).");

  py::class_<Picture>(m, "Picture",
                      "Motion, residual and more of one decoded picture. Arrays cover the coded picture, before the\n"
                      "conformance window is cut out and before rotation; they are read-only and share the decoder's\n"
                      "memory. h4 and w4 are the coded height and width divided by 4.")
      .def_property_readonly("index", &Picture::index, "Number in display order (in decoding order if read so).")
      .def_property_readonly("pts", &Picture::pts, "Presentation time in seconds.")
      .def_property_readonly(
          "motion_only", [](const Picture&) { return false; },
          "Whether there is motion alone, as in a MotionPicture: False.")
      .def_property_readonly(
          "poc", [](const Picture& p) { return p.codec().poc; }, "PicOrderCntVal")
      .def_property_readonly(
          "type", [](const Picture& p) { return std::string(1, type_letter(p.codec().type)); },
          "'I', 'P' or 'B': B with any B slice, else P with any P slice.")
      .def_property_readonly(
          "packet", [](const Picture& p) { return p.codec().tag.packet; }, "Number of its packet in the video stream.")
      .def_property_readonly(
          "random_access", [](const Picture& p) { return p.codec().random_access; },
          "Whether it is an IRAP picture (IDR, BLA or CRA).")
      .def_property_readonly(
          "structure", [](const Picture& p) { return structure_name(p.codec().structure); },
          "'frame'; 'field pair', an interlaced frame as it is shown, coded as two fields or as MBAFF. Pictures as "
          "they\n"
          "are stored also are 'mbaff', a frame whose macroblock pairs may be fields, 'top' or 'bottom', a field.")
      .def_property_readonly("temporal_id", [](const Picture& p) { return p.codec().temporal_id; })
      .def_property_readonly(
          "width", [](const Picture& p) { return p.codec().format->window.width; },
          "Luma samples shown, before rotation.")
      .def_property_readonly(
          "height", [](const Picture& p) { return p.codec().format->window.height; },
          "Luma samples shown, before rotation.")
      .def_property_readonly("coded_width", [](const Picture& p) { return p.codec().width(); })
      .def_property_readonly("coded_height", [](const Picture& p) { return p.codec().height(); })
      .def_property_readonly(
          "window",
          [](const Picture& p) {
            const codec::Window& w = p.codec().format->window;
            return py::make_tuple(w.x, w.y, w.width, w.height);
          },
          "Conformance window (x, y, width, height) in coded luma samples.")
      .def_property_readonly("rotation", &Picture::rotation, "Clockwise degrees to turn the picture by for display.")
      .def_property_readonly("mirrored", &Picture::mirrored,
                             "Whether left and right are exchanged for display, before the picture is turned.")
      .def_property_readonly(
          "bit_depth", [](const Picture& p) { return p.codec().format->bit_depth; }, "Of luma.")
      .def_property_readonly(
          "block_unit", [](const Picture& p) { return 1 << p.codec().format->log2_unit; },
          "Side of the blocks for which qp, cu_size, skip and field are constant, in luma samples.")
      .def_property_readonly("ctb_size", [](const Picture& p) { return 1 << p.codec().format->log2_bits; })
      .def_property_readonly(
          "slices", [](const Picture& p) { return p.codec().slices; }, "The slices, in decoding order.")
      .def_property_readonly("pred", &Picture::pred, "(h4, w4) uint8: 0 intra, 1 list 0, 2 list 1, 3 both.")
      .def_property_readonly(
          "mv", &Picture::mv,
          "(h4, w4, 2, 2) int16: [list, (x, y)] in quarter luma samples of the frame, 0 where the list is unused\n"
          "(H.265 8.5.3.2, H.264 8.4.1). Where `field` is not 0, the vertical part is twice that of the stream.")
      .def_property_readonly(
          "ref_poc", &Picture::ref_poc,
          "(h4, w4, 2) int32: POC of the referenced picture by list, of a field where `field` is not 0; 0 where\n"
          "the list is unused.")
      .def_property_readonly(
          "residual", &Picture::residual,
          "(H, W) int16: what is added to the luma prediction, before clipping and loop filters, at\n"
          "the stream's bit depth (H.265 8.6.2, H.264 8.5). RuntimeError if it was not decoded.")
      .def_property_readonly("qp", &Picture::qp, "(h4, w4) int8: luma quantisation parameter QpY (8.6.1).")
      .def_property_readonly(
          "cu_size", &Picture::cu_size,
          "(h4, w4) uint8: side of the coding block in luma samples (H.265); of the smallest partition of the\n"
          "macroblock, 16, 8 or 4 (H.264).")
      .def_property_readonly("skip", &Picture::skip,
                             "(h4, w4) bool: cu_skip_flag (H.265), a macroblock of type P_Skip or B_Skip (H.264).")
      .def_property_readonly(
          "field", &Picture::field,
          "(h4, w4) uint8: 0 a block of a frame, 1 of the top field, 2 of the bottom field. Rows of blocks of\n"
          "both fields alternate; a block of a field covers every other row of samples.")
      .def_property_readonly(
          "bits", &Picture::bits,
          "(CTB rows, CTB columns) int32: bits of slice data that each CTU, or macroblock of H.264, took from the\n"
          "entropy decoder, alignment included with the one before it.")
      .def_property_readonly(
          "block_bits", &Picture::block_bits,
          "(h4, w4) float32: the same bits by 4x4 block. What a transform unit takes counts evenly for its blocks, so\n"
          "does the rest of a coding unit, and the rest of the CTU. With H.264, and where the reader was not asked "
          "for\n"
          "them, the bits of a CTU or macroblock are spread evenly.")
      .def("__repr__", &picture_text)
      .def(
          "plot",
          [](const py::object& picture, const std::string& kind, const py::object& axes) {
            return py::module_::import("ove_codec.plots").attr("plot_picture")(picture, kind, axes);
          },
          py::arg("kind") = "motion", py::kw_only(), py::arg("axes") = py::none(),
          "Draws the picture's \"motion\", \"residual\", \"bits\" or \"blocks\" with matplotlib, into `axes` or a\n"
          "figure of its own, and returns the axes; see ove_codec.plots.plot_picture.")
      .def(
          "_repr_png_",
          [](const py::object& picture) { return py::module_::import("ove_codec.plots").attr("picture_png")(picture); },
          "The motion, which notebooks show.");
}

}  // namespace ove::bindings
