// Packets that somebody pushes, as of a live stream: their pictures, whatever becomes of packets on the way.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "codec/decoder.h"
#include "media/packet_filter.h"
#include "reader/loss.h"
#include "reader/video_reader.h"

namespace ove::reader {

// Not for use from several threads at a time. Decodes in the caller's thread, so that a picture is there when the
// packet behind its own is, unless it waits for others that are shown before it. Holds as many pictures as a decoder
// has to.
class PushReader {
 public:
  struct Options {
    codec::Detail detail;
    codec::Limits limits;
    std::function<void(const codec::CodecPicture&)> observe;  // every coded picture, when its headers are read
  };

  // Throws std::invalid_argument for a codec that is not decoded, InvalidBitstreamError for damaged extradata.
  PushReader(std::string codec, codec::Bytes extradata, Options options);

  // One access unit, shown at `pts` seconds, or NaN. `corrupt`: the sender says that bytes are missing. Throws
  // UnsupportedStreamError for what no later packet can make good. The pictures get the tag with the packet's number
  // and size.
  void push(std::span<const std::uint8_t> packet, double pts, bool corrupt, codec::AccessUnitTag tag = {});
  // Parameter sets and framing of the packets from here on.
  void set_extradata(codec::Bytes extradata);
  // The end of the stream: all pictures that wait come out. What is pushed then begins a new one.
  void flush();

  // Takes the next picture in display order; false where there is none yet.
  bool next(VideoPicture& picture);
  // Takes those whose end is known, or all after flush().
  std::vector<Loss> take_losses();

  std::int64_t packets() const { return packets_; }
  const std::shared_ptr<media::PacketFilter>& filter() const { return filter_; }
  // How often decoding began anew, nothing referring to what was before; and from which packet on pictures were lost
  // then.
  int restarts() const { return restarts_; }
  std::int64_t lost_from() const { return lost_from_; }

 private:
  struct Sent {
    std::int64_t position = 0;  // in the bytes of all packets
    double pts = 0;
  };

  void open();
  void restart();
  void feed(std::span<const std::uint8_t> packet, const codec::AccessUnitTag& tag);
  void collect(std::span<const std::uint8_t> packet, const codec::AccessUnitTag& tag);
  void drain();
  void finish();
  void lose(std::int64_t number, const std::string& reason);
  void give(std::shared_ptr<const codec::CodecPicture> picture);
  std::int64_t packet_at(std::int64_t position) const;

  const std::string codec_;
  codec::Bytes extradata_;
  const Options options_;
  std::shared_ptr<media::PacketFilter> filter_;
  std::unique_ptr<codec::Decoder> decoder_;
  std::shared_ptr<const codec::ParameterSets> sets_;  // of the picture that began last
  std::deque<VideoPicture> ready_;
  std::map<std::int64_t, Sent> sent_;  // the last packets
  std::vector<Loss> losses_;
  std::int64_t packets_ = 0, bytes_ = 0, pictures_ = 0;
  double last_pts_ = 0;
  bool any_since_restart_ = false;  // pictures
  int restarts_ = 0;
  std::int64_t lost_from_ = 0;
};

}  // namespace ove::reader
