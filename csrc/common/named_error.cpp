#include "common/named_error.h"

#include "common/error.h"

namespace ove {

void rethrow_named(const std::string& name) {
  const auto named = [&](const Error& e) {
    const std::string message = e.what();
    if (message.find(name) != std::string::npos) return message;
    return name + ": " + message + (e.position() >= 0 ? " (near byte " + std::to_string(e.position()) + ")" : "");
  };
  try {
    throw;
  } catch (const InvalidBitstreamError& e) {
    throw InvalidBitstreamError(named(e), e.position());
  } catch (const UnsupportedStreamError& e) {
    throw UnsupportedStreamError(named(e), e.position());
  } catch (const DecodeError& e) {
    throw DecodeError(named(e), e.position());
  }
}

}  // namespace ove
