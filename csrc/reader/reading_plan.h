// What of an indexed video is read for some of its pictures: the packets, and what is known of each picture.
#pragma once

#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "hevc/decoder.h"
#include "media/pixel_decoder.h"
#include "reader/video_index.h"

namespace ove::reader {

// For the syntax decoder. Nothing but what the wanted pictures refer to, directly or not, is decoded.
class ReadingPlan {
 public:
  // `frame_ids` are display indices, ascending; `detail` is that of their pictures.
  ReadingPlan(std::shared_ptr<const VideoIndex> index, std::vector<std::int64_t> frame_ids, hevc::Detail detail);

  const VideoIndex& index() const { return *index_; }
  const std::vector<std::int64_t>& frame_ids() const { return frame_ids_; }

  // Goes to the next packet, at or behind the one that the demuxer would give, that holds a part of a needed picture.
  // False where there is none.
  bool go_to_next(media::Demuxer& demuxer);

  // What is known of the next picture that begins in this packet; null where it is not needed. Called once a picture.
  const hevc::KnownPicture* known(const hevc::AccessUnitTag& tag);

  // Display index of a decoded picture, -1 where it is only referred to.
  std::int64_t frame_id(const hevc::CodecPicture& picture) const {
    return needed_[static_cast<std::size_t>(picture.decode_index)].frame_id;
  }

 private:
  struct Needed {
    std::int64_t decode_index;  // of the index
    std::int64_t frame_id;
    hevc::KnownPicture known;
  };

  std::shared_ptr<const VideoIndex> index_;
  std::vector<std::int64_t> frame_ids_;
  std::vector<Needed> needed_;                                 // decoding order
  std::vector<std::pair<std::int64_t, std::int64_t>> ranges_;  // packets [begin, end) of needed pictures
  std::size_t range_ = 0, next_needed_ = 0;
  std::int64_t packet_ = -1, next_in_packet_ = 0;  // packet of the picture that began last; decode_index of the next
};

// For the pixel decoder: what it reads for the pictures of these packets.
media::PixelDecoder::Options pixel_plan(const VideoIndex& index, const std::vector<std::int64_t>& packets);

}  // namespace ove::reader
