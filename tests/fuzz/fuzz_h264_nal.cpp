// Fuzz target: NAL units into the syntax decoder of H.264. nal_target.h tells the form of an input.

#include <memory>
#include <utility>

#include "h264/decoder.h"
#include "mutator.h"
#include "nal_target.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  constexpr std::size_t kLengthSizeAt = 4;  // of avcC
  return ove::fuzz::run_nal_units({data, size}, kLengthSizeAt, [](ove::codec::DecoderOptions options) {
    return std::make_unique<ove::h264::SyntaxDecoder>(std::move(options));
  });
}
