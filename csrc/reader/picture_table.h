// The pictures of a long video as its container's tables tell them, and an index of some of them.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "codec/limits.h"
#include "media/demuxer.h"
#include "reader/video_index.h"

namespace ove::reader {

// One packet a picture, in groups that begin at the container's sync samples. All pictures of a group are shown before
// the sync sample of the next one, which only its leading pictures precede; they may refer to the group before theirs.
// A group is taken to bring the parameter sets that are not in the sample description, as ISO/IEC 14496-15 has it for
// sync samples.
class PictureTable {
 public:
  // Nothing where the tables do not tell that; then nothing more may be read from the demuxer.
  static std::optional<PictureTable> read(media::Demuxer& demuxer);

  struct Picture {
    std::int64_t packet = 0, packet_bytes = 0;
    double pts = 0;  // seconds
  };
  const std::vector<Picture>& pictures() const { return pictures_; }  // display order

  // An index in which only these pictures (display indices) are known, and of those before them in their groups all but
  // leading ones; for a leading picture, the group before its own is read too. Of others it has what is here. Nothing
  // where a group does not stand alone or is damaged, or the tables are not right: reading the whole video tells then.
  // Throws std::out_of_range, and what a ByteSource throws.
  std::optional<VideoIndex> index(media::Demuxer& demuxer, const codec::Limits& limits,
                                  const std::vector<std::int64_t>& frame_ids) const;

 private:
  struct Run {
    std::int64_t begin, end;  // packets that are read one after the other, from a sync sample on
  };
  std::vector<Run> runs(const std::vector<bool>& wanted) const;
  bool leads(std::int64_t packet, std::int64_t sync) const;
  bool take(media::Demuxer& demuxer, const codec::Limits& limits, Run run, VideoIndex& index) const;

  std::vector<media::TabledPacket> packets_;
  std::vector<Picture> pictures_;
  std::vector<std::int64_t> groups_;  // packets of the sync samples, and the one behind the last
  std::vector<std::int64_t> shown_;   // display index by packet
};

}  // namespace ove::reader
