// Picture order counts (8.2.1).
#pragma once

#include <array>

#include "h264/slice_header.h"

namespace ove::h264 {

class OrderCounter {
 public:
  // TopFieldOrderCnt and BottomFieldOrderCnt of a picture; of a field its own in both. Throws InvalidBitstreamError
  // where they do not fit 32 bits.
  std::array<int, 2> begin(const SliceHeader& header, const Sps& sps);

  // The picture of `header` is complete; `poc` are its order counts after a memory_management_control_operation 5.
  void complete(const SliceHeader& header, std::array<int, 2> poc);

 private:
  std::array<std::int64_t, 2> count_by_lsb(const SliceHeader& header, const Sps& sps);
  std::array<std::int64_t, 2> count_by_cycle(const SliceHeader& header, const Sps& sps) const;
  std::array<std::int64_t, 2> count_by_decoding(const SliceHeader& header) const;
  void update_frame_num_offset(const SliceHeader& header, const Sps& sps);

  std::int64_t prev_msb_ = 0, prev_lsb_ = 0;  // of the last reference picture
  std::int64_t msb_ = 0;
  std::int64_t prev_frame_num_ = 0, prev_offset_ = 0;  // of the last picture
  std::int64_t offset_ = 0;                            // FrameNumOffset
};

// tempPicOrderCnt is subtracted: what remains of the order counts after memory_management_control_operation 5.
std::array<int, 2> reset_order_counts(std::array<int, 2> poc, Structure structure);

}  // namespace ove::h264
