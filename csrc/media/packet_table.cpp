// The packets of a stream by the tables of its container alone: libavformat goes through them while nothing is read.
#include <utility>

#include "media/demuxer.h"
#include "media/demuxer_impl.h"

namespace ove::media {

namespace {

int read_nothing(void*, std::uint8_t*, int size) { return size; }

// While it lives, an input reads at once, whatever lies in memory: for those who do not look at the bytes.
class Withheld {
 public:
  explicit Withheld(AVIOContext& io) : io_(io), read_(std::exchange(io.read_packet, read_nothing)) {}
  ~Withheld() {
    io_.read_packet = read_;
    // What is in the buffer is not of the file, and the file not where the buffer says.
    io_.buf_ptr = io_.buf_end = io_.buffer;
    io_.pos = 0;
    io_.eof_reached = io_.error = 0;
    io_.seek(io_.opaque, 0, SEEK_SET);
  }
  Withheld(const Withheld&) = delete;
  Withheld& operator=(const Withheld&) = delete;

 private:
  AVIOContext& io_;
  decltype(AVIOContext::read_packet) read_;
};

// Whether every sample of the stream is in the index, and all of them together in a file of this size.
bool indexes_all(const AVStream& stream, std::int64_t size) {
  const std::int64_t count = stream.nb_frames;
  if (count <= 0 || num_indexed(stream) != count) return false;
  for (int i = 0; i < count; ++i) {
    const AVIndexEntry& entry = indexed(stream, i);
    if (entry.size <= 0 || entry.pos < 0 || (size -= entry.size) < 0) return false;
  }
  return true;
}

}  // namespace

std::vector<TabledPacket> Demuxer::table() {
  const Silence quiet;
  Impl& self = *impl_;
  std::vector<TabledPacket> packets;
  const std::int64_t size = avio_size(self.io());
  if (self.info.container.find("mp4") == std::string::npos || !seekable() || !indexes_all(*self.stream, size)) {
    return packets;
  }
  const std::int64_t count = self.stream->nb_frames;
  self.ahead = self.held = false;
  self.next_index = count;  // whatever is read next is sought
  {
    const Withheld withheld(*self.io());
    self.input->flags |= AVFMT_FLAG_NOPARSE;  // a parser would look at the bytes
    const std::int64_t first = indexed(*self.stream, 0).timestamp;
    const int flags = AVSEEK_FLAG_BACKWARD | AVSEEK_FLAG_ANY;
    bool more = av_seek_frame(self.input.get(), self.stream->index, first, flags) >= 0;
    while (more && std::ssize(packets) <= count && (more = self.next_packet())) {
      const AVPacket& p = *self.packet;
      const bool told = !(p.flags & AV_PKT_FLAG_DISCARD) && !self.extradata && p.pts != kNoTimestamp && p.pos >= 0 &&
                        p.size <= size - p.pos;
      if (!told) break;
      packets.push_back({{std::ssize(packets), p.pts, p.dts, p.pos, p.size}, (p.flags & AV_PKT_FLAG_KEY) != 0});
    }
    self.input->flags &= ~AVFMT_FLAG_NOPARSE;
  }
  if (std::ssize(packets) != count) packets.clear();
  return packets;
}

}  // namespace ove::media
