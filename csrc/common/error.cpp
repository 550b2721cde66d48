#include "common/error.h"

namespace ove {

Error::Error(const std::string& message, std::int64_t position) : std::runtime_error(message), position_(position) {}

}  // namespace ove
