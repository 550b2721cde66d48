// NAL units, framed as packets, into a syntax decoder: what the fuzz targets of the codecs share.
//
// Input: flags, a detail pattern, the size of the extradata (2 bytes, big endian), the extradata, NAL units in Annex B.
//   flags & 3    framing: 0 one packet as it is, 1 a packet a NAL unit, 2 the same with length prefixes, 3 as 0, but
//                the extradata may declare length prefixes
//   flags & 4    decoding order
//   flags & 16   headers only
//   flags & 32   residuals packed
//   flags & 64   pictures as they are coded, in decoding order
//   pattern      bit (packet % 8): residual too, not just motion
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>

#include "codec/decoder.h"

namespace ove::fuzz {

using MakeDecoder = std::function<std::unique_ptr<codec::Decoder>(codec::DecoderOptions)>;

// What LLVMFuzzerTestOneInput() is to return. The low bits of extradata's byte `length_size_at` give the size of length
// prefixes, less one.
int run_nal_units(std::span<const std::uint8_t> input, std::size_t length_size_at, const MakeDecoder& make_decoder);

}  // namespace ove::fuzz
