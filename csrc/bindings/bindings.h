// What the files of this room offer to module.cpp: one function a room of the core.
#pragma once

#include <pybind11/pybind11.h>

namespace ove::bindings {

void bind_media(pybind11::module_& m);
void bind_reader(pybind11::module_& m);
void bind_saliency(pybind11::module_& m);
void bind_tokens(pybind11::module_& m);

}  // namespace ove::bindings
