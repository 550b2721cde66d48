#include "h264/dpb.h"

#include <algorithm>
#include <utility>

namespace ove::h264 {

int Frame::frame_poc() const {
  if (decoded[0] && decoded[1]) return std::min(poc[0], poc[1]);
  return poc[decoded[0] ? 0 : 1];
}

void Dpb::number(int frame_num, const Sps& sps) {
  for (const auto& f : frames_) {
    f->frame_num_wrap = f->frame_num > frame_num ? f->frame_num - sps.max_frame_num() : f->frame_num;
  }
}

void Dpb::slide(const Sps& sps, const Frame* current) {
  for (;;) {
    int count = 0;
    Frame* first = nullptr;  // the short-term reference with the lowest FrameNumWrap
    for (const auto& f : frames_) {
      if (f.get() == current || !f->is_reference()) continue;
      ++count;
      if (f->any(Marking::kShortTerm) && (!first || f->frame_num_wrap < first->frame_num_wrap)) first = f.get();
    }
    if (count < std::max(sps.max_num_ref_frames, 1)) return;
    if (!first)
      throw InvalidBitstreamError("every reference picture is a long-term one, and there is no room for more");
    first->mark(Marking::kUnused);
  }
}

void Dpb::mark(const SliceHeader& header, const Sps& sps, Frame& current) {
  const bool field = header.is_field();
  const std::size_t own = parity(header.structure);
  const bool second = field && current.decoded[1 - own];
  const auto mark_current = [&](Marking m) {
    if (field) {
      current.marking[own] = m;
    } else {
      current.mark(m);
    }
  };
  if (header.nal.is_idr()) {
    for (const auto& f : frames_) f->mark(Marking::kUnused);
    mark_current(header.long_term_reference ? Marking::kLongTerm : Marking::kShortTerm);
    current.long_term_frame_idx = 0;
    return;
  }
  mark_current(Marking::kUnused);
  if (header.adaptive_marking) {
    for (const MarkingOperation& op : header.marking) apply(op, header, sps, current);
  } else if (!(second && current.marking[1 - own] == Marking::kShortTerm)) {
    slide(sps, &current);
  }
  const bool is_long_term = field ? current.marking[own] == Marking::kLongTerm : current.both(Marking::kLongTerm);
  if (!is_long_term) mark_current(Marking::kShortTerm);
  const auto count = std::count_if(frames_.begin(), frames_.end(),
                                   [&](const auto& f) { return f.get() != &current && f->is_reference(); });
  if (count + 1 > std::max(sps.max_num_ref_frames, 1)) {
    throw InvalidBitstreamError("more pictures are marked as references than max_num_ref_frames");
  }
}

// 8.2.5.4
void Dpb::apply(const MarkingOperation& op, const SliceHeader& header, const Sps& sps, Frame& current) {
  const bool field = header.is_field();
  const std::size_t own = parity(header.structure);
  const auto in_field = [&](std::size_t p) { return p == own ? 1 : 0; };
  // Does `what` to the field, or to both fields of the frame, that `number` names among those of one marking: PicNum,
  // or LongTermPicNum. A picture that is not there was lost before the stream began, or is marked already.
  const auto with_picture = [&](std::int64_t number, Marking marking, auto what) {
    for (const auto& f : frames_) {
      const std::int64_t of_frame = marking == Marking::kShortTerm ? f->frame_num_wrap : f->long_term_frame_idx;
      if (!field) {
        if (f->both(marking) && of_frame == number) return what(*f, std::size_t{0}, std::size_t{2});
        continue;
      }
      for (std::size_t p = 0; p < 2; ++p) {
        if (f->marking[p] == marking && 2 * of_frame + in_field(p) == number) return what(*f, p, p + 1);
      }
    }
  };
  const auto unmark = [](Frame& f, std::size_t begin, std::size_t end) {
    for (std::size_t p = begin; p < end; ++p) f.marking[p] = Marking::kUnused;
  };
  const std::int64_t curr_pic_num = field ? 2 * header.frame_num + 1 : header.frame_num;
  const std::int64_t pic_num = curr_pic_num - (std::int64_t{op.difference_of_pic_nums_minus1} + 1);
  const std::int64_t index = op.long_term_frame_idx;
  if ((op.operation == 3 || op.operation == 6) && index >= std::max(sps.max_num_ref_frames, 1)) {
    throw InvalidBitstreamError("long_term_frame_idx is beyond max_num_ref_frames");
  }
  switch (op.operation) {
    case 1:
      with_picture(pic_num, Marking::kShortTerm, unmark);
      break;
    case 2:
      with_picture(op.long_term_pic_num, Marking::kLongTerm, unmark);
      break;
    case 3:
      with_picture(pic_num, Marking::kShortTerm, [&](Frame& f, std::size_t begin, std::size_t end) {
        const bool pairs = f.any(Marking::kLongTerm) && f.long_term_frame_idx == index;
        free_long_term_index(static_cast<int>(index), pairs ? &f : nullptr);
        f.long_term_frame_idx = static_cast<int>(index);
        for (std::size_t p = begin; p < end; ++p) f.marking[p] = Marking::kLongTerm;
      });
      break;
    case 4:
      for (const auto& f : frames_) {
        for (Marking& m : f->marking) {
          if (m == Marking::kLongTerm && f->long_term_frame_idx >= index) m = Marking::kUnused;
        }
      }
      break;
    case 5:
      for (const auto& f : frames_) f->mark(Marking::kUnused);
      current.mark(Marking::kUnused);
      break;
    case 6: {
      const bool pairs = current.any(Marking::kLongTerm) && current.long_term_frame_idx == index;
      free_long_term_index(static_cast<int>(index), pairs ? &current : nullptr);
      current.long_term_frame_idx = static_cast<int>(index);
      if (field) {
        current.marking[own] = Marking::kLongTerm;
      } else {
        current.mark(Marking::kLongTerm);
      }
      break;
    }
    default:
      break;
  }
}

void Dpb::free_long_term_index(int index, const Frame* but) {
  for (const auto& f : frames_) {
    if (f.get() == but || f->long_term_frame_idx != index) continue;
    for (Marking& m : f->marking) {
      if (m == Marking::kLongTerm) m = Marking::kUnused;
    }
  }
}

void Dpb::flush(bool drop) {
  if (drop) {
    for (const auto& f : frames_) f->output.reset();
  }
  while (std::any_of(frames_.begin(), frames_.end(), [](const auto& f) { return f->output != nullptr; }))
    output_first();
  remove_unused();
}

void Dpb::restart() {
  for (const auto& f : frames_) f->mark(Marking::kUnused);
  flush();
}

void Dpb::bump(const Sps& sps) {
  const auto capacity = static_cast<std::size_t>(sps.max_dpb_frames());
  remove_unused();
  for (;;) {
    const auto waiting = std::count_if(frames_.begin(), frames_.end(), [](auto& f) { return f->output != nullptr; });
    if (waiting == 0 || (frames_.size() <= capacity && waiting <= sps.max_reorder_frames())) return;
    output_first();
    remove_unused();
  }
}

void Dpb::output_first() {
  const auto next = std::min_element(frames_.begin(), frames_.end(), [](const auto& a, const auto& b) {
    if (!a->output || !b->output) return a->output && !b->output;
    return a->frame_poc() < b->frame_poc();
  });
  auto shown = std::make_shared<Frame>();
  shown->output = std::exchange((*next)->output, nullptr);
  shown->last = (*next)->last;
  output_.push_back(std::move(shown));
}

void Dpb::remove_unused() {
  std::erase_if(frames_, [](const auto& f) { return !f->output && !f->is_reference(); });
}

std::shared_ptr<Frame> Dpb::pop_output() {
  if (output_.empty()) return nullptr;
  auto frame = std::move(output_.front());
  output_.pop_front();
  return frame;
}

std::shared_ptr<Frame> Dpb::find(std::int64_t decode_index) const {
  const auto found =
      std::find_if(frames_.begin(), frames_.end(), [&](const auto& f) { return f->decode_index == decode_index; });
  return found == frames_.end() ? nullptr : *found;
}

}  // namespace ove::h264
