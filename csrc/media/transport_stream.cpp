#include "media/transport_stream.h"

#include <cstddef>

namespace ove::media {

bool is_scrambled(std::span<const std::uint8_t> head) {
  constexpr std::size_t kPacket = 188;
  constexpr std::uint8_t kSync = 0x47;
  constexpr int kNullPacket = 0x1FFF;
  for (const std::size_t stride : {kPacket, kPacket + 4, kPacket + 16}) {  // as broadcast, M2TS, with error correction
    const std::size_t first = stride == kPacket + 4 ? 4 : 0;
    int clear = 0, scrambled = 0;
    std::size_t at = first;
    for (; at + kPacket <= head.size() && head[at] == kSync; at += stride) {
      const int pid = (head[at + 1] & 0x1F) << 8 | head[at + 2];
      const bool payload = head[at + 3] & 0x10;
      if (pid < 0x20 || pid == kNullPacket || !payload) continue;
      ++(head[at + 3] >> 6 != 0 ? scrambled : clear);
    }
    // Program map tables have numbers as elementary streams do.
    if (at > first && at + kPacket > head.size()) return scrambled > clear;
  }
  return false;
}

}  // namespace ove::media
