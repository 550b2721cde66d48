// What Python gives as a video: a path, bytes, or a binary file object.
#pragma once

#include <pybind11/pybind11.h>

#include <string>

#include "media/demuxer.h"

namespace ove::bindings {

// Call with the GIL held. `source` is borrowed, so that nothing is let go of where a thread ends without the GIL, at
// the end of the interpreter. A str or os.PathLike is a file's name; bytes-like objects and objects with read() are
// kept alive by the Demuxer, and a file object is read from its first byte where it can seek, from where it stands
// otherwise. While the Demuxer works the GIL may be free. Throws TypeError (as py::type_error) for anything else.
media::Demuxer open_demuxer(pybind11::handle source);

// What _core.stream_info tells.
pybind11::dict stream_info(const media::StreamInfo& info);

}  // namespace ove::bindings
