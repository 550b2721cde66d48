// Decoded picture buffer: frames and complementary field pairs, their marking (8.2.5) and their output order (C.4).
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <memory>
#include <vector>

#include "h264/picture.h"
#include "h264/slice_header.h"

namespace ove::h264 {

enum class Marking : std::uint8_t { kUnused, kShortTerm, kLongTerm };

// A frame, a complementary field pair, or a field that is alone. Arrays are of the top and the bottom field.
struct Frame {
  std::shared_ptr<const CodecPicture> frame;                  // where it was coded as a frame
  std::array<std::shared_ptr<const CodecPicture>, 2> fields;  // where it was coded as fields
  std::array<bool, 2> decoded{};                              // or inferred
  std::array<Marking, 2> marking{};
  std::array<int, 2> poc{};
  int frame_num = 0;
  int frame_num_wrap = 0;  // seen from the current picture (8.2.4.1)
  int long_term_frame_idx = 0;
  bool non_existing = false;       // inferred for a gap in frame_num (8.2.5.2)
  std::int64_t decode_index = -1;  // of its first coded picture

  std::shared_ptr<CodecPicture> output;  // what waits to be shown
  std::int64_t last = -1;                // decode_index of its last coded picture

  bool any(Marking m) const { return marking[0] == m || marking[1] == m; }
  bool both(Marking m) const { return marking[0] == m && marking[1] == m; }
  bool is_reference() const { return !both(Marking::kUnused); }
  void mark(Marking m) { marking.fill(m); }
  // PicOrderCnt() of a frame, or of what there is of it
  int frame_poc() const;
};

class Dpb {
 public:
  // 8.2.4.1: FrameNumWrap as the current picture sees it
  void number(int frame_num, const Sps& sps);

  // 8.2.5.3 sliding window. `current` is not counted.
  void slide(const Sps& sps, const Frame* current);

  // 8.2.5.1 for the complete picture of `header`, which is (a field of) `current`.
  void mark(const SliceHeader& header, const Sps& sps, Frame& current);

  // Takes in a frame, the first field of one, or a frame that is inferred.
  void add(std::shared_ptr<Frame> frame) { frames_.push_back(std::move(frame)); }

  // C.4.4: everything that waits goes to output, or is dropped.
  void flush(bool drop = false);
  // Nothing is a reference any more, and everything that waits goes to output.
  void restart();
  // C.4.5.3: outputs what the buffer and the reordering do not need to hold.
  void bump(const Sps& sps);
  // Forgets what is neither a reference nor waits.
  void remove_unused();

  // Next frame in output order, null if none is due.
  std::shared_ptr<Frame> pop_output();

  const std::vector<std::shared_ptr<Frame>>& frames() const { return frames_; }
  std::shared_ptr<Frame> find(std::int64_t decode_index) const;

 private:
  void apply(const MarkingOperation& op, const SliceHeader& header, const Sps& sps, Frame& current);
  void free_long_term_index(int index, const Frame* but);
  void output_first();

  std::vector<std::shared_ptr<Frame>> frames_;
  std::deque<std::shared_ptr<Frame>> output_;
};

}  // namespace ove::h264
