// What of an indexed video is read for some of its pictures: the packets, and what is known of each picture.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "codec/decoder.h"
#include "media/pixel_decoder.h"
#include "reader/video_index.h"

namespace ove::reader {

// For the syntax decoder. Nothing is read but the wanted pictures and those that motion is derived from: what a slice
// refers to is known from the index.
class ReadingPlan {
 public:
  // `frame_ids` are display indices, ascending; `detail` is that of their pictures.
  ReadingPlan(std::shared_ptr<const VideoIndex> index, std::vector<std::int64_t> frame_ids, codec::Detail detail);

  const VideoIndex& index() const { return *index_; }
  const std::vector<std::int64_t>& frame_ids() const { return frame_ids_; }

  // Goes to the next packet, at or behind the one that the demuxer would give, that holds a part of a needed picture.
  // False where there is none.
  bool go_to_next(media::Demuxer& demuxer);

  // The next coded picture that begins in this packet; nothing where it is not needed. Called once a coded picture.
  std::optional<codec::WantedPicture> wanted(const codec::AccessUnitTag& tag);

  // Display index of a decoded picture, -1 where it is only referred to.
  std::int64_t frame_id(const codec::CodecPicture& picture) const {
    return needed_[static_cast<std::size_t>(picture.decode_index)].frame_id;
  }

 private:
  struct Needed {
    std::int64_t decode_index;  // of the index
    std::int64_t frame_id;
    codec::Detail detail;
    std::int64_t last_use = -1;  // see codec::WantedPicture
  };

  std::shared_ptr<const VideoIndex> index_;
  std::vector<std::int64_t> frame_ids_;
  std::vector<Needed> needed_;                                 // decoding order
  std::vector<std::pair<std::int64_t, std::int64_t>> ranges_;  // packets [begin, end) of needed pictures
  std::size_t range_ = 0, next_needed_ = 0;
  std::int64_t packet_ = -1, next_in_packet_ = 0;  // packet of the picture that began last; decode_index of the next
};

// For the pixel decoder: what it reads of a stream for the pictures of these packets. Throws InvalidBitstreamError for
// extradata that is cut short.
media::PixelDecoder::Options pixel_plan(const VideoIndex& index, const std::vector<std::int64_t>& packets,
                                        const media::StreamInfo& stream);

// Display indices of what these packets' pixels need, if some pictures of the video have several slices: libavcodec
// fills in, or leaves as it was, what a lost slice leaves out, and does not tell reliably. Empty otherwise.
std::vector<std::int64_t> pictures_that_may_lack_slices(const VideoIndex& index,
                                                        const std::vector<std::int64_t>& packets);

}  // namespace ove::reader
