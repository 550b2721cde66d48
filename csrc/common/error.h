// The exceptions that leave the library, one small family.
#pragma once

#include <cstdint>
#include <stdexcept>
#include <string>

namespace ove {

// Base of the family. `position` is a byte offset in the file (or in the buffer given), -1 where none is known.
class Error : public std::runtime_error {
 public:
  explicit Error(const std::string& message, std::int64_t position = -1);
  std::int64_t position() const noexcept { return position_; }

 private:
  std::int64_t position_;
};

// The bits contradict the standard, or are cut short.
class InvalidBitstreamError : public Error {
  using Error::Error;
};

// The stream is legal, but uses a tool, a codec or a size that this library does not take.
class UnsupportedStreamError : public Error {
  using Error::Error;
};

// The source cannot be opened, read or decoded to pixels.
class DecodeError : public Error {
  using Error::Error;
};

}  // namespace ove
