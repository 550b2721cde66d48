// What every fuzz target holds a picture to.
#pragma once

#include <cstddef>

#include "codec/picture.h"

namespace ove::fuzz {

// Reads everything that a picture offers, and gives a hash of it. Aborts where the parts contradict each other.
std::size_t check_picture(const codec::CodecPicture& picture);

// Ends the process in a way that a fuzzer reports.
[[noreturn]] void finding(const char* what);

}  // namespace ove::fuzz
