#include "bindings/bindings.h"

namespace ove::bindings {

void bind_tokens(pybind11::module_&) {}

}  // namespace ove::bindings
