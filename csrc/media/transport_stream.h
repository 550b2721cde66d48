// Whether a transport stream is encrypted: its demuxer finds no picture in it and does not say why.
#pragma once

#include <cstdint>
#include <span>

namespace ove::media {

// Whether `head`, the first bytes of a file, is made of transport packets (ISO/IEC 13818-1, 2.4.3.2) most of whose
// payloads, tables left out, are scrambled.
bool is_scrambled(std::span<const std::uint8_t> head);

}  // namespace ove::media
