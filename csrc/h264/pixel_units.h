// NAL units as libavcodec's pixel decoder is given them: it refuses packets whose supplementary data is broken, though
// their pictures are whole.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace ove::h264 {

// 7.4.1: SEI
bool is_supplementary(std::span<const std::uint8_t> nal_unit);

// What takes the place of such a unit. SEI stays where its messages end where they say and it has a recovery point,
// where decoding may begin, or user data, by which libavcodec knows encoders with defects.
std::vector<std::vector<std::uint8_t>> for_pixels(std::span<const std::uint8_t> nal_unit);

}  // namespace ove::h264
