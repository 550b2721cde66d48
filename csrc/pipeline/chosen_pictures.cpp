#include "pipeline/chosen_pictures.h"

#include <algorithm>
#include <stdexcept>
#include <string>

#include "common/error.h"
#include "common/named_error.h"
#include "reader/codecs.h"
#include "reader/reading_plan.h"
#include "reader/video_reader.h"

namespace ove::pipeline {

namespace {

// Parses these pictures, which throws where slices of one are missing, and gives the demuxer back.
media::Demuxer checked(media::Demuxer demuxer, const Decoding& decoding, std::vector<std::int64_t> frame_ids) {
  reader::VideoReader reader(std::move(demuxer), {.threads = decoding.threads,
                                                  .detail = {.amount = codec::Amount::kBits},
                                                  .limits = codec::Limits::highest(),
                                                  .observe = {},
                                                  .index = decoding.index,
                                                  .frame_ids = std::move(frame_ids),
                                                  .process = {}});
  for (reader::VideoPicture picture; reader.next(picture);) continue;
  return std::move(reader).take_demuxer();
}

}  // namespace

ChosenPictures::ChosenPictures(media::Demuxer demuxer, std::span<const std::int64_t> packets, const Decoding& decoding,
                               const std::function<bool(std::size_t)>& needs) {
  for (std::size_t slot = 0; slot < packets.size(); ++slot) {
    if (needs(slot)) slots_.emplace_back(packets[slot], slot);
  }
  std::sort(slots_.begin(), slots_.end());
  std::vector<std::int64_t> needed;
  for (const auto& [packet, slot] : slots_) {
    if (!needed.empty() && needed.back() == packet) {
      throw std::invalid_argument("packets must not repeat, as " + std::to_string(packet) + " does");
    }
    needed.push_back(packet);
  }
  media::PixelDecoder::Options options;
  if (decoding.index) decoding.index->check_codec(demuxer);
  try {
    if (decoding.index) options = reader::pixel_plan(*decoding.index, needed, demuxer.info());
    if (!options.filter) options.filter = reader::make_packet_filter(demuxer.info().codec, demuxer.info().extradata);
  } catch (const Error&) {
    rethrow_named(demuxer.name());
  }
  if (decoding.index && demuxer.seekable()) {
    std::vector<std::int64_t> ids = reader::pictures_that_may_lack_slices(*decoding.index, needed);
    if (!ids.empty()) demuxer = checked(std::move(demuxer), decoding, std::move(ids));
  }
  options.wanted = std::move(needed);
  options.threads = decoding.threads;
  options.max_luma_samples = decoding.max_luma_samples;
  options.nvdec = decoding.nvdec;
  decoder_ = std::make_unique<media::PixelDecoder>(std::move(demuxer), std::move(options));
}

bool ChosenPictures::next(YuvPicture& picture, std::size_t& slot) {
  media::DecodedPicture decoded;
  if (!decoder_->next(decoded)) return false;
  const YuvFormat& format = decoded.yuv.format;
  if (width_ > 0 && (format.width != width_ || format.height != height_)) {
    throw UnsupportedStreamError(decoder_->demuxer().name() + ": the picture of packet " +
                                 std::to_string(decoded.packet) +
                                 " is of another size than those before it; take pictures of one size at a time");
  }
  width_ = format.width;
  height_ = format.height;
  picture = decoded.yuv;
  frame_ = std::move(decoded.frame);
  slot = std::lower_bound(slots_.begin(), slots_.end(), std::pair(decoded.packet, std::size_t{0}))->second;
  return true;
}

}  // namespace ove::pipeline
