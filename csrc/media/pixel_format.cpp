#include "media/pixel_format.h"

#include <array>
#include <bit>
#include <utility>

#include "common/error.h"

namespace ove::media {

namespace {

bool is_rgb(const AVPixFmtDescriptor& d) { return d.flags & AV_PIX_FMT_FLAG_RGB; }

// NV12, P010 and the like, which GPUs decode to; and planes of one component each.
bool supported_on_gpu(const AVPixFmtDescriptor& d) {
  if (d.nb_components != 3 || (d.flags & (AV_PIX_FMT_FLAG_RGB | AV_PIX_FMT_FLAG_BE))) return false;
  for (int i = 0; i < 3; ++i) {
    if (d.comp[i].depth > 16 || d.comp[i].shift != d.comp[0].shift || d.comp[i].depth != d.comp[0].depth) return false;
  }
  return true;
}

bool supported(const AVPixFmtDescriptor& d) {
  constexpr std::uint64_t kOther = AV_PIX_FMT_FLAG_PAL | AV_PIX_FMT_FLAG_BITSTREAM | AV_PIX_FMT_FLAG_HWACCEL |
                                   AV_PIX_FMT_FLAG_ALPHA | AV_PIX_FMT_FLAG_BAYER | AV_PIX_FMT_FLAG_FLOAT;
  if ((d.flags & kOther) || (d.nb_components != 1 && d.nb_components != 3)) return false;
  const bool big = d.flags & AV_PIX_FMT_FLAG_BE;
  for (int i = 0; i < d.nb_components; ++i) {
    const AVComponentDescriptor& c = d.comp[i];
    if (c.offset != 0 || c.shift != 0 || c.depth != d.comp[0].depth || c.depth > 16) return false;
    if (c.step != (c.depth > 8 ? 2 : 1)) return false;
    if (c.depth > 8 && big != (std::endian::native == std::endian::big)) return false;
    for (int j = 0; j < i; ++j) {
      if (d.comp[j].plane == c.plane) return false;
    }
  }
  return true;
}

// What pictures of other formats are converted to, the one that loses least.
constexpr std::array kPlanar = {
    AV_PIX_FMT_GRAY8,     AV_PIX_FMT_GRAY16,    AV_PIX_FMT_YUV420P,   AV_PIX_FMT_YUV422P,   AV_PIX_FMT_YUV444P,
    AV_PIX_FMT_YUV440P,   AV_PIX_FMT_YUV411P,   AV_PIX_FMT_YUV410P,   AV_PIX_FMT_YUV420P10, AV_PIX_FMT_YUV422P10,
    AV_PIX_FMT_YUV444P10, AV_PIX_FMT_YUV420P12, AV_PIX_FMT_YUV422P12, AV_PIX_FMT_YUV444P12, AV_PIX_FMT_YUV420P16,
    AV_PIX_FMT_YUV422P16, AV_PIX_FMT_YUV444P16, AV_PIX_FMT_GBRP,      AV_PIX_FMT_GBRP10,    AV_PIX_FMT_GBRP12,
    AV_PIX_FMT_GBRP16,    AV_PIX_FMT_NONE,
};

bool matrix_of(AVColorSpace space, bool rgb, ColorMatrix& matrix) {
  if (rgb) {
    matrix = ColorMatrix::kRgb;
    return true;
  }
  switch (space) {
    case AVCOL_SPC_BT709:
      matrix = ColorMatrix::kBt709;
      return true;
    case AVCOL_SPC_FCC:
      matrix = ColorMatrix::kFcc;
      return true;
    case AVCOL_SPC_SMPTE240M:
      matrix = ColorMatrix::kSmpte240m;
      return true;
    case AVCOL_SPC_YCGCO:
      matrix = ColorMatrix::kYcgco;
      return true;
    case AVCOL_SPC_BT2020_NCL:
    case AVCOL_SPC_BT2020_CL:
      matrix = ColorMatrix::kBt2020;
      return true;
    case AVCOL_SPC_UNSPECIFIED:
    case AVCOL_SPC_RESERVED:
    case AVCOL_SPC_RGB:  // said of planes that are Y'CbCr all the same
    case AVCOL_SPC_BT470BG:
    case AVCOL_SPC_SMPTE170M:
      matrix = ColorMatrix::kBt601;
      return true;
    default:
      return false;
  }
}

bool full_range(const AVFrame& frame, bool rgb, bool grey) {
  switch (frame.format) {
    case AV_PIX_FMT_YUVJ420P:
    case AV_PIX_FMT_YUVJ422P:
    case AV_PIX_FMT_YUVJ444P:
    case AV_PIX_FMT_YUVJ440P:
    case AV_PIX_FMT_YUVJ411P:
      return true;
    default:
      return frame.color_range == AVCOL_RANGE_JPEG ||
             ((rgb || grey) && frame.color_range == AVCOL_RANGE_UNSPECIFIED);  // as libswscale has it
  }
}

void place_chroma(AVChromaLocation location, YuvFormat& format) {
  switch (location) {
    case AVCHROMA_LOC_CENTER:
      format.chroma_site_x = 0.5F, format.chroma_site_y = 0.5F;
      break;
    case AVCHROMA_LOC_TOPLEFT:
      format.chroma_site_x = 0, format.chroma_site_y = 0;
      break;
    case AVCHROMA_LOC_TOP:
      format.chroma_site_x = 0.5F, format.chroma_site_y = 0;
      break;
    case AVCHROMA_LOC_BOTTOMLEFT:
      format.chroma_site_x = 0, format.chroma_site_y = 1;
      break;
    case AVCHROMA_LOC_BOTTOM:
      format.chroma_site_x = 0.5F, format.chroma_site_y = 1;
      break;
    default:
      format.chroma_site_x = 0, format.chroma_site_y = 0.5F;
      break;
  }
}

}  // namespace

const AVFrame& PlanarConverter::planar(const AVFrame& frame, const std::string& name) {
  const auto source = static_cast<AVPixelFormat>(frame.format);
  const AVPixFmtDescriptor* d = av_pix_fmt_desc_get(source);
  if (!d || frame.hw_frames_ctx || supported(*d)) return frame;
  // On its way to planes libswscale leaves the low bits of such samples 0, which darkens; on its way to bytes it fills
  // them.
  const AVFrame& from = is_rgb(*d) && d->comp[0].depth < 8 ? widened_.convert(frame, AV_PIX_FMT_RGB24, name) : frame;
  const auto format = static_cast<AVPixelFormat>(from.format);
  return planar_.convert(from, avcodec_find_best_pix_fmt_of_list(kPlanar.data(), format, 0, nullptr), name);
}

const AVFrame& PlanarConverter::Step::convert(const AVFrame& frame, AVPixelFormat target, const std::string& name) {
  const auto source = static_cast<AVPixelFormat>(frame.format);
  const AVPixFmtDescriptor& d = *av_pix_fmt_desc_get(source);
  scaler.reset(sws_getCachedContext(scaler.release(), frame.width, frame.height, source, frame.width, frame.height,
                                    target, SWS_BICUBIC | SWS_ACCURATE_RND | SWS_FULL_CHR_H_INT, nullptr, nullptr,
                                    nullptr));
  if (!scaler) {
    throw UnsupportedStreamError(name + ": libswscale cannot convert pictures of the pixel format " + d.name +
                                 "; convert them first, for example with: "
                                 "ffmpeg -i IN -pix_fmt yuv420p -c:v libx265 -crf 23 OUT.mp4");
  }
  // The same range on both sides: samples are moved, not stretched.
  const int full = full_range(frame, is_rgb(d), false);
  const int* const matrix = sws_getCoefficients(SWS_CS_DEFAULT);
  sws_setColorspaceDetails(scaler.get(), matrix, full, matrix, full, 0, 1 << 16, 1 << 16);
  if (!converted) converted.reset(av_frame_alloc());
  if (!converted) throw std::bad_alloc();
  AVFrame& to = *converted;
  if (to.format != target || to.width != frame.width || to.height != frame.height) {
    av_frame_unref(&to);
    to.format = target;
    to.width = frame.width;
    to.height = frame.height;
    if (av_frame_get_buffer(&to, 0) < 0) throw std::bad_alloc();
  }
  if (av_frame_copy_props(&to, &frame) < 0) throw std::bad_alloc();
  const int rows = sws_scale(scaler.get(), frame.data, frame.linesize, 0, frame.height, to.data, to.linesize);
  if (rows < 0) throw DecodeError(name + ": a picture cannot be converted (" + error_text(rows) + ")");
  return to;
}

YuvPicture view(const AVFrame& frame, const std::string& name) {
  const bool on_gpu = frame.hw_frames_ctx != nullptr;
  const auto format = on_gpu ? reinterpret_cast<const AVHWFramesContext*>(frame.hw_frames_ctx->data)->sw_format
                             : static_cast<AVPixelFormat>(frame.format);
  const AVPixFmtDescriptor* d = av_pix_fmt_desc_get(format);
  if (!d || !(on_gpu ? supported_on_gpu(*d) : supported(*d))) {
    throw UnsupportedStreamError(name + ": pictures of the pixel format " + (d ? d->name : "unknown") +
                                 " cannot be taken; convert it, for example with: "
                                 "ffmpeg -i IN -pix_fmt yuv420p -c:v libx265 -crf 23 OUT.mp4");
  }
  YuvPicture picture;
  YuvFormat& f = picture.format;
  // libavcodec cuts what is not shown off frames in its own memory; of others it leaves left and top to the reader.
  const int left = on_gpu ? static_cast<int>(frame.crop_left) : 0, top = on_gpu ? static_cast<int>(frame.crop_top) : 0;
  f.width = frame.width - left;
  f.height = frame.height - top;
  f.bit_depth = d->comp[0].depth;
  f.components = d->nb_components;
  f.chroma_shift_x = d->nb_components > 1 ? d->log2_chroma_w : 0;
  f.chroma_shift_y = d->nb_components > 1 ? d->log2_chroma_h : 0;
  place_chroma(known_location(frame.chroma_location), f);
  if (!matrix_of(frame.colorspace, is_rgb(*d), f.matrix)) {
    const char* matrix = av_color_space_name(frame.colorspace);
    throw UnsupportedStreamError(name + ": the colour matrix " + (matrix ? matrix : "unknown") +
                                 " cannot be converted; convert it to bt709 first, for example with FFmpeg's zscale");
  }
  f.full_range = full_range(frame, is_rgb(*d), d->nb_components == 1);
  for (int i = 0; i < d->nb_components; ++i) {
    picture.planes[i] = frame.data[d->comp[i].plane];
    picture.strides[i] = frame.linesize[d->comp[i].plane];
    if (!on_gpu) continue;
    picture.steps[i] = d->comp[i].step;
    const int x = i > 0 ? left >> f.chroma_shift_x : left, y = i > 0 ? top >> f.chroma_shift_y : top;
    picture.planes[i] += d->comp[i].offset + x * d->comp[i].step + y * picture.strides[i];
  }
  picture.on_gpu = on_gpu;
  if (on_gpu) picture.low_bits = d->comp[0].shift;
  return picture;
}

}  // namespace ove::media
