// The little that demuxing has to know of NAL units: raw streams have no container that says what they are.
#pragma once

#include <cstdint>
#include <span>

namespace ove::media {

enum class AnnexB : std::uint8_t { kNone, kH264, kHevc };

// Whether `head`, the first bytes of a file, is a raw byte stream (Annex B) of one of both, judged by the headers of
// its NAL units. Files that do not begin with a start code are none.
AnnexB sniff_annexb(std::span<const std::uint8_t> head);

}  // namespace ove::media
