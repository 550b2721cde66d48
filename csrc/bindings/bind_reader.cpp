#include "bindings/bindings.h"

namespace ove::bindings {

void bind_reader(pybind11::module_&) {}

}  // namespace ove::bindings
