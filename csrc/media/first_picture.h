// What libavcodec says of an H.264 track before it decodes a picture. avformat_find_stream_info() decodes at least one
// for it, which takes longer than parsing a second of video.
#pragma once

#include "media/ffmpeg.h"

namespace ove::media {

// Completes the parameters of the video track of an MP4 or MOV file, as avformat_open_input() leaves it, from its
// parameter sets and the headers of its first sample. False, and nothing is changed, where the file has anything else
// than one video track, of H.264 with an avcC; where its tables do not give all times and rates; or where the SPS does
// not give the number of frames that are reordered.
bool describe_first_picture(AVFormatContext& input);

}  // namespace ove::media
