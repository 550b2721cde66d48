#include <pybind11/numpy.h>
#include <pybind11/stl.h>

#include <cstdint>
#include <vector>

#include "bindings/bindings.h"
#include "bindings/gil.h"
#include "bindings/source.h"
#include "media/demuxer.h"

namespace py = pybind11;

namespace ove::bindings {

namespace {

py::object optional(std::int64_t timestamp) {
  return timestamp == media::kNoTimestamp ? py::object(py::none()) : py::object(py::int_(timestamp));
}

py::tuple pair(media::Rational r) { return py::make_tuple(r.num, r.den); }

py::bytes bytes_of(const std::vector<std::uint8_t>& bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

// The packets of a video stream one after the other, as dictionaries.
class PacketIterator {
 public:
  explicit PacketIterator(py::handle source) : demuxer_(open_demuxer(source)) {}

  py::dict next() {
    using namespace py::literals;
    media::Packet packet;
    bool more = false;
    {
      const WithoutGil unlocked;
      more = demuxer_.read(packet);
    }
    if (!more) throw py::stop_iteration();
    return py::dict("data"_a = py::bytes(reinterpret_cast<const char*>(packet.data.data()), packet.data.size()),
                    "index"_a = packet.index, "pts"_a = optional(packet.pts), "dts"_a = optional(packet.dts),
                    "duration"_a = packet.duration, "position"_a = packet.position, "key"_a = packet.key,
                    "discard"_a = packet.discard, "corrupt"_a = packet.corrupt,
                    "extradata"_a = packet.extradata ? py::object(bytes_of(*packet.extradata)) : py::none());
  }

  py::dict info() const { return stream_info(demuxer_.info()); }
  py::bytes extradata() const { return bytes_of(demuxer_.info().extradata); }

 private:
  media::Demuxer demuxer_;
};

// pts, and whether it is shown, of all packets of the video stream, without their bytes.
py::tuple packet_times(py::handle source) {
  media::Demuxer demuxer = open_demuxer(source);
  std::vector<std::int64_t> pts;
  std::vector<char> shown;
  {
    const WithoutGil unlocked;
    for (media::Packet packet; demuxer.read(packet);) {
      pts.push_back(packet.pts);
      shown.push_back(!packet.discard);
    }
  }
  return py::make_tuple(
      py::array_t<std::int64_t>(static_cast<py::ssize_t>(pts.size()), pts.data()),
      py::array_t<bool>(static_cast<py::ssize_t>(shown.size()), reinterpret_cast<bool*>(shown.data())));
}

}  // namespace

py::dict stream_info(const media::StreamInfo& info) {
  using namespace py::literals;
  return py::dict("container"_a = info.container, "codec"_a = info.codec, "profile"_a = info.profile,
                  "width"_a = info.width, "height"_a = info.height, "rotation"_a = 90 * info.orientation.quarter_turns,
                  "mirrored"_a = info.orientation.mirrored, "time_base"_a = pair(info.time_base),
                  "frame_rate"_a = pair(info.frame_rate), "sample_aspect_ratio"_a = pair(info.sample_aspect_ratio),
                  "start_time"_a = optional(info.start_time), "duration"_a = optional(info.duration),
                  "frame_count"_a = info.frame_count, "bit_rate"_a = info.bit_rate, "bit_depth"_a = info.bit_depth,
                  "pixel_format"_a = info.pixel_format, "color_range"_a = info.color_range,
                  "color_matrix"_a = info.color_matrix, "color_primaries"_a = info.color_primaries,
                  "color_transfer"_a = info.color_transfer, "chroma_location"_a = info.chroma_location);
}

void bind_media(py::module_& m) {
  m.def(
      "stream_info", [](py::handle source) { return stream_info(open_demuxer(source).info()); }, py::arg("source"),
      "Facts of the video stream of `source` as its container tells them: times in units of time_base (numerator,\n"
      "denominator), rotation in clockwise degrees, for which the picture is mirrored left to right first where\n"
      "`mirrored`. Unknown is 0, '' or None.");
  py::class_<OpenedSource>(
      m, "OpenedSource",
      "A source that is opened once: who gives it in the place of `source` opens it faster, where\n"
      "it has not changed since.")
      .def(py::init<py::object>(), py::arg("source"))
      .def_property_readonly(
          "info", [](const OpenedSource& self) { return stream_info(self.info()); }, "The stream_info of the source.");
  m.def("packet_times", &packet_times, py::arg("source"),
        "For every packet of the video stream: pts (P,) int64 in units of time_base, the lowest int64 where there is\n"
        "none, and whether it is shown (P,) bool.");
  py::class_<PacketIterator>(m, "Packets",
                             "Iterates over the packets of the video stream of `source`, as dictionaries.")
      .def(py::init<py::handle>(), py::arg("source"))
      .def("__iter__", [](py::object self) { return self; })
      .def("__next__", &PacketIterator::next)
      .def_property_readonly("info", &PacketIterator::info, "The stream_info of the source.")
      .def_property_readonly("extradata", &PacketIterator::extradata,
                             "Parameter sets, and how packets are framed; those of a packet, unless None, take their "
                             "place from it on.");
}

}  // namespace ove::bindings
