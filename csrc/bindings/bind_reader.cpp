#include <pybind11/numpy.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include "bindings/bindings.h"
#include "bindings/gil.h"
#include "bindings/source.h"
#include "common/process.h"
#include "reader/anchors.h"
#include "reader/codecs.h"
#include "reader/picture_table.h"
#include "reader/video_reader.h"

namespace py = pybind11;

namespace ove::bindings {

namespace {

LimitsDict default_limits() {
  LimitsDict values;
  for (const codec::LimitField& f : codec::kLimitFields) values[f.name] = codec::Limits().*f.field;
  return values;
}

// Iterates over pictures; the GIL is free while they are decoded. Calls from several threads wait for one another.
class PictureIterator {
 public:
  PictureIterator(py::handle source, int threads, bool decoding_order, bool residual, bool motion,
                  const LimitsDict& limits, std::shared_ptr<const reader::VideoIndex> index,
                  std::vector<std::int64_t> frame_ids, bool whole_bytes, bool bits_by_block)
      : reader_(std::make_unique<reader::VideoReader>(
            open_demuxer(source),
            reader::ReaderOptions{
                .threads = threads,
                .order = decoding_order ? codec::Order::kDecoding : codec::Order::kDisplay,
                .as_coded = decoding_order,
                .detail = {.amount = residual ? codec::Amount::kResidual
                                     : motion ? codec::Amount::kMotion
                                              : codec::Amount::kBits,
                           .bits = whole_bytes ? codec::BitsRule::kWholeBytes : codec::BitsRule::kExact,
                           .bits_by_block = bits_by_block},
                .limits = limits_of(limits),
                .observe = {},
                .index = std::move(index),
                .frame_ids = std::move(frame_ids)})) {}
  // In a forked process there is no thread to wait for, and no lock may be touched: the reader stays as it is.
  ~PictureIterator() {
    if (!home_.is_here()) static_cast<void>(reader_.release());
  }

  py::object next() {
    if (!home_.is_here()) {
      throw std::runtime_error(
          "this iterator belongs to the parent process, before the fork: iterate over the video again");
    }
    reader::VideoPicture picture;
    bool more;
    {
      const WithoutGil unlocked;
      const std::lock_guard lock(mutex_);
      more = reader_->next(picture);
    }
    if (!more) throw py::stop_iteration();
    return picture_object(std::move(picture), reader_->demuxer().info().orientation);
  }

  py::dict info() const { return stream_info(reader_->demuxer().info()); }

 private:
  const HomeProcess home_;
  std::mutex mutex_;
  std::unique_ptr<reader::VideoReader> reader_;
};

template <class T, class P, class F>
py::array_t<T> column(const std::vector<P>& pictures, F&& field) {
  py::array_t<T> out(static_cast<py::ssize_t>(pictures.size()));
  std::transform(pictures.begin(), pictures.end(), out.mutable_data(), field);
  return out;
}

std::shared_ptr<reader::VideoIndex> index_video(py::handle source, const LimitsDict& limits, bool skip_damage) {
  media::Demuxer demuxer = open_demuxer(source);
  const codec::Limits checked = limits_of(limits);
  const WithoutGil unlocked;
  return std::make_shared<reader::VideoIndex>(skip_damage ? reader::index_sound_pictures(std::move(demuxer), checked)
                                                          : reader::index_video(std::move(demuxer), checked));
}

// Null where the tables do not tell.
std::unique_ptr<reader::PictureTable> read_table(py::handle source) {
  media::Demuxer demuxer = open_demuxer(source);
  const WithoutGil unlocked;
  auto table = reader::PictureTable::read(demuxer);
  return table ? std::make_unique<reader::PictureTable>(std::move(*table)) : nullptr;
}

std::shared_ptr<reader::VideoIndex> index_some(const reader::PictureTable& table, py::handle source,
                                               const std::vector<std::int64_t>& frame_ids, const LimitsDict& limits) {
  media::Demuxer demuxer = open_demuxer(source);
  const codec::Limits checked = limits_of(limits);
  const WithoutGil unlocked;
  auto index = table.index(demuxer, checked, frame_ids);
  return index ? std::make_shared<reader::VideoIndex>(std::move(*index)) : nullptr;
}

py::object common_window(const reader::VideoIndex& index, const std::vector<std::int64_t>& frame_ids) {
  std::optional<std::array<int, 6>> common;
  for (const std::int64_t id : frame_ids) {
    if (id < 0 || id >= std::ssize(index.pictures)) throw py::index_error("there is no picture " + std::to_string(id));
    const std::int64_t decoded = index.pictures[static_cast<std::size_t>(id)].decode_index;
    if (!index.knows(index.pictures[static_cast<std::size_t>(id)])) {
      throw std::invalid_argument("the index was not made for picture " + std::to_string(id));
    }
    const codec::PictureFormat& format = *index.decoded[static_cast<std::size_t>(decoded)].format;
    const codec::Window& w = format.window;
    const std::array<int, 6> layout{w.x, w.y, w.width, w.height, format.width, format.height};
    if (common && *common != layout) return py::none();
    common = layout;
  }
  if (!common) return py::none();
  return py::make_tuple((*common)[0], (*common)[1], (*common)[2], (*common)[3]);
}

}  // namespace

codec::Limits limits_of(const LimitsDict& values) {
  codec::Limits limits;
  for (const auto& [name, value] : values) {
    const auto& fields = codec::kLimitFields;
    const auto f = std::find_if(fields.begin(), fields.end(), [&](const auto& field) { return field.name == name; });
    if (f == fields.end()) throw std::invalid_argument("there is no limit " + name);
    limits.*f->field = value;
  }
  limits.validate();
  return limits;
}

py::tuple loss_tuple(const reader::Loss& loss) {
  const py::object pts = std::isnan(loss.pts) ? py::object(py::none()) : py::object(py::float_(loss.pts));
  return py::make_tuple(loss.packet, loss.end, pts, loss.reason);
}

void bind_reader(py::module_& m) {
  m.def("decodes", &reader::decodes, py::arg("codec"),
        "Whether PictureIterator and VideoIndex read streams of the codec of this name.");
  m.def("default_limits", &default_limits, "Name and default of every limit.");
  m.def(
      "check_limits", [](const LimitsDict& values) { limits_of(values); }, py::arg("limits"),
      "Raises ValueError for a name that is no limit, and for a value that no limit may have.");
  py::class_<reader::VideoIndex, std::shared_ptr<reader::VideoIndex>>(
      m, "VideoIndex", "The N pictures of a video in display order, as its headers tell them.")
      .def(py::init(&index_video), py::arg("source"), py::kw_only(), py::arg("limits") = LimitsDict(),
           py::arg("skip_damage") = false,
           "Reads all headers of `source` (path, bytes or binary file object), without any slice data; or decodes all\n"
           "of it and leaves out the pictures that damage costs.")
      .def_property_readonly(
          "lost",
          [](const reader::VideoIndex& i) {
            py::list losses;
            for (const reader::Loss& loss : i.lost) losses.append(loss_tuple(loss));
            return losses;
          },
          "(first packet, packet behind the last, seconds or None, reason) of what damage has cost.")
      .def("__len__", [](const reader::VideoIndex& i) { return i.pictures.size(); })
      .def_property_readonly(
          "packet",
          [](const reader::VideoIndex& i) {
            return column<std::int64_t>(i.pictures, [](auto& p) { return p.packet; });
          },
          "(N,) int64: number of the picture's packet in the video stream.")
      .def_property_readonly(
          "pts", [](const reader::VideoIndex& i) { return column<double>(i.pictures, [](auto& p) { return p.pts; }); },
          "(N,) float64: presentation time in seconds.")
      .def_property_readonly(
          "poc",
          [](const reader::VideoIndex& i) { return column<std::int32_t>(i.pictures, [](auto& p) { return p.poc; }); },
          "(N,) int32: PicOrderCntVal.")
      .def_property_readonly(
          "type",
          [](const reader::VideoIndex& i) {
            return py::object(
                       column<std::uint8_t>(
                           i.pictures,
                           [&](auto& p) { return static_cast<std::uint8_t>(i.knows(p) ? type_letter(p.type) : '\0'); })
                           .attr("view")("S1"))
                .attr("astype")("U1");
          },
          "(N,) str: 'I', 'P' or 'B'; '' for pictures that the index was not made for (see PictureTable).")
      .def_property_readonly(
          "random_access",
          [](const reader::VideoIndex& i) { return column<bool>(i.pictures, [](auto& p) { return p.random_access; }); },
          "(N,) bool: whether the picture is an IRAP picture.")
      .def_readonly("counts_from_start", &reader::VideoIndex::counts_from_start,
                    "False where POCs of some groups are counted from where reading them began (see PictureTable).")
      .def_property_readonly(
          "packet_bytes",
          [](const reader::VideoIndex& i) {
            return column<std::int64_t>(i.pictures, [](auto& p) { return p.packet_bytes; });
          },
          "(N,) int64: size of the picture's packet.")
      .def(
          "num_needed",
          [](const reader::VideoIndex& index, const std::vector<std::int64_t>& frame_ids) {
            const auto needed = index.closure(index.flags(frame_ids), reader::VideoIndex::Edges::kReferences);
            return std::count(needed.begin(), needed.end(), true);
          },
          py::arg("frame_ids"),
          "Number of pictures that decoding `frame_ids` (display indices) takes: these and all they refer to.")
      .def(
          "num_decoded",
          [](const reader::VideoIndex& index, const std::vector<std::int64_t>& frame_ids) {
            const auto decoded = index.closure(index.flags(frame_ids), reader::VideoIndex::Edges::kDecoding);
            return std::count(decoded.begin(), decoded.end(), true);
          },
          py::arg("frame_ids"),
          "Number of coded pictures that the pixel decoder decodes for `frame_ids` (display indices): what they need,\n"
          "and what cannot be left out of the stream before them.")
      .def(
          "anchors",
          [](const reader::VideoIndex& index, std::vector<std::int64_t> shown, std::vector<std::int64_t> asked,
             std::optional<double> tolerance, bool intra) {
            const WithoutGil unlocked;
            return reader::anchors(index, {std::move(shown), std::move(asked), tolerance, intra});
          },
          py::arg("shown"), py::arg("asked"), py::kw_only(), py::arg("tolerance") = py::none(), py::arg("intra") = true,
          "Positions in `shown` (ascending display indices) of pictures near those `asked` for (ascending positions "
          "in\n"
          "`shown`) that take less to decode: ascending, each once, within `tolerance` seconds (None: half the\n"
          "distance to each neighbour), without I pictures unless `intra`. `num_decoded` of them is at most that of\n"
          "those asked for, unless I pictures were asked for that may not be taken. None where the index does not "
          "know\n"
          "enough of the pictures. ValueError for bad arguments.")
      .def(
          "unanchored",
          [](const reader::VideoIndex& index, std::vector<std::int64_t> shown, std::vector<std::int64_t> asked,
             std::optional<double> tolerance, bool intra) {
            const WithoutGil unlocked;
            return reader::unanchored(index, {std::move(shown), std::move(asked), tolerance, intra});
          },
          py::arg("shown"), py::arg("asked"), py::kw_only(), py::arg("tolerance") = py::none(), py::arg("intra") = true,
          "Display indices that an index of some pictures must know for `anchors`.")
      .def("window", &common_window, py::arg("frame_ids"),
           "The display window (x, y, width, height) of `frame_ids` (display indices); None if their\n"
           "windows or coded sizes differ.");
  py::class_<KeptReads>(m, "KeptReads",
                        "While it lives, what is read of the binary file object `file` stays in memory, up to\n"
                        "`most_bytes`, for those who read it again. The object must not change.")
      .def(py::init<py::handle, std::int64_t>(), py::arg("file"), py::arg("most_bytes"));
  using reader::PictureTable;
  using Entry = PictureTable::Picture;
  py::class_<PictureTable>(m, "PictureTable",
                           "The N pictures of a video in display order, as its container's tables tell them.")
      .def_static(
          "read", &read_table, py::arg("source"),
          "Reads no picture of `source` (path, bytes or binary file object). None where the tables do not tell:\n"
          "they do in MP4 and MOV files without fragments, whose edit lists cut nothing off, where only leading\n"
          "pictures are shown before the sync sample of their group.")
      .def("__len__", [](const PictureTable& t) { return t.pictures().size(); })
      .def_property_readonly(
          "packet",
          [](const PictureTable& t) {
            return column<std::int64_t>(t.pictures(), [](const Entry& p) { return p.packet; });
          },
          "(N,) int64: number of the picture's packet in the video stream.")
      .def_property_readonly(
          "pts",
          [](const PictureTable& t) { return column<double>(t.pictures(), [](const Entry& p) { return p.pts; }); },
          "(N,) float64: presentation time in seconds.")
      .def_property_readonly(
          "packet_bytes",
          [](const PictureTable& t) {
            return column<std::int64_t>(t.pictures(), [](const Entry& p) { return p.packet_bytes; });
          },
          "(N,) int64: size of the picture's packet.")
      .def("index", &index_some, py::arg("source"), py::arg("frame_ids"), py::kw_only(),
           py::arg("limits") = LimitsDict(),
           "An index for `frame_ids` (display indices) alone; what it has of them is what the whole one has. Reads "
           "their\n"
           "groups up to them. None where a group needs what precedes it, or the tables are not right.");
  py::class_<PictureIterator>(m, "PictureIterator",
                              "Iterates over the pictures of `source`, in display or decoding order.")
      .def(py::init<py::handle, int, bool, bool, bool, const LimitsDict&, std::shared_ptr<const reader::VideoIndex>,
                    std::vector<std::int64_t>, bool, bool>(),
           py::arg("source"), py::kw_only(), py::arg("threads") = 0, py::arg("decoding_order") = false,
           py::arg("residual") = true, py::arg("motion") = true, py::arg("limits") = LimitsDict(),
           py::arg("index") = py::none(), py::arg("frame_ids") = std::vector<std::int64_t>(),
           py::arg("whole_bytes") = false, py::arg("bits_by_block") = false,
           "Without `residual` and `motion` pictures have neither, and nothing else is decoded for them.\n"
           "With `whole_bytes`, `bits` of the pictures are those of codec::BitsRule::kWholeBytes. `bits_by_block` is\n"
           "needed for their `block_bits`.")
      .def("__iter__", [](py::object self) { return self; })
      .def("__next__", &PictureIterator::next)
      .def_property_readonly("info", &PictureIterator::info, "The stream_info of the source.");
}

}  // namespace ove::bindings
