// Launches on memory and streams that the caller owns, given as addresses: PyTorch's allocator and streams, from
// Python.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <array>
#include <cstdint>
#include <cstring>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <vector>

#include "bindings/canvas.h"
#include "cuda/device.h"
#include "cuda/gather_patches.h"
#include "cuda/rows.h"
#include "cuda/select.h"

namespace py = pybind11;

namespace ove::bindings {

namespace {

using Address = std::uintptr_t;
// Address, count and bytes of each row.
using RowsArgument = std::tuple<Address, std::int64_t, std::int64_t>;
// Address of the first sample; bytes from frame to frame, row to row, and sample to sample.
using PlaneArgument = std::tuple<Address, std::int64_t, std::int64_t, std::int64_t>;

cudaStream_t stream_at(Address stream) { return reinterpret_cast<cudaStream_t>(stream); }

template <class T>
T* pointer(Address address) {
  return reinterpret_cast<T*>(address);
}

cuda::Rows rows_of(const RowsArgument& rows) {
  return {pointer<void>(std::get<0>(rows)), std::get<1>(rows), std::get<2>(rows)};
}

void gather_rows(const RowsArgument& all, Address index, const RowsArgument& packed, Address stream) {
  cuda::gather_rows(rows_of(all), pointer<const std::int64_t>(index), rows_of(packed), stream_at(stream));
}

void scatter_rows(const RowsArgument& all, Address index, const RowsArgument& packed, Address stream) {
  cuda::scatter_rows(rows_of(all), pointer<const std::int64_t>(index), rows_of(packed), stream_at(stream));
}

void add_rows(const RowsArgument& all, Address index, const RowsArgument& packed, const std::string& dtype,
              Address stream) {
  const cuda::Addend type = dtype == "float16"    ? cuda::Addend::kFloat16
                            : dtype == "bfloat16" ? cuda::Addend::kBfloat16
                            : dtype == "float32"  ? cuda::Addend::kFloat32
                            : dtype == "float64"
                                ? cuda::Addend::kFloat64
                                : throw std::invalid_argument("only floating-point rows can be added, not " + dtype);
  cuda::add_rows(rows_of(all), pointer<const std::int64_t>(index), rows_of(packed), type, stream_at(stream));
}

py::bytes clip_descriptor(const std::vector<PlaneArgument>& planes, int width, int height, std::int64_t frames,
                          int bit_depth, int low_bits, const std::string& matrix, bool full_range,
                          std::array<int, 2> chroma_shift, std::array<float, 2> chroma_site, int quarter_turns,
                          bool mirrored, const std::string& resize, int size, int patch_size, std::array<float, 3> mean,
                          std::array<float, 3> std) {
  const YuvFormat format = yuv_format(width, height, static_cast<int>(planes.size()), bit_depth, matrix, full_range,
                                      chroma_shift, chroma_site);
  const CanvasOptions canvas = canvas_options(resize, size, patch_size, mean, std);
  tokens::ClipPlanes clip;
  const Orientation orientation{quarter_turns, mirrored};
  clip.formula = tokens::make_patch_formula(format, orientation, canvas_geometry(format, orientation, canvas),
                                            canvas.normalization);
  for (std::size_t i = 0; i < planes.size(); ++i) {
    const auto& [address, frame_stride, row_stride, step] = planes[i];
    clip.planes[i] = {pointer<const std::uint8_t>(address), frame_stride, row_stride, step};
  }
  clip.frames = frames;
  clip.sample_bytes = bit_depth > 8 ? 2 : 1;
  clip.low_bits = low_bits;
  static_assert(std::is_trivially_copyable_v<tokens::ClipPlanes>);
  return py::bytes(reinterpret_cast<const char*>(&clip), sizeof(clip));
}

void gather_patches(Address clips, int clip_count, int patch_size, Address cu_seqlens, Address positions,
                    std::int64_t count, const std::string& dtype, Address rows, Address stream) {
  const cuda::TokenType type = dtype == "float32"   ? cuda::TokenType::kFloat32
                               : dtype == "float16" ? cuda::TokenType::kFloat16
                               : dtype == "bfloat16"
                                   ? cuda::TokenType::kBfloat16
                                   : throw std::invalid_argument("dtype must be float32, float16 or bfloat16");
  cuda::gather_patches(pointer<const tokens::ClipPlanes>(clips), clip_count, patch_size,
                       pointer<const std::int32_t>(cu_seqlens), pointer<const std::int64_t>(positions), count, type,
                       pointer<void>(rows), stream_at(stream));
}

// A record that _core wrote, of the same build.
template <class T>
T record_of(const py::bytes& bytes, const char* what) {
  const std::string_view view(bytes);
  if (view.size() != sizeof(T))
    throw std::invalid_argument(std::string(what) + " belong to another build of ove_codec");
  T value;
  std::memcpy(&value, view.data(), sizeof(T));
  return value;
}

cuda::HeatTables tables_of(const py::bytes& bytes) { return record_of<cuda::HeatTables>(bytes, "tables"); }

// Address of HeatPlan.block and of the clip's memory; pictures taken in and sampled ones for which there is room.
using RoomArgument = std::tuple<Address, Address, std::int64_t, std::int64_t>;

cuda::ClipRoom room_of(const RoomArgument& room) {
  const auto& [block, memory, pictures, sampled] = room;
  return {pointer<const std::byte>(block), pointer<std::byte>(memory), pictures, sampled};
}

// Defines a function (tables, room, arguments...) that queues work of a clip without the GIL.
template <class... Arguments, class Queue, class... Names>
void def_step(py::module_& m, const char* name, Queue queue, const char* doc, const Names&... names) {
  m.def(
      name,
      [queue](const py::bytes& tables, const RoomArgument& room, Arguments... arguments) {
        const cuda::HeatTables t = tables_of(tables);
        const py::gil_scoped_release unlocked;
        queue(t, room_of(room), arguments...);
      },
      py::arg("tables"), py::arg("room"), names..., doc);
}

py::bytes ranked_clip(Address scores, Address valid, Address classes, Address static_classes,
                      std::array<std::int64_t, 2> first, std::int64_t frames, std::array<std::int64_t, 2> grid,
                      std::int64_t selectable, std::int64_t kept, std::int64_t first_share, double full_score) {
  cuda::RankedClip clip;
  clip.scores = pointer<const float>(scores);
  clip.valid = pointer<const std::uint8_t>(valid);
  clip.classes = pointer<const std::uint8_t>(classes);
  clip.static_classes = pointer<const std::uint8_t>(static_classes);
  clip.first = first[0];
  clip.first_kept = first[1];
  clip.frames = frames;
  clip.patches = grid[0] * grid[1];
  clip.columns = grid[1];
  clip.selectable = selectable;
  clip.kept = kept;
  clip.first_share = first_share;
  clip.full_score = full_score;
  return py::bytes(reinterpret_cast<const char*>(&clip), sizeof(clip));
}

void rank_patches(Address clips, std::int64_t clip_count, std::int64_t patches, std::optional<std::int64_t> kept,
                  bool shares_first, const py::dict& params, Address work, Address mask, Address positions,
                  Address stream) {
  cuda::Ranking r;
  r.clips = pointer<const cuda::RankedClip>(clips);
  r.clip_count = clip_count;
  r.total = patches;
  r.pad = params["padding"].cast<std::string>() == "zero";
  r.may_be_static = params["static_fallback"].cast<bool>();
  r.static_level = params["static_level"].cast<double>();
  r.static_contrast = params["static_contrast"].cast<double>();
  r.by_tau = !kept.has_value();
  if (r.by_tau) r.tau = params["tau"].cast<double>();
  r.kept = kept.value_or(0);
  r.shares_first = shares_first;
  const py::gil_scoped_release unlocked;
  cuda::rank_patches(r, pointer<std::byte>(work), pointer<std::uint8_t>(mask), pointer<std::int32_t>(positions),
                     stream_at(stream));
}

}  // namespace

}  // namespace ove::bindings

PYBIND11_MODULE(_cuda, m) {
  using namespace ove::bindings;
  using py::arg;
  using Release = py::call_guard<py::gil_scoped_release>;
  m.def("has_driver", &ove::cuda::has_driver, Release(), "Whether there is an NVIDIA driver. Does not initialise it.");
  m.def("unavailable_reason", &ove::cuda::unavailable_reason, arg("device"), Release(),
        "Why kernels cannot run on the device with this number; empty where they can. Initialises the driver.");
  m.def("primary_context", &ove::cuda::primary_context, Release(),
        "The address (CUcontext) of the primary context of the current device.");
  m.def("gather_rows", &gather_rows, arg("all"), arg("index"), arg("packed"), arg("stream"), Release(),
        "packed[i] = all[index[i]]; rows are (address, count, bytes of each), the index int64.");
  m.def("scatter_rows", &scatter_rows, arg("all"), arg("index"), arg("packed"), arg("stream"), Release(),
        "all[index[i]] = packed[i]; arguments as of gather_rows.");
  m.def("add_rows", &add_rows, arg("all"), arg("index"), arg("packed"), arg("dtype"), arg("stream"), Release(),
        "all[index[i]] += packed[i], of float16, bfloat16, float32 or float64; arguments as of gather_rows.");
  m.def("clip_descriptor", &clip_descriptor, arg("planes"), py::kw_only(), arg("width"), arg("height"), arg("frames"),
        arg("bit_depth"), arg("low_bits"), arg("matrix"), arg("full_range"), arg("chroma_shift"), arg("chroma_site"),
        arg("quarter_turns"), arg("mirrored"), arg("resize"), arg("size"), arg("patch_size"), arg("mean"), arg("std"),
        "What gather_patches reads of a clip, one of the records that `clips` points to. planes are (address of the\n"
        "first sample, bytes from frame to frame, row to row and sample to sample).");
  m.def("gather_patches", &gather_patches, arg("clips"), arg("clip_count"), arg("patch_size"), arg("cu_seqlens"),
        arg("positions"), arg("count"), arg("dtype"), arg("rows"), arg("stream"), Release(),
        "Normalised patches (count, 3*p*p) to `rows`. Addresses are of device memory: clip_descriptors one after the\n"
        "other, cu_seqlens (clip_count + 1,) int32, positions (count, 3) int64.");
  m.def(
      "clip_bytes",
      [](const py::bytes& t, std::int64_t pictures, std::int64_t sampled) {
        return ove::cuda::clip_bytes(tables_of(t), pictures, sampled);
      },
      arg("tables"), arg("pictures"), arg("sampled"),
      "Bytes of memory for so many pictures taken in at a time and sampled ones; as many unless they accumulate.");
  m.def("rank_bytes", &ove::cuda::rank_bytes, arg("patches"), arg("clips"), "Bytes for rank_patches to work in.");
  using Int = std::int64_t;
  namespace cuda = ove::cuda;
  def_step<Address, Int, Int, Int, Address>(
      m, "take_in",
      [](const auto& t, const auto& room, Address records, Int count, Int most_level_blocks, Int first, Address s) {
        cuda::take_in(t, room, pointer<const cuda::PictureRecord>(records), count, most_level_blocks, first,
                      stream_at(s));
      },
      "Takes in pictures, as numbers `first` on, from `count` records of HeatPlan one after the other. room is "
      "(address\n"
      "of HeatPlan.block, address of clip_bytes, pictures taken in and sampled ones for which there is room); "
      "addresses\n"
      "are of device memory.",
      arg("records"), arg("count"), arg("most_level_blocks"), arg("first"), arg("stream"));
  def_step<Address>(
      m, "clear_sums", [](const auto& t, const auto& room, Address s) { cuda::clear_sums(t, room, stream_at(s)); },
      "Sets the sums of all sampled pictures to 0.", arg("stream"));
  def_step<Int, Int, Int, Address>(
      m, "accumulate",
      [](const auto& t, const auto& room, Int pictures, Int first, Int end, Address s) {
        cuda::accumulate(t, room, pictures, first, end, stream_at(s));
      },
      "Adds the first `pictures` taken in to the sampled ones `first` to `end` - 1 that they count for.",
      arg("pictures"), arg("first"), arg("end"), arg("stream"));
  def_step<Int, Address, Address, Address>(
      m, "measure",
      [](const auto& t, const auto& room, Int pictures, Address given, Address out, Address s) {
        cuda::measure(t, room, pictures, pointer<const float>(given), pointer<float>(out), stream_at(s));
      },
      "Measures the first sampled pictures, with the three given scales unless that address is 0; those of the first\n"
      "picture are written to `scales` unless that is 0.",
      arg("pictures"), arg("given_scales"), arg("scales"), arg("stream"));
  def_step<Int, Address, Address>(
      m, "score",
      [](const auto& t, const auto& room, Int pictures, Address scores, Address s) {
        cuda::score(t, room, pictures, pointer<float>(scores), stream_at(s));
      },
      "Scores (pictures, rows, columns) of the pictures measured last.", arg("pictures"), arg("scores"), arg("stream"));
  def_step<Int, Int, Address, Address>(
      m, "render",
      [](const auto& t, const auto& room, Int pictures, Int picture, Address canvas, Address s) {
        cuda::render(t, room, pictures, picture, pointer<float>(canvas), stream_at(s));
      },
      "The heat of one of the `pictures` measured last, in display orientation.", arg("pictures"), arg("picture"),
      arg("canvas"), arg("stream"));
  m.def("ranked_clip", &ranked_clip, arg("scores"), arg("valid"), arg("classes"), arg("static_classes"), arg("first"),
        arg("frames"), arg("grid"), arg("selectable"), arg("kept"), arg("first_share"), arg("full_score"),
        "What rank_patches reads of a clip. Addresses are of device memory, static_classes 0 where there are none;\n"
        "first: patches, and kept ones, of the clips before it; the rest is what _core.ranking_plan says.");
  m.def(
      "rank_patches", &rank_patches, arg("clips"), arg("clip_count"), arg("patches"), arg("kept"), arg("shares_first"),
      arg("params"), arg("work"), arg("mask"), arg("positions"), arg("stream"),
      "Writes mask (patches,) of all clips and, unless `kept` is None, positions (kept, 3) int32, clip by clip.\n"
      "Addresses are of device memory: ranked_clips one after the other. shares_first: one of them has a first_share.");
}
