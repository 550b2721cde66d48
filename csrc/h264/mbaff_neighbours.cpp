#include "h264/motion.h"

namespace ove::h264 {

// 6.4.12.2 for a block outside of the current macroblock; y counts samples.
MotionDerivation::Cell MotionDerivation::mbaff_outer_cell(int x4, int y) const {
  const auto& fields = picture_.buffers->field;
  const int pair_y = y_ & ~1;
  const auto cell = [&](int dx, int dy, auto locate) {
    const int mb_x = x_ + dx, mb_y = pair_y + dy;
    const bool field = fields[static_cast<std::size_t>(mb_y) * static_cast<std::size_t>(width_in_mbs_) +
                              static_cast<std::size_t>(mb_x)] != 0;
    const PairRow row = locate(field);
    Cell out;
    out.index = (std::ptrdiff_t{4} * (mb_y + row.bottom) + (row.y >> 2)) * stride_ + 4 * mb_x + (x4 & 3);
    if (field != field_) out.scale = field ? Scale::kFieldToFrame : Scale::kFrameToField;
    return out;
  };
  if (y >= 0) {
    if (!available_.a) return {};
    return cell(-1, 0, [&](bool left_field) { return mbaff_left(field_, bottom_, left_field, y); });
  }
  if (bottom_ && !field_) {
    if (x4 >= 4) return {};
    if (x4 >= 0) return {base_ - stride_ + x4, Scale::kNone};
    if (!available_.a) return {};
    return cell(-1, 0, [](bool left_field) { return mbaff_above_left_inside(left_field); });
  }
  if (!(x4 < 0 ? available_.d : x4 < 4 ? available_.b : available_.c)) return {};
  return cell(x4 < 0   ? -1
              : x4 < 4 ? 0
                       : 1,
              -2, [&](bool above_field) { return mbaff_above(field_, bottom_, above_field); });
}

}  // namespace ove::h264
