// What the pixel decoder asks of a codec's packets, whose syntax it does not know.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

namespace ove::media {

class PacketFilter {
 public:
  virtual ~PacketFilter() = default;

  // Of the packets from here on; see Packet::extradata.
  virtual void set_extradata(std::span<const std::uint8_t> extradata) = 0;
  // The packet without padding and supplementary data that pixels do not need, which libavcodec refuses where it is
  // broken; none where it may stay as it is. Data that cannot be taken apart stays as it is too.
  virtual std::optional<std::vector<std::uint8_t>> for_pixels(std::span<const std::uint8_t> packet) const = 0;
  // The same of the extradata of a stream.
  virtual std::optional<std::vector<std::uint8_t>> extradata_for_pixels(
      std::span<const std::uint8_t> extradata) const = 0;
  // The packet without its picture: what later pictures may need. Empty where there is nothing.
  virtual std::vector<std::uint8_t> without_picture(std::span<const std::uint8_t> packet) const = 0;
  // A packet of these parameter sets.
  virtual std::vector<std::uint8_t> packet_of(
      std::span<const std::shared_ptr<const std::vector<std::uint8_t>>> parameter_sets) const = 0;
};

}  // namespace ove::media
