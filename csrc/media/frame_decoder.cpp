#include "media/frame_decoder.h"

#include <algorithm>
#include <iterator>
#include <new>
#include <utility>

#include "common/error.h"
#include "media/demuxer_impl.h"

namespace ove::media {

namespace {

// Packets after which a picture has come out, if it ever does: more than any decoder reorders.
constexpr std::int64_t kLongestDelay = 1024;
constexpr AVRational kUnknownRate = {25, 1};

AVRational rational(Rational r, AVRational otherwise) {
  return r.num > 0 && r.den > 0 ? AVRational{r.num, r.den} : otherwise;
}

std::span<const std::uint8_t> bytes_of(const AVPacket& packet) {
  return {packet.data, static_cast<std::size_t>(packet.size)};
}

void replace_bytes(AVPacket& packet, const std::vector<std::uint8_t>& bytes) {
  const PacketPtr other(av_packet_alloc());
  if (!other || av_new_packet(other.get(), static_cast<int>(bytes.size())) < 0 ||
      av_packet_copy_props(other.get(), &packet) < 0) {
    throw std::bad_alloc();
  }
  std::copy(bytes.begin(), bytes.end(), other->data);
  av_packet_unref(&packet);
  av_packet_move_ref(&packet, other.get());
}

}  // namespace

void filter_for_pixels(const PacketFilter* filter, AVPacket& packet) {
  if (!filter || !packet.data) return;
  if (const auto changed = side_data(packet, AV_PKT_DATA_NEW_EXTRADATA); !changed.empty()) {
    if (const auto kept = filter->extradata_for_pixels(changed)) {
      set_side_data(packet, AV_PKT_DATA_NEW_EXTRADATA, *kept);
    }
  }
  if (const auto kept = filter->for_pixels(bytes_of(packet))) replace_bytes(packet, *kept);
}

void prepend(const PacketFilter* filter, std::vector<std::uint8_t>& ahead, AVPacket& packet) {
  if (ahead.empty()) return;
  if (auto kept = filter ? filter->for_pixels(ahead) : std::nullopt) ahead = std::move(*kept);
  const auto bytes = bytes_of(packet);
  ahead.insert(ahead.end(), bytes.begin(), bytes.end());
  replace_bytes(packet, ahead);
  ahead.clear();
}

CodecPtr make_decoder(const AVCodecParameters& parameters, const StreamInfo& stream, const std::string& name,
                      std::int64_t max_luma_samples, const PacketFilter* filter) {
  const AVCodec* decoder = avcodec_find_decoder(parameters.codec_id);
  if (!decoder) {
    throw UnsupportedStreamError(name + ": its codec is " + stream.codec +
                                 ", for which this libavcodec has no decoder; convert it with an FFmpeg that has one: "
                                 "ffmpeg -i IN -c:v libx265 -crf 23 OUT.mp4");
  }
  const std::int64_t samples = std::int64_t{parameters.width} * parameters.height;
  if (samples > max_luma_samples) {
    throw UnsupportedStreamError(name + ": the number of luma samples of a picture is " + std::to_string(samples) +
                                 ", over the limit of " + std::to_string(max_luma_samples) +
                                 "; raise Limits.max_luma_samples to read it");
  }
  CodecPtr codec(avcodec_alloc_context3(decoder));
  if (!codec) throw std::bad_alloc();
  if (avcodec_parameters_to_context(codec.get(), &parameters) < 0) throw std::bad_alloc();
  if (filter && codec->extradata_size > 0) {
    const auto kept = filter->extradata_for_pixels({codec->extradata, static_cast<std::size_t>(codec->extradata_size)});
    if (kept) {
      auto* bytes = static_cast<std::uint8_t*>(av_mallocz(kept->size() + AV_INPUT_BUFFER_PADDING_SIZE));
      if (!bytes) throw std::bad_alloc();
      std::copy(kept->begin(), kept->end(), bytes);
      av_freep(&codec->extradata);
      codec->extradata = bytes;
      codec->extradata_size = static_cast<int>(kept->size());
    }
  }
  silence(*codec);
  codec->thread_count = 1;
  codec->flags |= AV_CODEC_FLAG_UNALIGNED;  // the conformance window to the sample
  codec->err_recognition |= AV_EF_EXPLODE;  // no concealment
  codec->max_pixels = max_luma_samples;
  return codec;
}

void share_work(AVCodecContext& codec, int threads, Slices slices) {
  codec.thread_count = threads;
  // Where threads decode a picture each, the decoder of MPEG-4 aborts the process at damage (FFmpeg 5.1), and that of
  // H.264 loses the flag of a picture whose lost slices it has concealed.
  if (codec.codec_id == AV_CODEC_ID_MPEG4 || (codec.codec_id == AV_CODEC_ID_H264 && slices == Slices::kUnknown)) {
    codec.thread_type = FF_THREAD_SLICE;
  }
}

void open_decoder(AVCodecContext& codec, const std::string& name) {
  const Silence quiet;
  const int code = avcodec_open2(&codec, codec.codec, nullptr);
  if (code < 0) throw DecodeError(name + ": its decoder cannot be opened (" + error_text(code) + ")");
}

FrameDecoder::FrameDecoder(Demuxer demuxer, Wanted wanted, int threads, std::int64_t max_luma_samples,
                           std::shared_ptr<const PacketFilter> filter)
    : demuxer_(std::move(demuxer)),
      filter_(std::move(filter)),
      codec_(make_decoder(parameters(), demuxer_.info(), demuxer_.name(), max_luma_samples, filter_.get())),
      frame_rate_(rational(demuxer_.info().frame_rate, kUnknownRate)),
      time_base_(rational(demuxer_.info().time_base, av_inv_q(frame_rate_))) {
  share_work(*codec_, threads, Slices::kUnknown);
  if (wanted == Wanted::kVectors) codec_->export_side_data |= AV_CODEC_EXPORT_DATA_MVS;
  if (wanted != Wanted::kSamples) {
    codec_->skip_loop_filter = codec_->skip_idct = AVDISCARD_ALL;
    codec_->apply_cropping = 0;  // vectors count from the corner of the coded picture
  }
  open_decoder(*codec_, demuxer_.name());
}

const AVStream& FrameDecoder::stream() const { return *demuxer_.impl_->stream; }

void FrameDecoder::fail(const std::string& what, int code) const {
  throw DecodeError(demuxer_.name() + ": " + what + (code ? " (" + error_text(code) + ")" : ""), position_);
}

// No more packets; what precedes the damage may still come out.
void FrameDecoder::break_off() {
  broken_ = std::current_exception();
  draining_ = true;
  sent_dts_ = kNoTimestamp;
  avcodec_send_packet(codec_.get(), nullptr);
}

void FrameDecoder::feed() {
  Packet packet;
  if (!demuxer_.read(packet)) {
    draining_ = true;
    sent_dts_ = kNoTimestamp;
    avcodec_send_packet(codec_.get(), nullptr);
    return;
  }
  position_ = packet.position;
  const std::string name = "packet " + std::to_string(packet.index);
  if (packet.corrupt) fail(name + " is incomplete", 0);
  AVPacket& p = *demuxer_.impl_->packet;
  if (!decodable_.empty() && !std::binary_search(decodable_.begin(), decodable_.end(), packet.index)) {
    if (!filter_) return;
    try {
      const std::vector<std::uint8_t> rest = filter_->without_picture(packet.data);
      ahead_.insert(ahead_.end(), rest.begin(), rest.end());
    } catch (const Error& error) {
      fail(name + " is damaged: " + error.what(), 0);
    }
    return;
  }
  sent_ = packet.index;
  times_.erase(times_.begin(), times_.lower_bound(packet.index - kLongestDelay));
  times_[packet.index] = {packet.index, packet.pts, packet.duration, p.size, packet.key, false};
  sent_dts_ = packet.dts;
  // Pictures are known by their packet, as time stamps may be missing, repeated or wrong.
  p.pts = packet.index;
  p.dts = AV_NOPTS_VALUE;
  filter_for_pixels(filter_.get(), p);
  if (p.size == 0) return;  // the decoder takes an empty packet for the end
  prepend(filter_.get(), ahead_, p);
  const int code = avcodec_send_packet(codec_.get(), &p);
  if (code < 0) fail(name + " is damaged", code);
}

// Where the container gives no pts, as AVI does not, the dts of the packet that brings the picture out stands for it;
// where it gives none of both, and behind the last packet, pictures are at equal distances.
PictureTimes FrameDecoder::take_times(const AVFrame& frame) {
  PictureTimes times;
  if (const auto found = times_.find(frame.pts); found != times_.end()) {
    times = found->second;
    times_.erase(found);
  }
  if (times.pts == kNoTimestamp) {
    times.made = true;
    times.pts = sent_dts_;
  }
  if (times.pts == kNoTimestamp) {
    const std::int64_t step = std::max<std::int64_t>(1, av_rescale_q(1, av_inv_q(frame_rate_), time_base_));
    times.pts = last_pts_ == kNoTimestamp ? 0 : last_pts_ + step;
  }
  last_pts_ = times.pts;
  return times;
}

bool FrameDecoder::next(AVFrame& frame, PictureTimes& times) {
  const Silence quiet;
  for (;;) {
    try {
      const int code = avcodec_receive_frame(codec_.get(), &frame);
      if (code == AVERROR(EAGAIN) && !draining_) {
        feed();
        continue;
      }
      if (code < 0 && broken_) std::rethrow_exception(std::exchange(broken_, nullptr));
      if (code == AVERROR_EOF) return false;
      if (code < 0) fail("packet " + std::to_string(sent_) + " is damaged", code);
      if (broken_ && frame.pts >= sent_) continue;
      times = take_times(frame);
      if ((frame.flags & AV_FRAME_FLAG_CORRUPT) || frame.decode_error_flags) {
        fail("the picture of packet " + std::to_string(times.packet) + " is damaged", 0);
      }
      return true;
    } catch (...) {
      if (draining_) throw;
      break_off();
    }
  }
}

}  // namespace ove::media
