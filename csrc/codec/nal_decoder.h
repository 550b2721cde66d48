// A decoder of packets that are made of NAL units.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "bitstream/nal.h"
#include "codec/decoder.h"

namespace ove::codec {

class NalDecoder : public Decoder {
 protected:
  using Decoder::Decoder;

  // How the packets from here on are framed.
  void set_framing(NalFraming framing) { framing_ = framing; }

  // `position` is the unit's byte offset in the source, -1 where it is not known.
  virtual void decode_nal(const NalUnit& unit, const AccessUnitTag& tag, std::int64_t position) = 0;

 private:
  std::size_t begin_packet(std::int64_t& at) final;
  void decode_part(std::size_t part, const AccessUnitTag& tag, std::int64_t& at) final;

  NalFraming framing_;
  struct Place {
    std::size_t offset, size;
  };
  std::vector<Place> units_;  // of the packet
};

}  // namespace ove::codec
