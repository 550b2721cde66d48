// Messages of errors begin with the name of the source that they are about.
#pragma once

#include <string>

namespace ove {

// Throws the Error that is being handled again, its message with `name` before it unless it has that, and with its
// position.
[[noreturn]] void rethrow_named(const std::string& name);

}  // namespace ove
