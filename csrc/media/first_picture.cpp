#include "media/first_picture.h"

#include <algorithm>
#include <new>
#include <string_view>
#include <utility>

namespace ove::media {

namespace {

// The video track, null where there is another one or the file does not tell enough of it.
AVStream* complete_h264_track(const AVFormatContext& input) {
  AVStream* track = nullptr;
  for (unsigned i = 0; i < input.nb_streams; ++i) {
    AVStream* const stream = input.streams[i];
    if (stream->codecpar->codec_type != AVMEDIA_TYPE_VIDEO) continue;
    if (track) return nullptr;
    track = stream;
  }
  if (!track || std::string_view(input.iformat->name).find("mp4") == std::string_view::npos) return nullptr;
  const AVCodecParameters& par = *track->codecpar;
  const bool has_avcc = par.codec_id == AV_CODEC_ID_H264 && par.extradata_size > 0 && par.extradata[0] == 1;
  const bool complete = par.bit_rate > 0 && track->avg_frame_rate.num > 0 && track->nb_frames > 0 &&
                        track->start_time != AV_NOPTS_VALUE && track->duration != AV_NOPTS_VALUE;
  return has_avcc && complete ? track : nullptr;
}

// The first sample of the track; null where it cannot be read. The position of the input stays as it is.
PacketPtr first_sample(AVFormatContext& input, const AVStream& track) {
  AVIOContext& io = *input.pb;
  if (!(io.seekable & AVIO_SEEKABLE_NORMAL) || num_indexed(track) == 0) return nullptr;
  const AVIndexEntry& entry = indexed(track, 0);
  const std::int64_t size = avio_size(&io), position = avio_tell(&io);
  if (entry.size <= 0 || entry.pos < 0 || entry.size > size - entry.pos) return nullptr;
  PacketPtr packet(av_packet_alloc());
  if (!packet) throw std::bad_alloc();
  const bool read =
      avio_seek(&io, entry.pos, SEEK_SET) >= 0 && av_get_packet(&io, packet.get(), entry.size) == entry.size;
  return avio_seek(&io, position, SEEK_SET) >= 0 && read ? std::move(packet) : nullptr;
}

// Called when the headers of the first slice are read and the picture is about to be decoded, which ends there.
int refuse_buffer(AVCodecContext* codec, AVFrame*, int) {
  *static_cast<bool*>(codec->opaque) = true;
  return AVERROR(ENOMEM);
}

}  // namespace

bool describe_first_picture(AVFormatContext& input) {
  AVStream* const track = complete_h264_track(input);
  const AVCodec* const decoder = track ? avcodec_find_decoder(AV_CODEC_ID_H264) : nullptr;
  const PacketPtr packet = decoder ? first_sample(input, *track) : nullptr;
  if (!packet) return false;
  AVCodecParameters& par = *track->codecpar;
  const CodecPtr codec(avcodec_alloc_context3(decoder));
  if (!codec || avcodec_parameters_to_context(codec.get(), &par) < 0) throw std::bad_alloc();
  bool headers_read = false;
  silence(*codec);
  codec->thread_count = 1;
  codec->opaque = &headers_read;
  codec->get_buffer2 = refuse_buffer;
  codec->has_b_frames = -1;  // stays where the SPS has no max_num_reorder_frames
  if (avcodec_open2(codec.get(), decoder, nullptr) < 0) return false;
  avcodec_send_packet(codec.get(), packet.get());
  if (!headers_read || codec->pix_fmt == AV_PIX_FMT_NONE || codec->has_b_frames < 0) return false;
  // The container's own count of reordered frames, if it is larger, is what libavcodec begins with.
  codec->has_b_frames = std::max(codec->has_b_frames, par.video_delay);
  if (avcodec_parameters_from_context(&par, codec.get()) < 0) throw std::bad_alloc();
  return true;
}

}  // namespace ove::media
