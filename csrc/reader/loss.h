// Packets whose pictures are lost: from damage up to the next random access point.
#pragma once

#include <cstdint>
#include <string>

namespace ove::reader {

struct Loss {
  std::int64_t packet = 0;  // the first, counted from 0 over all packets of the stream
  std::int64_t end = -1;    // behind the last; -1 while none is known to be
  double pts = 0;           // seconds, of the first; NaN where it has none
  std::string reason;
};

}  // namespace ove::reader
