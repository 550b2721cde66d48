// What of the Demuxer only this room may see.
#pragma once

#include <exception>
#include <memory>
#include <string>

#include "media/demuxer.h"
#include "media/ffmpeg.h"
#include "media/stream_probe.h"

namespace ove::media {

struct Demuxer::Impl {
  Impl(std::string source_name, Sniffer sniffer, int wanted, std::shared_ptr<const StreamProbe> known);

  std::string name;
  Sniffer sniff;
  int wanted_stream;
  std::shared_ptr<const StreamProbe> probe;  // of an earlier opening, or of this one
  std::unique_ptr<ByteSource> source;
  std::exception_ptr source_error;  // thrown by the source inside a callback of libavformat
  // In this order: the input is closed before the bytes it reads from.
  IoPtr callback_io;
  FileIoPtr file_io;
  InputPtr input;
  PacketPtr packet{av_packet_alloc()};
  const AVStream* stream = nullptr;
  StreamInfo info;
  bool raw = false;  // a byte stream without a container: packets follow one another without a gap
  std::int64_t next_index = 0;
  std::int64_t next_position = 0;  // of a raw stream
  std::int64_t segment_end = -1;   // where a Matroska file should end
  bool truncated = false;          // the last packet lacked bytes
  bool held = false;               // `packet` was found by seeking and is to be given next
  bool jumps = true;               // until the container leads elsewhere
  bool ahead = true;               // libavformat may hold packets that it has read, but not given
  std::shared_ptr<const std::vector<std::uint8_t>> extradata;  // in force; null for that of `info`

  void open_file(const std::string& path);
  void open_source();
  void open_stream();
  void open_input();
  void find_stream();
  void probe_streams();
  std::string there_is_no_stream() const;
  void check_end();
  void check_encryption();
  bool next_packet();
  void forget_ahead();
  AVIOContext* io() const { return callback_io ? callback_io.get() : file_io.get(); }
  [[noreturn]] void fail(const std::string& what, int code = 0, std::int64_t position = -1);
  void rethrow();
};

}  // namespace ove::media
