// Working without the global interpreter lock.
#pragma once

#include <pybind11/pybind11.h>

namespace ove::bindings {

// Frees the GIL. A daemon thread that takes it back after the end of the interpreter is unwound there, which the
// destructor of py::gil_scoped_release does not let pass.
class WithoutGil {
 public:
  WithoutGil() : state_(PyEval_SaveThread()) {}
  ~WithoutGil() noexcept(false) { PyEval_RestoreThread(state_); }
  WithoutGil(const WithoutGil&) = delete;
  WithoutGil& operator=(const WithoutGil&) = delete;

 private:
  PyThreadState* state_;
};

}  // namespace ove::bindings
