#include "media/stream_info.h"

#include <cmath>

namespace ove::media {

namespace {

Rational rational(AVRational r) { return r.num > 0 && r.den > 0 ? Rational{r.num, r.den} : Rational{}; }

std::string text(const char* s) { return s ? s : ""; }

// The orientation nearest to that of a display matrix; as it is coded where the matrix makes no sense.
Orientation orientation(const std::int32_t* matrix) {
  if (!matrix) return {};
  const double counterclockwise = av_display_rotation_get(matrix);  // of the axis from left to right
  if (std::isnan(counterclockwise)) return {};
  // A negative determinant mirrors. The axis is reversed first, so that half a turn of its angle is no rotation.
  const bool mirrored = 1.0 * matrix[0] * matrix[4] - 1.0 * matrix[1] * matrix[3] < 0;
  const int turns = static_cast<int>(std::lround(-counterclockwise / 90)) + (mirrored ? 2 : 0);
  return {(turns % 4 + 4) % 4, mirrored};
}

}  // namespace

StreamInfo describe_stream(const AVFormatContext& input, const AVStream& stream) {
  const AVCodecParameters& par = *stream.codecpar;
  StreamInfo info;
  info.container = text(input.iformat->name);
  info.codec = text(avcodec_get_name(par.codec_id));
  // FFmpeg before 6.1 does not know VVC in MP4.
  const bool vvc = par.codec_tag == MKTAG('v', 'v', 'c', '1') || par.codec_tag == MKTAG('v', 'v', 'i', '1');
  if (par.codec_id == AV_CODEC_ID_NONE && vvc) info.codec = "vvc";
  info.has_pixels = avcodec_find_decoder(par.codec_id) != nullptr;
  info.profile = text(avcodec_profile_name(par.codec_id, par.profile));
  info.width = par.width;
  info.height = par.height;
  if (par.extradata_size > 0) info.extradata.assign(par.extradata, par.extradata + par.extradata_size);
  info.time_base = rational(stream.time_base);
  info.frame_rate = rational(stream.avg_frame_rate.num > 0 ? stream.avg_frame_rate : stream.r_frame_rate);
  info.sample_aspect_ratio =
      rational(stream.sample_aspect_ratio.num > 0 ? stream.sample_aspect_ratio : par.sample_aspect_ratio);
  info.start_time = stream.start_time;
  info.duration = stream.duration;
  if (info.duration == kNoTimestamp && input.duration != AV_NOPTS_VALUE) {
    info.duration = av_rescale_q(input.duration, AVRational{1, AV_TIME_BASE}, stream.time_base);
  }
  info.frame_count = stream.nb_frames;
  info.bit_rate = par.bit_rate > 0 ? par.bit_rate : input.bit_rate;
  info.orientation = orientation(display_matrix(stream));
  if (const AVPixFmtDescriptor* pixels = av_pix_fmt_desc_get(static_cast<AVPixelFormat>(par.format))) {
    info.pixel_format = pixels->name;
    info.bit_depth = pixels->comp[0].depth;
  }
  if (par.color_range != AVCOL_RANGE_UNSPECIFIED) info.color_range = text(av_color_range_name(par.color_range));
  if (par.color_space != AVCOL_SPC_UNSPECIFIED) info.color_matrix = text(av_color_space_name(par.color_space));
  if (par.color_primaries != AVCOL_PRI_UNSPECIFIED) {
    info.color_primaries = text(av_color_primaries_name(par.color_primaries));
  }
  if (par.color_trc != AVCOL_TRC_UNSPECIFIED) info.color_transfer = text(av_color_transfer_name(par.color_trc));
  if (const AVChromaLocation location = known_location(par.chroma_location); location != AVCHROMA_LOC_UNSPECIFIED) {
    info.chroma_location = text(av_chroma_location_name(location));
  }
  return info;
}

}  // namespace ove::media
