// 8.4.1.2.1: the blocks that direct prediction takes motion from
#include <cstdlib>

#include "common/error.h"
#include "h264/motion.h"

namespace ove::h264 {

void MotionDerivation::start_collocated() {
  const Collocated& c = *collocated_;
  const int frame_height = field_picture_ ? 2 * picture_.height() : picture_.height();
  const auto check = [&](const CodecPicture* picture, int height) {
    if (picture && (picture->width() != picture_.width() || picture->height() != height || !picture->buffers))
      throw InvalidBitstreamError("a picture refers to one of another size");
  };
  check(c.frame.get(), frame_height);
  for (const auto& field : c.fields) check(field.get(), frame_height / 2);
  const auto distance = [&](int poc) { return std::abs(std::int64_t{poc} - picture_.poc); };
  const bool frames = !mbaff_ && !field_picture_ && c.structure == Structure::kFrame;
  same_place_ = frames && c.frame ? c.frame->buffers.get() : nullptr;
  nearer_field_ = distance(c.field_poc[0]) < distance(c.field_poc[1]) ? 0 : 1;
}

// Tables 8-6 and 8-8 for block (x4, y4) of the current macroblock: with direct_8x8_inference_flag, as every stream with
// fields has it, the one in the corner of a quadrant.
MotionDerivation::CollocatedBlock MotionDerivation::collocated_block(int x4, int y4) const {
  const Collocated& c = *collocated_;
  const int x = 4 * x_ + x4;
  const int pair = field_picture_ ? y_ : y_ >> 1;  // row of macroblock pairs
  const int half = y4 >> 1;
  const bool in_field = field_picture_ || field_;
  const std::size_t own_parity = field_picture_ ? parity(picture_.structure) : bottom_;
  const int pair_half = y_ & 1;  // of a frame macroblock in its pair
  if (is_field(c.structure)) return {c.fields[parity(c.structure)].get(), x, 4 * y_ + y4, Scale::kNone};
  if (c.structure == Structure::kFieldPair) {
    if (in_field) return {c.fields[own_parity].get(), x, 4 * pair + y4, Scale::kNone};
    return {c.fields[nearer_field_].get(), x, 4 * pair + 2 * pair_half + half, Scale::kFieldToFrame};
  }
  const CodecPicture* frame = c.frame.get();
  const bool was_field = frame && frame->field_at(x, 8 * pair) != 0;
  if (in_field && was_field) return {frame, x, 8 * pair + 4 * static_cast<int>(own_parity) + y4, Scale::kNone};
  if (in_field) return {frame, x, 8 * pair + 6 * half, Scale::kFrameToField};
  if (was_field) {
    return {frame, x, 8 * pair + 4 * static_cast<int>(nearer_field_) + 2 * pair_half + half, Scale::kFieldToFrame};
  }
  return {frame, x, 4 * y_ + y4, Scale::kNone};
}

}  // namespace ove::h264
