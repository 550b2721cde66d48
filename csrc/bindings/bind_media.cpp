#include "bindings/bindings.h"

namespace ove::bindings {

void bind_media(pybind11::module_&) {}

}  // namespace ove::bindings
