#include "reader/video_reader.h"

#include <algorithm>
#include <string>
#include <thread>

#include "common/named_error.h"
#include "reader/codecs.h"

namespace ove::reader {

namespace {

int thread_count(int threads) {
  return threads > 0 ? threads : static_cast<int>(std::max(1U, std::thread::hardware_concurrency()));
}

// Seconds a picture, where nothing has time stamps.
double picture_duration(const codec::CodecPicture& picture, media::Rational frame_rate) {
  if (picture.duration > 0) return picture.duration;
  return frame_rate.num > 0 ? static_cast<double>(frame_rate.den) / frame_rate.num : 1.0 / 25;
}

}  // namespace

codec::AccessUnitTag tag_of(const media::Packet& packet) {
  return {.packet = packet.index,
          .position = packet.position,
          .size = std::ssize(packet.data),
          .pts = packet.pts,
          .dts = packet.dts,
          .has_pts = packet.pts != media::kNoTimestamp,
          .discard = packet.discard};
}

VideoReader::VideoReader(media::Demuxer demuxer, ReaderOptions options)
    : demuxer_(std::move(demuxer)),
      options_(std::move(options)),
      plan_(options_.index ? std::make_unique<ReadingPlan>(options_.index, options_.frame_ids, options_.detail)
                           : nullptr) {
  if (options_.index) options_.index->check_codec(demuxer_);
  const std::string& codec = demuxer_.info().codec;
  if (!decodes(codec)) {
    const std::string here =
        demuxer_.info().has_pixels ? "ove_codec.transcode, ove-codec transcode IN OUT.mp4, or " : "";
    throw UnsupportedStreamError(demuxer_.name() + ": its codec is " + codec +
                                 ", which ove_codec does not read; convert it to HEVC first: " + here +
                                 "ffmpeg -i IN -c:v libx265 -crf 23 OUT.mp4");
  }
  decoder_ = make_decoder(codec, decoder_options());
  try {
    decoder_->set_extradata(demuxer_.info().extradata);
  } catch (const Error&) {
    rethrow_named(demuxer_.name());
  }
}

codec::DecoderOptions VideoReader::decoder_options() {
  codec::DecoderOptions result;
  result.order = plan_ ? codec::Order::kDecoding : options_.order;
  result.as_coded = options_.as_coded;
  result.threads = options_.detail.has_arrays() ? thread_count(options_.threads) : 1;
  result.limits = options_.limits;
  result.observe = options_.observe;
  result.detail = [detail = options_.detail](const codec::AccessUnitTag&) { return detail; };
  if (plan_ && options_.process) {
    result.process = [plan = plan_.get(), process = options_.process](codec::CodecPicture& picture) {
      const std::int64_t id = plan->frame_id(picture);
      if (id < 0) return;
      process(picture, id);
      picture.residual.reset();
    };
  }
  if (plan_) result.wanted = [plan = plan_.get()](const codec::AccessUnitTag& tag) { return plan->wanted(tag); };
  return result;
}

bool VideoReader::next(VideoPicture& picture) { return plan_ ? decode_in_order(picture) : decode(picture); }

// The next picture that the decoder gives.
bool VideoReader::decode(VideoPicture& picture) {
  try {
    while (!done_) {
      if (auto codec = decoder_->pop()) {
        if (give(std::move(codec), picture)) return true;
        continue;
      }
      if (ended_) break;
      feed();
    }
    if (!done_ && demuxer_error_) std::rethrow_exception(demuxer_error_);
    if (!done_ && !plan_ && !decoder_->started()) {
      throw InvalidBitstreamError("the stream has no random access point (IDR, BLA or CRA picture) to start from");
    }
    done_ = true;
    return false;
  } catch (const Error&) {
    done_ = true;
    rethrow_named(demuxer_.name());
  } catch (...) {
    done_ = true;
    throw;
  }
}

// The next wanted picture; in the end those that can still be given, then what went wrong.
bool VideoReader::decode_in_order(VideoPicture& picture) {
  const std::vector<std::int64_t>& wanted = plan_->frame_ids();
  while (next_wanted_ < wanted.size()) {
    auto found = early_.find(wanted[next_wanted_]);
    if (found == early_.end() && done_) found = early_.begin();
    if (found != early_.end()) {
      picture = std::move(found->second);
      early_.erase(found);
      next_wanted_ =
          static_cast<std::size_t>(std::upper_bound(wanted.begin(), wanted.end(), picture.index) - wanted.begin());
      return true;
    }
    if (done_) break;
    try {
      VideoPicture decoded;
      if (decode(decoded)) {
        early_.emplace(decoded.index, std::move(decoded));
      } else if (early_.size() < wanted.size() - next_wanted_) {
        throw DecodeError(demuxer_.name() + ": the picture of display index " + std::to_string(wanted[next_wanted_]) +
                          " is no longer there: the source has changed; open it again");
      }
    } catch (const Error&) {
      failure_ = std::current_exception();
    }
  }
  done_ = true;
  if (failure_) std::rethrow_exception(std::exchange(failure_, nullptr));
  return false;
}

// Numbers the picture; false if it is not to be given.
bool VideoReader::give(std::shared_ptr<const codec::CodecPicture> codec, VideoPicture& picture) {
  if (plan_) {
    picture.index = plan_->frame_id(*codec);
    if (picture.index < 0) return false;
    picture.pts = options_.index->pictures[static_cast<std::size_t>(picture.index)].pts;
    picture.codec = std::move(codec);
    return true;
  }
  const codec::AccessUnitTag& tag = codec->tag;
  if (tag.discard && options_.order == codec::Order::kDisplay) return false;
  const media::StreamInfo& info = demuxer_.info();
  picture.index = next_index_++;
  picture.pts = tag.has_pts && info.time_base.den > 0
                    ? static_cast<double>(tag.pts) * info.time_base.num / info.time_base.den
                    : static_cast<double>(picture.index) * picture_duration(*codec, info.frame_rate);
  picture.codec = std::move(codec);
  return true;
}

// One packet into the decoder, or the end of the stream.
void VideoReader::feed() {
  media::Packet packet;
  bool more = false;
  try {
    more = !decoder_->failed() && (!plan_ || plan_->go_to_next(demuxer_)) && demuxer_.read(packet);
  } catch (const Error&) {
    demuxer_error_ = std::current_exception();
  }
  if (!more) {
    ended_ = true;
    decoder_->flush();
    return;
  }
  if (packet.extradata != extradata_) {
    extradata_ = packet.extradata;
    decoder_->set_extradata(extradata_ ? *extradata_ : demuxer_.info().extradata);
  }
  decoder_->decode(packet.data, tag_of(packet), packet.position);
}

}  // namespace ove::reader
