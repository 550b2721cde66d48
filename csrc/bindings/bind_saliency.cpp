#include "bindings/bindings.h"

namespace ove::bindings {

void bind_saliency(pybind11::module_&) {}

}  // namespace ove::bindings
