// Why libavformat could not open an MP4 or MOV file.
#pragma once

#include <string>

#include "media/ffmpeg.h"

namespace ove::media {

// What the file lacks, going by its boxes, with the remedy; empty where it is not such a file or lacks nothing of the
// kind. Moves the position of a source that can seek.
std::string missing_index(AVIOContext& io);

}  // namespace ove::media
