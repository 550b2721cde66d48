#include "bindings/source.h"

#include <cstring>
#include <memory>
#include <utility>

#include "bindings/gil.h"
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

// Its own position: several iterators may read one file object in turn.
class FileObject final : public media::ByteSource {
 public:
  explicit FileObject(py::handle file) : file_(with_gil(py::reinterpret_borrow<py::object>(file))) {
    read_ = with_gil(py::object(file.attr("read")));
    if (!py::hasattr(file, "seekable") || !file.attr("seekable")().cast<bool>()) return;
    size_ = file.attr("seek")(0, 2).cast<std::int64_t>();
  }

  std::size_t read(std::span<std::uint8_t> buffer) override {
    py::gil_scoped_acquire gil;
    if (seekable()) file_->attr("seek")(position_);
    const py::object chunk = (*read_)(buffer.size());
    if (chunk.is_none()) throw py::value_error("the file object does not block: read() returned None");
    if (!PyObject_CheckBuffer(chunk.ptr()))
      throw py::type_error("the file object is not binary: open it with mode 'rb'");
    const py::buffer_info bytes = py::reinterpret_borrow<py::buffer>(chunk).request();
    const std::size_t n = static_cast<std::size_t>(bytes.size * bytes.itemsize);
    if (n > buffer.size()) throw py::value_error("the file object's read() returned more than it was asked for");
    std::memcpy(buffer.data(), bytes.ptr, n);
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
  std::shared_ptr<py::object> file_, read_;
  std::int64_t size_ = -1, position_ = 0;
};

std::string name_of(py::handle file) {
  const py::object name = py::getattr(file, "name", py::none());
  return py::isinstance<py::str>(name) ? name.cast<std::string>() : "<file object>";
}

}  // namespace

media::Demuxer open_demuxer(py::handle source) {
  if (py::isinstance<py::str>(source) || py::hasattr(source, "__fspath__")) {
    const std::string path = py::module_::import("os").attr("fsencode")(source).cast<std::string>();
    if (path.find('\0') != std::string::npos) throw py::value_error("source must not have a null byte in its name");
    const WithoutGil unlocked;
    return media::Demuxer(path, reader::sniff_byte_stream);
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
    return media::Demuxer(std::move(memory), "<bytes>", reader::sniff_byte_stream);
  }
  if (py::hasattr(source, "read")) {
    auto file = std::make_unique<FileObject>(source);
    const std::string name = name_of(source);
    const WithoutGil unlocked;
    return media::Demuxer(std::move(file), name, reader::sniff_byte_stream);
  }
  throw py::type_error("source must be a path, bytes or a binary file object, not " +
                       py::str(py::type::of(source).attr("__name__")).cast<std::string>());
}

}  // namespace ove::bindings
