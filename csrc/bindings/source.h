// What Python gives as a video: a path, bytes, or a binary file object.
#pragma once

#include <pybind11/pybind11.h>

#include <cstdint>
#include <memory>
#include <string>

#include "media/demuxer.h"

namespace ove::bindings {

// Call with the GIL held. `source` is borrowed, so that nothing is let go of where a thread ends without the GIL, at
// the end of the interpreter. A str or os.PathLike is a file's name; bytes-like objects and objects with read() are
// kept alive by the Demuxer, and a file object is read from its first byte where it can seek, from where it stands
// otherwise. An object with `file` and `stream_index` is one of these, and the number of a stream; an OpenedSource is
// what it was made of. While the Demuxer works the GIL may be free. Throws TypeError (as py::type_error) for anything
// else.
media::Demuxer open_demuxer(pybind11::handle source);

// A source that was opened once, and what that found out about its streams.
class OpenedSource {
 public:
  explicit OpenedSource(pybind11::object source);

  const pybind11::object& source() const { return source_; }
  const std::shared_ptr<const media::StreamProbe>& probe() const { return probe_; }
  const media::StreamInfo& info() const { return info_; }

 private:
  const pybind11::object source_;
  std::shared_ptr<const media::StreamProbe> probe_;
  media::StreamInfo info_;
};

// While it lives, what is read of this file object stays in memory, up to a bound, for those who read it again.
class KeptReads {
 public:
  KeptReads(pybind11::handle file, std::int64_t most_bytes);
  ~KeptReads();
  KeptReads(const KeptReads&) = delete;
  KeptReads& operator=(const KeptReads&) = delete;

 private:
  struct Held;
  std::unique_ptr<Held> held_;
};

// What _core.stream_info tells.
pybind11::dict stream_info(const media::StreamInfo& info);

}  // namespace ove::bindings
