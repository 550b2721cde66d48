// Whether a Matroska file is complete: its demuxer takes the end of a file cut short for the end of the video.
#pragma once

#include <cstdint>
#include <span>

namespace ove::media {

// Byte offset where the segment ends, by the sizes in `head`, the first bytes of the file (RFC 8794 4 to 6, RFC
// 9559 5.1); -1 where they do not say, as in live recordings.
std::int64_t matroska_end(std::span<const std::uint8_t> head);

}  // namespace ove::media
