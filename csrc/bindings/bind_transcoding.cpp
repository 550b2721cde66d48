// Videos of other codecs: to HEVC, and their motion as libavcodec exports it.
#include <pybind11/numpy.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "bindings/bindings.h"
#include "bindings/gil.h"
#include "bindings/source.h"
#include "common/error.h"
#include "common/named_error.h"
#include "media/byte_sink.h"
#include "media/motion_decoder.h"
#include "media/transcoder.h"
#include "reader/codecs.h"
#include "reader/video_index.h"

namespace py = pybind11;

namespace ove::bindings {

namespace {

std::shared_ptr<const media::PacketFilter> filter_of(const media::Demuxer& demuxer) {
  try {
    return reader::make_packet_filter(demuxer.info().codec, demuxer.info().extradata);
  } catch (const Error&) {
    rethrow_named(demuxer.name());
  }
}

// The packets of the pictures that can be decoded from what the stream has, ascending; none where the headers are
// damaged, which decoding tells.
std::vector<std::int64_t> decodable_packets(media::Demuxer demuxer, std::int64_t max_luma_samples) {
  const WithoutGil unlocked;
  std::vector<std::int64_t> packets;
  try {
    codec::Limits limits;
    limits.max_luma_samples = max_luma_samples;
    for (const codec::KnownPicture& picture : reader::index_video(std::move(demuxer), limits).decoded) {
      packets.push_back(picture.packet);
    }
  } catch (const Error&) {
    packets.clear();
  }
  std::sort(packets.begin(), packets.end());
  return packets;
}

// Calls from several threads take turns.
class Transcoding {
 public:
  Transcoding(py::handle source, const std::optional<py::object>& target, media::Transcoder::Options options)
      : target_(target ? py::module_::import("os").attr("fspath")(*target) : py::object(py::none())) {
    media::Demuxer demuxer = open_demuxer(source);
    options.filter = filter_of(demuxer);
    if (reader::decodes(demuxer.info().codec) && demuxer.seekable()) {
      options.decodable = decodable_packets(open_demuxer(source), options.max_luma_samples);
    }
    const std::string path =
        target ? py::module_::import("os").attr("fsencode")(*target).cast<std::string>() : std::string();
    told([&] {
      std::unique_ptr<media::ByteSink> sink;
      if (target) {
        sink = std::make_unique<media::FileSink>(path);
      } else {
        auto memory = std::make_unique<media::MemorySink>();
        memory_ = memory.get();
        sink = std::move(memory);
      }
      transcoder_ = std::make_unique<media::Transcoder>(std::move(demuxer), std::move(sink), std::move(options));
      return true;
    });
  }

  bool step() {
    return told([&] { return transcoder_->step(); });
  }
  bool close_early() {
    return told([&] { return transcoder_->close_early(); });
  }
  py::bytes bytes() const {
    if (!memory_) throw py::value_error("the transcoded video was written to a file");
    const std::vector<std::uint8_t>& b = memory_->bytes();
    return py::bytes(reinterpret_cast<const char*>(b.data()), b.size());
  }
  py::dict facts() const {
    using namespace py::literals;
    const media::Transcoder::Facts& f = transcoder_->facts();
    return py::dict("pictures"_a = f.pictures, "skipped"_a = f.skipped, "moved"_a = f.moved, "resized"_a = f.resized,
                    "width"_a = f.width, "height"_a = f.height, "source_format"_a = f.source_format,
                    "pixel_format"_a = f.pixel_format);
  }

 private:
  // What the system refuses is an OSError of the target.
  template <class Work>
  bool told(Work work) {
    std::error_code refused;
    {
      const WithoutGil unlocked;
      const std::lock_guard lock(mutex_);
      try {
        return work();
      } catch (const std::system_error& e) {
        refused = e.code();
      }
    }
    PyErr_SetObject(PyExc_OSError, py::make_tuple(refused.value(), refused.message(), target_).ptr());
    throw py::error_already_set();
  }

  py::object target_;
  std::mutex mutex_;
  const media::MemorySink* memory_ = nullptr;  // owned by transcoder_
  std::unique_ptr<media::Transcoder> transcoder_;
};

template <class T>
py::array owned(std::vector<T>&& values, std::vector<py::ssize_t> shape) {
  auto* held = new std::vector<T>(std::move(values));
  const py::capsule base(held, [](void* p) { delete static_cast<std::vector<T>*>(p); });
  py::array array(py::dtype::of<T>(), std::move(shape), held->data(), base);
  array.attr("flags").attr("writeable") = false;
  return array;
}

class ExportedMotionIterator {
 public:
  ExportedMotionIterator(py::handle source, bool vectors, int threads, std::int64_t max_luma_samples)
      : decoder_(decoder_of(open_demuxer(source), vectors, threads, max_luma_samples)), vectors_(vectors) {}

  py::dict next() {
    using namespace py::literals;
    media::ExportedMotion m;
    bool more = false;
    {
      const WithoutGil unlocked;
      const std::lock_guard lock(mutex_);
      more = decoder_.next(m);
    }
    if (!more) throw py::stop_iteration();
    py::dict picture("packet"_a = m.packet, "packet_bytes"_a = m.packet_bytes, "pts"_a = m.pts,
                     "type"_a = std::string(1, m.type), "random_access"_a = m.key, "coded_width"_a = m.width,
                     "coded_height"_a = m.height,
                     "window"_a = py::make_tuple(m.window_x, m.window_y, m.window_width, m.window_height));
    if (vectors_) {
      const py::ssize_t rows = (m.height + 3) / 4, columns = (m.width + 3) / 4;
      picture["mv"] = owned(std::move(m.mv), {rows, columns, 2, 2});
      picture["pred"] = owned(std::move(m.pred), {rows, columns});
    }
    return picture;
  }

 private:
  static media::MotionDecoder decoder_of(media::Demuxer demuxer, bool vectors, int threads,
                                         std::int64_t max_luma_samples) {
    auto filter = filter_of(demuxer);
    return media::MotionDecoder(std::move(demuxer), vectors, threads, max_luma_samples, std::move(filter));
  }

  media::MotionDecoder decoder_;
  bool vectors_;
  std::mutex mutex_;
};

}  // namespace

void bind_transcoding(py::module_& m) {
  py::class_<Transcoding>(m, "Transcoder", "Takes a video, picture by picture, to HEVC.")
      .def(py::init([](py::handle source, const std::optional<py::object>& target, const std::string& encoder,
                       const std::string& preset, double crf, const std::string& params,
                       const std::vector<std::string>& pixel_formats, const std::string& container, int threads,
                       std::int64_t max_luma_samples, std::optional<double> start, std::optional<double> end) {
             const double infinity = std::numeric_limits<double>::infinity();
             return std::make_unique<Transcoding>(source, target,
                                                  media::Transcoder::Options{encoder,
                                                                             preset,
                                                                             crf,
                                                                             params,
                                                                             pixel_formats,
                                                                             {},
                                                                             {},
                                                                             container,
                                                                             threads,
                                                                             max_luma_samples,
                                                                             start.value_or(-infinity),
                                                                             end.value_or(infinity)});
           }),
           py::arg("source"), py::arg("target"), py::kw_only(), py::arg("encoder") = "libx265", py::arg("preset"),
           py::arg("crf"), py::arg("params"), py::arg("pixel_formats"), py::arg("container"), py::arg("threads"),
           py::arg("max_luma_samples"), py::arg("start") = py::none(), py::arg("end") = py::none())
      .def("step", &Transcoding::step, "Encodes the next picture; false when all is written.")
      .def("close_early", &Transcoding::close_early,
           "After a DecodeError: ends the file behind the pictures before the damage; false where there are none.")
      .def("bytes", &Transcoding::bytes, "The file, where the target is None.")
      .def_property_readonly("facts", &Transcoding::facts);
  py::class_<ExportedMotionIterator>(
      m, "ExportedMotion",
      "Iterates over the pictures that libavcodec gives out, as dictionaries: with `vectors`, which it must export,\n"
      "or the facts alone, of any codec.")
      .def(py::init<py::handle, bool, int, std::int64_t>(), py::arg("source"), py::kw_only(), py::arg("vectors"),
           py::arg("threads") = 1, py::arg("max_luma_samples"))
      .def("__iter__", [](py::object self) { return self; })
      .def("__next__", &ExportedMotionIterator::next);
  m.def("exports_motion", &media::exports_motion, py::arg("codec"),
        "Whether libavcodec exports motion vectors of the codec of this name.");
}

}  // namespace ove::bindings
