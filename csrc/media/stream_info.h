// What libavformat knows of a video stream, in the library's own types.
#pragma once

#include "media/demuxer.h"
#include "media/ffmpeg.h"

namespace ove::media {

StreamInfo describe_stream(const AVFormatContext& input, const AVStream& stream);

}  // namespace ove::media
