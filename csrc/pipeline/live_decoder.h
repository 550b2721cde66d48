// Both decoders of a stream whose packets are pushed: syntax at once, pixels of the pictures that are wanted.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "media/packet_decoder.h"
#include "reader/push_reader.h"

namespace ove::pipeline {

// Not for use from several threads at a time. Every packet is decoded once, by either decoder.
class LiveDecoder {
 public:
  struct Options {
    std::string codec;  // FFmpeg's short name
    codec::Bytes extradata;
    codec::Detail detail;
    codec::Limits limits;
    bool pixels = false;
    int threads = 1;  // of the pixel decoder; 0: as many as there are cores
  };

  explicit LiveDecoder(Options options);

  // As PushReader does. What waits for a decision comes first.
  void push(std::span<const std::uint8_t> packet, double pts, bool corrupt);
  void set_extradata(codec::Bytes extradata);
  void flush();
  bool next(reader::VideoPicture& picture) { return reader_.next(picture); }
  std::vector<reader::Loss> take_losses() { return reader_.take_losses(); }

  // Whether the pixels of the picture of this packet, which next() has given, are wanted. Pixels are decoded as far as
  // this is known: to be called for every picture.
  void decide(std::int64_t packet, bool wanted);
  // Decodes pixels, and takes the wanted pictures that have come out, in output order.
  std::vector<media::KeptPicture> take_pixels();
  // Packets that the pixel decoder was given to decode.
  std::int64_t pixels_decoded() const { return pixels_decoded_; }

 private:
  struct Waiting {
    std::int64_t number;
    codec::Bytes bytes;
    std::optional<int> epoch;  // PushReader::restarts() when a picture began in it; none where none has
    bool referable = false;
  };

  void forget_lost();
  void decode_pixels();

  std::deque<Waiting> waiting_;           // packets whose pixels are not decoded yet
  std::map<std::int64_t, bool> decided_;  // whether they are wanted, by packet
  std::map<std::int64_t, media::KeptPicture> undecided_;
  std::vector<media::KeptPicture> out_;
  reader::PushReader reader_;
  std::optional<media::PacketDecoder> pixels_;
  std::int64_t pushed_ = 0, pixels_decoded_ = 0;
  int epoch_ = 0, sent_epoch_ = 0;
  bool flushed_ = false;
};

}  // namespace ove::pipeline
