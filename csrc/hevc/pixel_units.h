// NAL units as libavcodec's pixel decoder is given them: it refuses packets whose supplementary data is broken, though
// their pictures are whole.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace ove::hevc {

// Table 7-1: VPS, SPS, PPS, and SEI before and behind a picture.
bool is_supplementary(std::span<const std::uint8_t> nal_unit);

// What takes the place of such a unit.
std::vector<std::vector<std::uint8_t>> for_pixels(std::span<const std::uint8_t> nal_unit);

// A record (hvcC) of such units; none where it cannot be taken apart.
std::optional<std::vector<std::uint8_t>> record_for_pixels(std::span<const std::uint8_t> record);

}  // namespace ove::hevc
