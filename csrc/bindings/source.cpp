#include "bindings/source.h"

#include <pybind11/numpy.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <map>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "bindings/gil.h"
#include "media/kept_bytes.h"
#include "reader/codecs.h"

namespace py = pybind11;

namespace ove::bindings {

namespace {

// Holds a Python object, and lets go of it with the GIL, wherever that happens.
template <class T>
std::shared_ptr<T> with_gil(T&& object) {
  return {new T(std::move(object)), [](T* held) {
            py::gil_scoped_acquire gil;
            delete held;
          }};
}

// What all that read a file object share.
struct FileState {
  std::mutex position;                   // of the object; guards `kept`
  std::weak_ptr<media::KeptBytes> kept;  // as long as a KeptReads wants it
};

// The map is guarded by the GIL, and has a key only as long as somebody keeps the object.
std::shared_ptr<FileState> state_of(py::handle file) {
  static std::map<const PyObject*, std::weak_ptr<FileState>> states;
  std::erase_if(states, [](const auto& entry) { return entry.second.expired(); });
  if (auto state = states[file.ptr()].lock()) return state;
  auto state = std::make_shared<FileState>();
  states[file.ptr()] = state;
  return state;
}

// Who waits for the lock does not hold the GIL, which its holder needs.
std::unique_lock<std::mutex> lock_position(FileState& state) {
  if (!PyGILState_Check()) return std::unique_lock(state.position);
  const WithoutGil unlocked;
  return std::unique_lock(state.position);
}

// Its own position: several iterators, on several threads, may read one file object.
class FileObject final : public media::ByteSource {
 public:
  explicit FileObject(py::handle file)
      : file_(with_gil(py::reinterpret_borrow<py::object>(file))), state_(state_of(file)) {
    read_ = with_gil(py::object(file.attr("read")));
    const std::unique_lock held = lock_position(*state_);
    size_ = size_of(file);
  }

  std::size_t read(std::span<std::uint8_t> buffer) override {
    const std::unique_lock held = lock_position(*state_);
    const auto kept = state_->kept.lock();
    const std::size_t n = kept && seekable() ? read_kept(*kept, buffer) : read_at(position_, buffer);
    position_ += static_cast<std::int64_t>(n);
    return n;
  }
  std::int64_t seek(std::int64_t offset) override {
    if (offset < 0) return -1;
    return position_ = offset;
  }
  bool seekable() const override { return size_ >= 0; }
  std::int64_t size() const override { return size_; }

 private:
  std::size_t read_at(std::int64_t offset, std::span<std::uint8_t> buffer) {
    py::gil_scoped_acquire gil;
    if (seekable()) file_->attr("seek")(offset, SEEK_SET);
    const py::object chunk = (*read_)(buffer.size());
    if (chunk.is_none()) throw py::value_error("the file object does not block: read() returned None");
    if (!PyObject_CheckBuffer(chunk.ptr()))
      throw py::type_error("the file object is not binary: open it with mode 'rb'");
    const py::buffer_info bytes = py::reinterpret_borrow<py::buffer>(chunk).request();
    const std::size_t n = static_cast<std::size_t>(bytes.size * bytes.itemsize);
    if (n > buffer.size()) throw py::value_error("the file object's read() returned more than it was asked for");
    std::memcpy(buffer.data(), bytes.ptr, n);
    return n;
  }

  std::size_t read_kept(media::KeptBytes& kept, std::span<std::uint8_t> buffer) {
    if (position_ >= size_ || buffer.empty()) return 0;
    if (const std::size_t n = kept.copy(position_, buffer); n > 0) return n;
    const std::int64_t number = position_ / media::KeptBytes::kBlock, begin = number * media::KeptBytes::kBlock;
    std::vector<std::uint8_t> block(static_cast<std::size_t>(std::min(media::KeptBytes::kBlock, size_ - begin)));
    std::size_t filled = 0;
    while (filled < block.size()) {
      const std::size_t n = read_at(begin + static_cast<std::int64_t>(filled), std::span(block).subspan(filled));
      if (n == 0) break;
      filled += n;
    }
    block.resize(filled);
    kept.keep(number, std::move(block));
    return kept.copy(position_, buffer);
  }

  // -1 where it cannot seek.
  static std::int64_t size_of(py::handle file) {
    const bool tells = py::hasattr(file, "seekable");
    if (tells ? !file.attr("seekable")().cast<bool>() : !py::hasattr(file, "seek")) return -1;
    try {
      const py::object end = file.attr("seek")(0, SEEK_END);
      return (end.is_none() ? py::object(file.attr("tell")()) : end).cast<std::int64_t>();
    } catch (const py::error_already_set& error) {
      if (tells || !error.matches(PyExc_OSError)) throw;
      return -1;
    }
  }

  std::shared_ptr<py::object> file_, read_;
  std::shared_ptr<FileState> state_;
  std::int64_t size_ = -1, position_ = 0;
};

// As UTF-8, in which messages are: other bytes as \xNN.
std::string printable(py::handle path) {
  return py::bytes(py::module_::import("os").attr("fsencode")(path))
      .attr("decode")("utf-8", "backslashreplace")
      .cast<std::string>();
}

std::string name_of(py::handle file) {
  const py::object name = py::getattr(file, "name", py::none());
  return py::isinstance<py::str>(name) || py::isinstance<py::bytes>(name) ? printable(name) : "<file object>";
}

}  // namespace

struct KeptReads::Held {
  std::shared_ptr<py::object> file;
  std::shared_ptr<FileState> state;
  std::shared_ptr<media::KeptBytes> kept;
};

KeptReads::KeptReads(py::handle file, std::int64_t most_bytes)
    : held_(new Held{with_gil(py::reinterpret_borrow<py::object>(file)), state_of(file), nullptr}) {
  if (most_bytes < 0) throw std::invalid_argument("most_bytes must not be negative");
  const std::unique_lock held = lock_position(*held_->state);
  held_->kept = held_->state->kept.lock();
  if (!held_->kept) held_->state->kept = held_->kept = std::make_shared<media::KeptBytes>(most_bytes);
}

KeptReads::~KeptReads() = default;

namespace {

using Probe = std::shared_ptr<const media::StreamProbe>;

media::Demuxer open_stream(py::handle source, int stream, const Probe& known) {
  if (py::isinstance<py::str>(source) || py::hasattr(source, "__fspath__")) {
    const std::string path = py::module_::import("os").attr("fsencode")(source).cast<std::string>();
    if (path.find('\0') != std::string::npos) throw py::value_error("source must not have a null byte in its name");
    const std::string name = printable(source);
    const WithoutGil unlocked;
    return media::Demuxer(path, name, reader::sniff_byte_stream, stream, known);
  }
  if (PyObject_CheckBuffer(source.ptr())) {
    auto view = with_gil(py::reinterpret_borrow<py::buffer>(source).request());
    if (view->ndim > 0 && !PyBuffer_IsContiguous(view->view(), 'C')) {
      throw py::value_error("source must be contiguous");
    }
    const std::span<const std::uint8_t> bytes(static_cast<const std::uint8_t*>(view->ptr),
                                              static_cast<std::size_t>(view->size * view->itemsize));
    auto memory = std::make_unique<media::MemorySource>(bytes, std::move(view));
    const WithoutGil unlocked;
    return media::Demuxer(std::move(memory), "<bytes>", reader::sniff_byte_stream, stream, known);
  }
  if (py::hasattr(source, "read")) {
    auto file = std::make_unique<FileObject>(source);
    const std::string name = name_of(source);
    const WithoutGil unlocked;
    return media::Demuxer(std::move(file), name, reader::sniff_byte_stream, stream, known);
  }
  if (py::hasattr(source, "__array__")) {  // a tensor of PyTorch, whose __array__ says what is wrong with one of a GPU
    const py::object array = source.attr("__array__")();
    if (!py::isinstance<py::array_t<std::uint8_t>>(array)) {
      throw py::value_error("source must have the dtype uint8: the bytes of a file");
    }
    return open_stream(array, stream, known);
  }
  throw py::type_error("source must be a path, bytes or a binary file object, not " +
                       py::str(py::type::of(source).attr("__name__")).cast<std::string>());
}

media::Demuxer open_known(py::handle source, const Probe& known) {
  if (!py::hasattr(source, "stream_index")) return open_stream(source, media::Demuxer::kBestStream, known);
  return open_stream(source.attr("file"), source.attr("stream_index").cast<int>(), known);
}

}  // namespace

media::Demuxer open_demuxer(py::handle source) {
  if (!py::isinstance<OpenedSource>(source)) return open_known(source, nullptr);
  const auto& opened = source.cast<const OpenedSource&>();
  return open_known(opened.source(), opened.probe());
}

OpenedSource::OpenedSource(py::object source) : source_(std::move(source)) {
  const media::Demuxer demuxer = open_known(source_, nullptr);
  probe_ = demuxer.probe();
  info_ = demuxer.info();
}

}  // namespace ove::bindings
