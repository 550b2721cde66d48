#include "reader/video_index.h"

#include <stdexcept>
#include <string>

#include "reader/video_reader.h"

namespace ove::reader {

std::vector<bool> VideoIndex::closure(const std::vector<std::int64_t>& frame_ids, Edges edges) const {
  std::vector<bool> needed(decoded.size());
  for (const std::int64_t id : frame_ids) {
    if (id < 0 || id >= std::ssize(pictures)) {
      throw std::out_of_range("frame " + std::to_string(id) + " is not in the video, which has " +
                              std::to_string(pictures.size()) + " pictures");
    }
    needed[static_cast<std::size_t>(pictures[static_cast<std::size_t>(id)].decode_index)] = true;
  }
  // What a picture needs precedes it in decoding order.
  for (std::size_t i = decoded.size(); i-- > 0;) {
    if (!needed[i]) continue;
    for (const std::int64_t other : edges == Edges::kReferences ? decoded[i].references : decoded[i].collocated) {
      needed[static_cast<std::size_t>(other)] = true;
    }
  }
  return needed;
}

std::vector<std::int64_t> VideoIndex::droppable_packets(const std::vector<std::int64_t>& frame_ids) const {
  const std::vector<bool> needed = closure(frame_ids, Edges::kReferences);
  std::vector<std::int64_t> packets;
  for (std::size_t i = 0; i < decoded.size(); ++i) {
    if (!needed[i] && !decoded[i].poc_anchor) packets.push_back(decoded[i].packet);
  }
  return packets;
}

VideoIndex index_video(media::Demuxer demuxer, const hevc::Limits& limits) {
  VideoIndex index;
  ReaderOptions options;
  options.detail = hevc::Detail::kHeaders;
  options.limits = limits;
  options.observe = [&](const hevc::CodecPicture& p) {
    const bool anchor = p.temporal_id == 0 && !hevc::is_rasl(p.nal_unit_type) && !hevc::is_radl(p.nal_unit_type) &&
                        !hevc::is_sub_layer_non_reference(p.nal_unit_type);
    index.decoded.push_back({p.tag.packet, p.references, p.collocated, anchor});
  };
  VideoReader reader(std::move(demuxer), std::move(options));
  for (VideoPicture picture; reader.next(picture);) {
    const hevc::CodecPicture& p = *picture.codec;
    index.pictures.push_back(
        {p.tag.packet, p.decode_index, picture.pts, p.poc, p.type, hevc::is_irap(p.nal_unit_type)});
  }
  return index;
}

}  // namespace ove::reader
