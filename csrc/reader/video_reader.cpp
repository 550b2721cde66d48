#include "reader/video_reader.h"

#include <algorithm>
#include <string>
#include <thread>

namespace ove::reader {

namespace {

int thread_count(int threads) {
  return threads > 0 ? threads : static_cast<int>(std::max(1U, std::thread::hardware_concurrency()));
}

// How much of the picture of each packet `frame_ids` need.
std::vector<hevc::Detail> details_by_packet(const VideoIndex& index, const std::vector<std::int64_t>& frame_ids,
                                            hevc::Detail wanted) {
  std::vector<hevc::Detail> details;
  const auto set = [&](std::int64_t packet, hevc::Detail detail) {
    if (packet >= std::ssize(details)) details.resize(static_cast<std::size_t>(packet) + 1, hevc::Detail::kHeaders);
    details[static_cast<std::size_t>(packet)] = detail;
  };
  const std::vector<bool> needed = index.closure(frame_ids, VideoIndex::Edges::kCollocated);
  for (std::size_t i = 0; i < needed.size(); ++i) {
    if (needed[i]) set(index.decoded[i].packet, std::min(wanted, hevc::Detail::kMotion));
  }
  for (const std::int64_t id : frame_ids) set(index.pictures[static_cast<std::size_t>(id)].packet, wanted);
  return details;
}

// Display indices of the pictures to give by decode_index, -1 for others.
std::vector<std::int64_t> frame_ids_by_decode_index(const VideoIndex& index,
                                                    const std::vector<std::int64_t>& frame_ids) {
  std::vector<std::int64_t> ids(index.decoded.size(), -1);
  for (const std::int64_t id : frame_ids) {
    ids[static_cast<std::size_t>(index.pictures[static_cast<std::size_t>(id)].decode_index)] = id;
  }
  return ids;
}

hevc::DecoderOptions decoder_options(const ReaderOptions& options, const std::vector<hevc::Detail>& details) {
  hevc::DecoderOptions result;
  result.order = options.order;
  result.threads = options.detail == hevc::Detail::kHeaders ? 1 : thread_count(options.threads);
  result.limits = options.limits;
  result.observe = options.observe;
  if (options.index) {
    result.detail = [&details](const hevc::AccessUnitTag& tag) {
      const auto at = static_cast<std::size_t>(tag.packet);
      return at < details.size() ? details[at] : hevc::Detail::kHeaders;
    };
  } else {
    result.detail = [detail = options.detail](const hevc::AccessUnitTag&) { return detail; };
  }
  return result;
}

// Seconds a picture, where nothing has time stamps.
double picture_duration(const hevc::Vui& vui, media::Rational frame_rate) {
  if (vui.num_units_in_tick > 0 && vui.time_scale > 0) {
    return static_cast<double>(vui.num_units_in_tick) / static_cast<double>(vui.time_scale);
  }
  return frame_rate.num > 0 ? static_cast<double>(frame_rate.den) / frame_rate.num : 1.0 / 25;
}

}  // namespace

VideoReader::VideoReader(media::Demuxer demuxer, ReaderOptions options)
    : demuxer_(std::move(demuxer)),
      options_(std::move(options)),
      details_(options_.index ? details_by_packet(*options_.index, options_.frame_ids, options_.detail)
                              : std::vector<hevc::Detail>()),
      decoder_(decoder_options(options_, details_)) {
  demuxer_.require_hevc();
  try {
    decoder_.set_extradata(demuxer_.info().extradata);
  } catch (const Error&) {
    rethrow_named();
  }
  if (options_.index) wanted_ = frame_ids_by_decode_index(*options_.index, options_.frame_ids);
  left_ = options_.frame_ids.size();
  done_ = options_.index && left_ == 0;
}

bool VideoReader::next(VideoPicture& picture) {
  try {
    while (!done_) {
      if (auto codec = decoder_.pop()) {
        if (give(std::move(codec), picture)) return true;
        continue;
      }
      if (ended_) break;
      feed();
    }
    if (!done_ && demuxer_error_) std::rethrow_exception(demuxer_error_);
    if (!done_ && !decoder_.started()) {
      throw InvalidBitstreamError("the stream has no random access point (IDR, BLA or CRA picture) to start from");
    }
    done_ = true;
    return false;
  } catch (const Error&) {
    done_ = true;
    rethrow_named();
  }
}

// Numbers the picture; false if it is not to be given.
bool VideoReader::give(std::shared_ptr<const hevc::CodecPicture> codec, VideoPicture& picture) {
  const hevc::AccessUnitTag& tag = codec->tag;
  if (tag.discard && options_.order == hevc::Order::kDisplay) return false;
  std::int64_t index = next_index_++;
  if (options_.index) {
    // Not by counting: where a picture failed, later ones still come out if they precede it in decoding order.
    const auto at = static_cast<std::size_t>(codec->decode_index);
    index = at < wanted_.size() ? wanted_[at] : -1;
    if (index < 0) return false;
    done_ = --left_ == 0;
  }
  const media::StreamInfo& info = demuxer_.info();
  picture.index = index;
  picture.pts = tag.has_pts && info.time_base.den > 0
                    ? static_cast<double>(tag.pts) * info.time_base.num / info.time_base.den
                    : static_cast<double>(index) * picture_duration(codec->sps->vui, info.frame_rate);
  picture.codec = std::move(codec);
  return true;
}

// One packet into the decoder, or the end of the stream.
void VideoReader::feed() {
  media::Packet packet;
  bool more = false;
  try {
    more = !decoder_.failed() && demuxer_.read(packet);
  } catch (const Error&) {
    demuxer_error_ = std::current_exception();
  }
  if (!more) {
    ended_ = true;
    decoder_.flush();
    return;
  }
  decoder_.decode(packet.data,
                  {.packet = packet.index,
                   .pts = packet.pts,
                   .has_pts = packet.pts != media::kNoTimestamp,
                   .discard = packet.discard},
                  packet.position);
}

// The exception at work, with the name of the source before its message.
void VideoReader::rethrow_named() const {
  const std::string prefix = demuxer_.name() + ": ";
  const auto named = [&](const Error& e) {
    const std::string message = e.what();
    if (message.find(demuxer_.name()) != std::string::npos) return message;
    return prefix + message + (e.position() >= 0 ? " (near byte " + std::to_string(e.position()) + ")" : "");
  };
  try {
    throw;
  } catch (const InvalidBitstreamError& e) {
    throw InvalidBitstreamError(named(e), e.position());
  } catch (const UnsupportedStreamError& e) {
    throw UnsupportedStreamError(named(e), e.position());
  } catch (const DecodeError& e) {
    throw DecodeError(named(e), e.position());
  }
}

}  // namespace ove::reader
