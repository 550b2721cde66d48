#include "codec/limits.h"

#include <algorithm>
#include <stdexcept>
#include <string>

#include "common/error.h"

namespace ove::codec {

Limits Limits::highest() {
  Limits limits;
  for (const LimitField& f : kLimitFields) limits.*f.field = f.most;
  return limits;
}

void Limits::validate() const {
  for (const LimitField& f : kLimitFields) {
    const std::int64_t value = this->*f.field;
    if (value < 1 || value > f.most) {
      throw std::invalid_argument(std::string(f.name) + " must be 1 to " + std::to_string(f.most) + ", not " +
                                  std::to_string(value));
    }
  }
}

void Limits::refuse(std::int64_t Limits::*limit, std::int64_t value, const char* what) const {
  const auto f = std::find_if(kLimitFields.begin(), kLimitFields.end(), [&](auto& e) { return e.field == limit; });
  throw UnsupportedStreamError(std::string(what) + " is " + std::to_string(value) + ", over the limit of " +
                               std::to_string(this->*limit) + "; raise Limits." + f->name + " to read it");
}

}  // namespace ove::codec
