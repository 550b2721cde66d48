// Decoders of libavcodec, and all pictures of a video one after the other. Only this room may see it.
#pragma once

#include <cstdint>
#include <exception>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "media/demuxer.h"
#include "media/ffmpeg.h"
#include "media/packet_filter.h"

namespace ove::media {

// A decoder, not yet opened: to the sample, without concealment, in one thread, without a word. Throws
// UnsupportedStreamError, with the `name` of the video, where libavcodec has none, and where pictures have more samples
// than allowed.
// The filter, which may be null, goes over parameter sets beside the packets.
CodecPtr make_decoder(const AVCodecParameters& parameters, const StreamInfo& stream, const std::string& name,
                      std::int64_t max_luma_samples, const PacketFilter* filter);
// What the filter, which may be null, leaves of a packet, with the packet's side data.
void filter_for_pixels(const PacketFilter* filter, AVPacket& packet);
// Moves what the filter leaves of `ahead`, parameter sets in the packet's framing, to its beginning. Decoders may
// refuse a packet of them alone.
void prepend(const PacketFilter* filter, std::vector<std::uint8_t>& ahead, AVPacket& packet);
// Whether the caller finds lost slices itself.
enum class Slices : std::uint8_t { kUnknown, kChecked };
// Sets the number of threads, 0 for as many as there are cores, and what they share: what lets damage be told.
void share_work(AVCodecContext& codec, int threads, Slices slices);
// Throws DecodeError.
void open_decoder(AVCodecContext& codec, const std::string& name);

// When a picture is shown, in units of the time base.
struct PictureTimes {
  std::int64_t packet = -1;  // Packet::index of its packet, -1 where unknown
  std::int64_t pts = kNoTimestamp;
  std::int64_t duration = 0;
  std::int64_t packet_bytes = 0;
  bool key = false;   // of its packet
  bool made = false;  // pts is not the container's
};

// Decodes a whole video. In one thread damage is told at the very packet that it lies in, in several, 0 for all cores,
// at a later one.
class FrameDecoder {
 public:
  enum class Wanted : std::uint8_t { kSamples, kVectors, kFacts };
  // With kVectors frames have the vectors of their blocks as side data. With it and with kFacts they have no samples
  // that could be shown. Throws what make_decoder and open_decoder do.
  FrameDecoder(Demuxer demuxer, Wanted wanted, int threads, std::int64_t max_luma_samples,
               std::shared_ptr<const PacketFilter> filter);

  const Demuxer& demuxer() const { return demuxer_; }
  // Decodes the pictures of these packets alone (Packet::index, ascending). Without it libavcodec shows, or refuses,
  // pictures whose references are missing, where a stream begins in the middle of a group or was cut and joined.
  void decode_only(std::vector<std::int64_t> packets) { decodable_ = std::move(packets); }
  const AVStream& stream() const;
  const AVCodecParameters& parameters() const { return *stream().codecpar; }

  // Takes the next picture shown, in output order; false at the end. Throws DecodeError, with a byte offset, once all
  // pictures were given that are decoded from packets before the damage.
  bool next(AVFrame& frame, PictureTimes& times);

  // Of the times given; and how many pictures a second there are, as far as that is known.
  AVRational time_base() const { return time_base_; }
  AVRational frame_rate() const { return frame_rate_; }

 private:
  void feed();
  void break_off();
  PictureTimes take_times(const AVFrame& frame);
  [[noreturn]] void fail(const std::string& what, int code) const;

  Demuxer demuxer_;
  std::shared_ptr<const PacketFilter> filter_;  // null where packets stay as they are
  CodecPtr codec_;
  std::vector<std::int64_t> decodable_;  // empty where all are
  std::vector<std::uint8_t> ahead_;      // for the next packet: what those that are left out hold beside pictures
  AVRational frame_rate_, time_base_;
  std::map<std::int64_t, PictureTimes> times_;  // of packets whose picture may still come
  std::int64_t sent_ = -1;                      // Packet::index of the packet sent last
  std::int64_t sent_dts_ = kNoTimestamp;        // its dts; none at the end
  std::int64_t last_pts_ = kNoTimestamp;        // of the picture given last
  std::int64_t position_ = -1;                  // of the packet sent last
  bool draining_ = false;
  std::exception_ptr broken_;  // thrown after the pictures before it
};

}  // namespace ove::media
