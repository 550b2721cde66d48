#include <pybind11/numpy.h>

#include "bindings/bindings.h"
#include "common/error.h"

namespace py = pybind11;

namespace {

// Python exceptions carry the byte offset of the C++ ones as `position` (None where unknown).
template <class E>
void set_error(const py::object& type, const E& error) {
  py::object value = type(error.what());
  value.attr("position") = error.position() < 0 ? py::object(py::none()) : py::object(py::int_(error.position()));
  PyErr_SetObject(type.ptr(), value.ptr());
}

struct ErrorTypes {
  py::object base, invalid, unsupported, decode;
};

void register_errors(py::module_& m) {
  static PYBIND11_CONSTINIT py::gil_safe_call_once_and_store<ErrorTypes> storage;
  storage.call_once_and_store_result([&] {
    const py::object base = py::exception<ove::Error>(m, "Error", PyExc_RuntimeError);
    base.attr("position") = py::none();
    return ErrorTypes{base, py::exception<ove::InvalidBitstreamError>(m, "InvalidBitstreamError", base),
                      py::exception<ove::UnsupportedStreamError>(m, "UnsupportedStreamError", base),
                      py::exception<ove::DecodeError>(m, "DecodeError", base)};
  });
  py::register_exception_translator([](std::exception_ptr pending) {
    const ErrorTypes& types = storage.get_stored();
    try {
      if (pending) std::rethrow_exception(pending);
    } catch (const ove::InvalidBitstreamError& e) {
      set_error(types.invalid, e);
    } catch (const ove::UnsupportedStreamError& e) {
      set_error(types.unsupported, e);
    } catch (const ove::DecodeError& e) {
      set_error(types.decode, e);
    } catch (const ove::Error& e) {
      set_error(types.base, e);
    }
  });
}

}  // namespace

PYBIND11_MODULE(_core, m) {
  static_cast<void>(py::dtype::of<float>());  // NumPy's C API is looked up here, not in some thread later
  register_errors(m);
  ove::bindings::bind_media(m);
  ove::bindings::bind_picture(m);
  ove::bindings::bind_reader(m);
  ove::bindings::bind_saliency(m);
  ove::bindings::bind_heat_plan(m);
  ove::bindings::bind_stream(m);
  ove::bindings::bind_tokens(m);
  ove::bindings::bind_canvases(m);
  ove::bindings::bind_planes(m);
  ove::bindings::bind_transcoding(m);
}
