// Fuzz target: NAL units into the syntax decoder of HEVC. nal_target.h tells the form of an input.

#include <memory>
#include <utility>

#include "hevc/decoder.h"
#include "mutator.h"
#include "nal_target.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  constexpr std::size_t kLengthSizeAt = 21;  // of hvcC
  return ove::fuzz::run_nal_units({data, size}, kLengthSizeAt, [](ove::codec::DecoderOptions options) {
    return std::make_unique<ove::hevc::SyntaxDecoder>(std::move(options));
  });
}
