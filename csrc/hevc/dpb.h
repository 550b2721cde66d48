// Decoded picture buffer: reference marking (8.3.2), reference lists (8.3.4) and output order (C.5.2).
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <vector>

#include "hevc/picture.h"
#include "hevc/slice_header.h"

namespace ove::hevc {

// A picture of the reference picture set; null where the buffer does not hold it.
struct RpsEntry {
  std::shared_ptr<CodecPicture> picture;
  int poc = 0;
  bool is_long_term = false;
};

// The three lists that the current picture may refer to.
struct ReferencePictureSet {
  std::vector<RpsEntry> st_curr_before, st_curr_after, lt_curr;
};

class Dpb {
 public:
  // 8.3.2 and C.5.2.2 for the picture that `header` begins: marks, drops and outputs earlier pictures.
  ReferencePictureSet begin_picture(const SliceHeader& header, const Sps& sps, int poc, bool new_sequence, bool is_cra);

  // C.5.2.3: takes the current picture in, as a short-term reference.
  void add(std::shared_ptr<CodecPicture> picture, const Sps& sps, bool needed_for_output);

  // Everything that waits goes to output (end of the stream).
  void flush();

  // Next picture in output order, null if none is due.
  std::shared_ptr<CodecPicture> pop_output();

  // The picture that has this decode_index; null where it is not held.
  std::shared_ptr<CodecPicture> find(std::int64_t decode_index) const;

  // Whether a reference picture with these bits of its POC is held.
  bool holds(int poc_lsb, int mask) const;

  // Pictures held for reference or output.
  std::size_t size() const { return entries_.size(); }

 private:
  enum class Marking : std::uint8_t { kUnused, kShortTerm, kLongTerm };
  struct Entry {
    std::shared_ptr<CodecPicture> picture;
    Marking marking = Marking::kShortTerm;
    bool needed_for_output = false;
    int latency = 0;
  };

  ReferencePictureSet derive_rps(const SliceHeader& header, const Sps& sps, int poc);
  bool output_is_due(const Sps& sps) const;
  void bump();
  void remove_unused();

  std::vector<Entry> entries_;
  std::deque<std::shared_ptr<CodecPicture>> output_;
  bool first_picture_ = true;
};

// 8.3.4. Throws InvalidBitstreamError where a list needs a picture that is not there.
codec::RefLists make_ref_pic_lists(const SliceHeader& header, const ReferencePictureSet& rps);

}  // namespace ove::hevc
