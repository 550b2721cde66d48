// A video file, by libavformat: facts of its video stream, and its packets (access units) one after the other.
#pragma once

#include <cstdint>
#include <limits>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "common/geometry.h"
#include "media/byte_source.h"

namespace ove::media {

inline constexpr std::int64_t kNoTimestamp = std::numeric_limits<std::int64_t>::min();

struct Rational {
  int num = 0, den = 1;
};

// As the container (and the parameter sets that libavformat looked at) say; what is unknown is 0, empty or
// kNoTimestamp.
struct StreamInfo {
  std::string container, codec, profile;  // FFmpeg's short names
  bool has_pixels = false;                // libavcodec has a decoder for the codec
  int width = 0, height = 0;              // displayed luma samples, before they are turned
  std::vector<std::uint8_t> extradata;    // parameter sets: HEVCDecoderConfigurationRecord, or Annex B, or empty
  Rational time_base, frame_rate, sample_aspect_ratio;
  std::int64_t start_time = kNoTimestamp;  // in time_base units
  std::int64_t duration = kNoTimestamp;    // in time_base units
  std::int64_t frame_count = 0;            // as the container claims
  std::int64_t bit_rate = 0;               // bits per second, of the video stream, else of the file
  Orientation orientation;
  int bit_depth = 0;  // of luma
  std::string pixel_format, color_range, color_matrix, color_primaries, color_transfer,
      chroma_location;  // FFmpeg's names
};

struct Packet {
  std::span<const std::uint8_t> data;  // valid until the next call to the Demuxer
  std::int64_t index = 0;              // 0-based number over the packets of the video stream, in decoding order
  std::int64_t pts = kNoTimestamp, dts = kNoTimestamp, duration = 0;  // in time_base units
  std::int64_t position = -1;                                         // byte offset in the file, -1 where unknown
  bool key = false;
  bool discard = false;  // decoded but not shown: outside of the edit list
  bool corrupt = false;  // the container says that bytes are missing
  // The parameter sets, and framing, of this packet and those after it where they are not StreamInfo::extradata: of a
  // track with several sample descriptions. Equal pointers mean equal bytes.
  std::shared_ptr<const std::vector<std::uint8_t>> extradata;
};

// Where a packet stands, as an earlier reading of the same source found it.
struct PacketPlace {
  std::int64_t index = 0;
  std::int64_t pts = kNoTimestamp, dts = kNoTimestamp;
  std::int64_t position = -1, size = 0;
};

// A packet that the container's tables tell of.
struct TabledPacket {
  PacketPlace place;
  bool key = false;
};

class StreamProbe;

// Not for use from several threads at a time. Reads one file only: nothing that the file refers to, nothing from a
// network. Every call may throw DecodeError, with the byte offset in the file,
// UnsupportedStreamError where it is encrypted, and what a ByteSource throws.
class Demuxer {
 public:
  // Names libavformat's format of a file by its first bytes, where it would not find it itself; empty where it would.
  using Sniffer = std::string (*)(std::span<const std::uint8_t> head);

  // Of several video streams, the one that libavformat finds best.
  static constexpr int kBestStream = -1;

  // `path` is a file of the local system; `name` stands for the source in messages; `stream` counts all streams of the
  // container. `known` is the probe() of an earlier Demuxer of the same source; it spares work where the source is
  // still the same, and does nothing where it is not.
  Demuxer(const std::string& path, const std::string& name, Sniffer sniff, int stream = kBestStream,
          std::shared_ptr<const StreamProbe> known = nullptr);
  Demuxer(std::unique_ptr<ByteSource> source, const std::string& name, Sniffer sniff, int stream = kBestStream,
          std::shared_ptr<const StreamProbe> known = nullptr);
  ~Demuxer();
  Demuxer(Demuxer&&) noexcept;
  Demuxer& operator=(Demuxer&&) noexcept;

  const StreamInfo& info() const;
  const std::string& name() const;
  std::shared_ptr<const StreamProbe> probe() const;

  // Takes the next packet; false at the end. Throws where the file ends before its index does.
  bool read(Packet& packet);
  // Packet::index of what read() gives next.
  std::int64_t next_index() const;
  // Goes to this packet: without reading those before it where the container leads to the very packet, else by reading
  // them. Throws where it lies behind and the source cannot seek.
  void seek(const PacketPlace& place);
  bool seekable() const;

  // All packets, as read() would give them, without reading them; none where the container does not tell all of them,
  // or that some are not shown, or decoded otherwise than info() says. Then nothing may be read any more, else only
  // after seek().
  std::vector<TabledPacket> table();

  struct Impl;

 private:
  friend class PixelDecoder;  // takes whole AVPackets, with their side data
  friend class FrameDecoder;
  bool jump(const PacketPlace& place);
  void rewind();
  std::unique_ptr<Impl> impl_;
};

}  // namespace ove::media
