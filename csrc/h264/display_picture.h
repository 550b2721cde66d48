// Frames as they are shown, made of two fields or of a frame with field macroblocks (Structure::kFieldPair).
#pragma once

#include <memory>

#include "codec/buffers.h"
#include "h264/picture.h"

namespace ove::h264 {

// The frame's headers. `second` is null unless both fields were coded apart.
std::shared_ptr<CodecPicture> make_shown_frame(const CodedPicture& first, const CodedPicture* second,
                                               const ActiveSets& sets);

// Its slices and arrays, when all that it is made of is decoded. Blocks of a field that was not coded count as intra.
// The residuals of the coded pictures go.
void fill_shown_frame(CodedPicture& first, CodedPicture* second, const codec::BufferPools& pools, CodecPicture& shown);

}  // namespace ove::h264
