// Pixels of chosen pictures, by libavcodec.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <vector>

#include "common/yuv.h"
#include "media/demuxer.h"
#include "media/packet_filter.h"

namespace ove::media {

struct DecodedPicture {
  std::int64_t packet = 0;  // Packet::index of the packet it was decoded from
  YuvPicture yuv;           // valid until the next call to the PixelDecoder
  // Null where the samples lie in the CPU's memory. On a GPU they are valid as long as this is kept, and written in the
  // order of Nvdec::stream; work that reads them must be done before this is freed. Up to kMostFrames may be kept.
  std::shared_ptr<const void> frame;
};

// Where NVDEC decodes. Both outlive the decoder and its pictures.
struct Nvdec {
  void* context = nullptr;  // CUcontext
  void* stream = nullptr;   // CUstream of that context; null: its default stream
};

// Pictures are named by the number of their packet, not by time: time stamps may be missing, repeated or moved by edit
// lists, packets are none of that. Not for use from several threads at a time.
class PixelDecoder {
 public:
  static constexpr int kMostFrames = 9;  // of DecodedPicture::frame, while others are decoded

  // Packets that are read one after the other, from a random access point on, and the parameter sets (NAL units, in
  // this order) that its pictures find.
  struct Section {
    PacketPlace begin;
    std::int64_t end = 0;  // Packet::index behind the last one
    std::vector<std::shared_ptr<const std::vector<std::uint8_t>>> parameter_sets;
  };
  struct Options {
    std::vector<std::int64_t> wanted;  // Packet::index of the pictures to give, in any order
    // Ascending; what they leave out no wanted picture needs, and no picture refers from one to the other. The
    // caller has looked for lost slices in them. The whole video where there are none.
    std::vector<Section> sections;
    // Packet::index of pictures in them that no wanted one needs, directly or not; they are not decoded.
    std::vector<std::int64_t> dropped;
    // Takes packets apart; null where those that are dropped hold nothing else, and others stay as they are.
    std::shared_ptr<PacketFilter> filter;
    // Sizes of packets, by their number, as an earlier reading found them: others mean that the source has changed.
    std::map<std::int64_t, std::int64_t> known_bytes;
    // Some pictures of the sections refer to what is not there. No wanted one needs any of those, or what is missing.
    bool incomplete = false;
    int threads = 0;             // 0: as many as there are cores
    std::optional<Nvdec> nvdec;  // decodes what it knows, the CPU the rest; none: the CPU decodes all
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
