#include "media/motion_decoder.h"

#include <algorithm>
#include <array>
#include <limits>
#include <utility>

#include "common/error.h"
#include "media/frame_decoder.h"

namespace ove::media {

namespace {

constexpr std::array kExporting = {AV_CODEC_ID_H264, AV_CODEC_ID_MPEG4, AV_CODEC_ID_MPEG2VIDEO, AV_CODEC_ID_MPEG1VIDEO};
// Any of these brings in the code that exports vectors; a libavcodec with the H.264 decoder alone leaves it out.
constexpr std::array kExporters = {AV_CODEC_ID_MPEG1VIDEO, AV_CODEC_ID_MPEG2VIDEO, AV_CODEC_ID_MPEG4, AV_CODEC_ID_H263};

std::int16_t quarters(std::int32_t motion, std::uint16_t scale) {
  using Limits = std::numeric_limits<std::int16_t>;
  const std::int64_t value = std::int64_t{motion} * 4 / std::max<int>(1, scale);
  return static_cast<std::int16_t>(std::clamp<std::int64_t>(value, Limits::min(), Limits::max()));
}

// Spreads one vector over the blocks that it moves; its position is the centre of them.
void spread(const AVMotionVector& v, int columns, int rows, ExportedMotion& picture) {
  const int list = v.source < 0 ? 0 : 1;
  const int left = v.dst_x - v.w / 2, top = v.dst_y - v.h / 2;
  const int x0 = std::max(0, left) / 4, x1 = std::min(columns, (left + v.w + 3) / 4);
  const int y0 = std::max(0, top) / 4, y1 = std::min(rows, (top + v.h + 3) / 4);
  const std::int16_t x = quarters(v.motion_x, v.motion_scale), y = quarters(v.motion_y, v.motion_scale);
  for (int row = y0; row < y1; ++row) {
    for (int column = x0; column < x1; ++column) {
      const auto block =
          static_cast<std::size_t>(row) * static_cast<std::size_t>(columns) + static_cast<std::size_t>(column);
      picture.mv[4 * block + 2 * static_cast<std::size_t>(list)] = x;
      picture.mv[4 * block + 2 * static_cast<std::size_t>(list) + 1] = y;
      picture.pred[block] = static_cast<std::uint8_t>(picture.pred[block] | 1 << list);
    }
  }
}

char type_letter(AVPictureType type) {
  switch (type) {
    case AV_PICTURE_TYPE_I:
    case AV_PICTURE_TYPE_SI:
      return 'I';
    case AV_PICTURE_TYPE_B:
    case AV_PICTURE_TYPE_BI:
      return 'B';
    default:  // those of MPEG-4 with global motion among them
      return 'P';
  }
}

Demuxer checked(Demuxer demuxer) {
  const std::string& codec = demuxer.info().codec;
  if (!exports_motion(codec)) {
    throw UnsupportedStreamError(demuxer.name() + ": its codec is " + codec +
                                 ", for which libavcodec exports no motion vectors; convert it to HEVC first: "
                                 "ove_codec.transcode, or ove-codec transcode IN OUT.mp4");
  }
  if (std::none_of(kExporters.begin(), kExporters.end(), [](AVCodecID id) { return avcodec_find_decoder(id); })) {
    throw UnsupportedStreamError(demuxer.name() +
                                 ": this libavcodec was built without the code that exports motion "
                                 "vectors; install an FFmpeg that decodes MPEG-2 or MPEG-4 too");
  }
  return demuxer;
}

}  // namespace

bool exports_motion(const std::string& codec) {
  return std::any_of(kExporting.begin(), kExporting.end(), [&](AVCodecID id) { return codec == avcodec_get_name(id); });
}

struct MotionDecoder::Impl {
  FrameDecoder decoder;
  bool vectors;
  FramePtr frame{av_frame_alloc()};

  Impl(Demuxer demuxer, bool with_vectors, int threads, std::int64_t max_luma_samples,
       std::shared_ptr<const PacketFilter> filter)
      : decoder(with_vectors ? checked(std::move(demuxer)) : std::move(demuxer),
                with_vectors ? FrameDecoder::Wanted::kVectors : FrameDecoder::Wanted::kFacts, threads, max_luma_samples,
                std::move(filter)),
        vectors(with_vectors) {
    if (!frame) throw std::bad_alloc();
  }
};

MotionDecoder::MotionDecoder(Demuxer demuxer, bool vectors, int threads, std::int64_t max_luma_samples,
                             std::shared_ptr<const PacketFilter> filter)
    : impl_(std::make_unique<Impl>(std::move(demuxer), vectors, threads, max_luma_samples, std::move(filter))) {}
MotionDecoder::~MotionDecoder() = default;

const Demuxer& MotionDecoder::demuxer() const { return impl_->decoder.demuxer(); }

bool MotionDecoder::next(ExportedMotion& picture) {
  const AVFrame& frame = *impl_->frame;
  PictureTimes times;
  if (!impl_->decoder.next(*impl_->frame, times)) return false;
  picture = {};
  picture.packet = times.packet;
  picture.packet_bytes = times.packet_bytes;
  picture.pts = static_cast<double>(times.pts) * av_q2d(impl_->decoder.time_base());
  picture.key = times.key;
  picture.type = type_letter(frame.pict_type);
  picture.width = frame.width;
  picture.height = frame.height;
  picture.window_x = static_cast<int>(frame.crop_left);
  picture.window_y = static_cast<int>(frame.crop_top);
  picture.window_width = frame.width - static_cast<int>(frame.crop_left + frame.crop_right);
  picture.window_height = frame.height - static_cast<int>(frame.crop_top + frame.crop_bottom);
  if (!impl_->vectors) return true;
  const int columns = (picture.width + 3) / 4, rows = (picture.height + 3) / 4;
  picture.pred.resize(static_cast<std::size_t>(columns) * static_cast<std::size_t>(rows));
  picture.mv.resize(4 * picture.pred.size());
  if (const AVFrameSideData* side = av_frame_get_side_data(&frame, AV_FRAME_DATA_MOTION_VECTORS)) {
    const auto* all = reinterpret_cast<const AVMotionVector*>(side->data);
    for (std::size_t i = 0; i < side->size / sizeof(AVMotionVector); ++i) spread(all[i], columns, rows, picture);
  }
  return true;
}

}  // namespace ove::media
