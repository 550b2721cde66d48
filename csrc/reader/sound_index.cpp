// The index of a video that is damaged: see index_sound_pictures().
#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>
#include <string>
#include <utility>

#include "common/error.h"
#include "common/named_error.h"
#include "reader/push_reader.h"
#include "reader/video_index.h"

namespace ove::reader {

namespace {

double seconds(std::int64_t pts, media::Rational base) {
  const bool known = pts != media::kNoTimestamp && base.den > 0;
  return known ? static_cast<double>(pts) * base.num / base.den : std::numeric_limits<double>::quiet_NaN();
}

class SoundPictures {
 public:
  SoundPictures(media::Demuxer demuxer, const codec::Limits& limits)
      : demuxer_(std::move(demuxer)),
        reader_(demuxer_.info().codec, demuxer_.info().extradata,
                {.detail = {}, .limits = limits, .observe = [this](const codec::CodecPicture& p) { part_.add(p); }}) {
    index_.codec = demuxer_.info().codec;
  }

  VideoIndex read() {
    const media::Rational base = demuxer_.info().time_base;
    std::optional<Loss> cut;
    try {
      for (media::Packet packet; demuxer_.read(packet); take()) {
        reader_.set_extradata(packet.extradata ? *packet.extradata : demuxer_.info().extradata);
        reader_.push(packet.data, seconds(packet.pts, base), packet.corrupt, tag_of(packet));
      }
    } catch (const DecodeError& error) {  // the file is cut short
      cut = Loss{reader_.packets(), reader_.packets(), std::numeric_limits<double>::quiet_NaN(), error.what()};
    }
    reader_.flush();
    take();
    if (cut) index_.lost.push_back(std::move(*cut));
    return std::move(index_);
  }

 private:
  void take() {
    const std::int64_t before = std::ssize(index_.decoded);
    for (VideoPicture picture; reader_.next(picture);) {
      const codec::CodecPicture& p = *picture.codec;
      if (p.tag.discard) continue;
      index_.pictures.push_back({.packet = p.tag.packet,
                                 .packet_bytes = p.tag.size,
                                 .decode_index = before + p.decode_index,
                                 .num_coded = p.num_coded,
                                 .pts = picture.pts,
                                 .poc = p.poc,
                                 .type = p.type,
                                 .random_access = p.random_access});
    }
    for (Loss& loss : reader_.take_losses()) index_.lost.push_back(std::move(loss));
    if (std::exchange(restarts_, reader_.restarts()) != reader_.restarts()) end_part();
  }

  // The pictures before the damage, to which those behind it do not refer.
  void end_part() {
    VideoIndex part = std::exchange(part_, {});
    const auto sound = std::find_if(part.decoded.begin(), part.decoded.end(), [&](const codec::KnownPicture& picture) {
      return picture.packet >= reader_.lost_from();
    });
    part.packet_bytes.resize(static_cast<std::size_t>(sound - part.decoded.begin()));
    part.decoded.erase(sound, part.decoded.end());
    std::erase_if(part.random_access, [&](const media::PacketPlace& p) { return p.index >= reader_.lost_from(); });
    if (!part.decoded.empty() && !index_.decoded.empty()) part.decoded.front().starts_anew = true;
    index_.append(std::move(part));
  }

  media::Demuxer demuxer_;
  VideoIndex index_, part_;
  PushReader reader_;
  int restarts_ = 0;
};

}  // namespace

VideoIndex index_sound_pictures(media::Demuxer demuxer, const codec::Limits& limits) {
  const std::string name = demuxer.name();
  try {
    VideoIndex index = SoundPictures(std::move(demuxer), limits).read();
    if (index.pictures.empty()) {
      throw InvalidBitstreamError("no picture can be decoded" +
                                  (index.lost.empty() ? "" : ": " + index.lost.front().reason));
    }
    return index;
  } catch (const Error&) {
    rethrow_named(name);
  }
}

}  // namespace ove::reader
