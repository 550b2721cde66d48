// Pixels of packets that are given one after the other, by libavcodec.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "common/yuv.h"
#include "media/packet_filter.h"

namespace ove::media {

struct KeptPicture {
  std::int64_t packet = 0;  // the number that was given with its packet
  YuvPicture yuv;           // valid as long as `frame`
  std::shared_ptr<const void> frame;
};

// Not for use from several threads at a time.
class PacketDecoder {
 public:
  struct Options {
    std::string codec;  // FFmpeg's short name
    std::vector<std::uint8_t> extradata;
    std::shared_ptr<PacketFilter> filter;
    int threads = 1;  // 0: as many as there are cores
    std::int64_t max_luma_samples = std::int64_t{1} << 26;
  };

  // Throws UnsupportedStreamError where libavcodec has no decoder for the codec.
  explicit PacketDecoder(Options options);
  ~PacketDecoder();
  PacketDecoder(PacketDecoder&&) noexcept;
  PacketDecoder& operator=(PacketDecoder&&) noexcept;

  // Damaged packets give no picture.
  void send(std::span<const std::uint8_t> packet, std::int64_t number);
  // A packet whose picture no other refers to, and which is not wanted.
  void skip(std::span<const std::uint8_t> packet);
  // All pictures come out; what is sent then needs nothing before it but parameter sets.
  void begin_anew();
  void set_extradata(std::vector<std::uint8_t> extradata);

  // The pictures that have come out since the last call, in output order.
  std::vector<KeptPicture> take();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace ove::media
