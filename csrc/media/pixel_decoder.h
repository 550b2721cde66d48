// Pixels of chosen pictures, by libavcodec.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <vector>

#include "common/yuv.h"
#include "media/demuxer.h"
#include "media/packet_filter.h"

namespace ove::media {

struct DecodedPicture {
  std::int64_t packet = 0;  // Packet::index of the packet it was decoded from
  YuvPicture yuv;           // valid until the next call to the PixelDecoder
  // Where the samples lie on a GPU they are valid as long as this is kept, of which a few may be; they are written in
  // the order of the device's default stream.
  std::shared_ptr<const void> frame;
};

// Pictures are named by the number of their packet, not by time: time stamps may be missing, repeated or moved by edit
// lists, packets are none of that. Not for use from several threads at a time.
class PixelDecoder {
 public:
  // Packets that are read one after the other, from a random access point on, and the parameter sets (NAL units, in
  // this order) that its pictures find.
  struct Section {
    PacketPlace begin;
    std::int64_t end = 0;  // Packet::index behind the last one
    std::vector<std::shared_ptr<const std::vector<std::uint8_t>>> parameter_sets;
  };
  struct Options {
    std::vector<std::int64_t> wanted;  // Packet::index of the pictures to give, in any order
    // Ascending; what they leave out no wanted picture needs, and no picture refers from one to the other. The whole
    // video where there are none.
    std::vector<Section> sections;
    // Packet::index of pictures in them that no wanted one needs, directly or not; they are not decoded.
    std::vector<std::int64_t> dropped;
    // Takes packets apart; null where those that are dropped hold nothing else, and others stay as they are.
    std::shared_ptr<PacketFilter> filter;
    // Sizes of packets, by their number, as an earlier reading found them: others mean that the source has changed.
    std::map<std::int64_t, std::int64_t> known_bytes;
    // Some pictures of the sections refer to what is not there. No wanted one needs any of those, or what is missing.
    bool incomplete = false;
    int threads = 0;       // 0: as many as there are cores
    int cuda_device = -1;  // not -1: NVDEC decodes there; what it does not know, the CPU does
    std::int64_t max_luma_samples = std::int64_t{1} << 26;  // of a picture
  };

  // Throws std::invalid_argument for a negative number, UnsupportedStreamError where libavcodec has no decoder and
  // where pictures have more samples than allowed.
  PixelDecoder(Demuxer demuxer, Options options);
  ~PixelDecoder();
  PixelDecoder(PixelDecoder&&) noexcept;
  PixelDecoder& operator=(PixelDecoder&&) noexcept;

  const Demuxer& demuxer() const;

  // Takes the next wanted picture, in output order; false when all of them were given. Throws DecodeError, with a byte
  // offset, where the decoder finds damage and where a wanted picture does not come out; UnsupportedStreamError for
  // samples that libswscale cannot bring into planes of Y'CbCr, R'G'B' or luma.
  bool next(DecodedPicture& picture);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace ove::media
