#include "h264/ref_pic_lists.h"

#include <algorithm>
#include <utility>
#include <vector>

namespace ove::h264 {

namespace {

struct Item {
  const Frame* frame = nullptr;  // null where the picture is not there
  Structure structure = Structure::kFrame;
  Marking marking = Marking::kUnused;
  bool operator==(const Item&) const = default;
};
using List = std::vector<Item>;
using Frames = std::vector<const Frame*>;

class ListMaker {
 public:
  ListMaker(const SliceHeader& header, const Sps& sps, int poc, std::span<const std::shared_ptr<Frame>> frames)
      : header_(header),
        sps_(sps),
        poc_(poc),
        frames_(frames),
        field_(header.is_field()),
        own_(parity(header.structure)) {}

  std::array<List, 2> initial() const {
    if (header_.type == SliceType::kP) return {initial_p(), List()};
    std::array<List, 2> lists{initial_b(true), initial_b(false)};
    if (lists[1].size() > 1 && lists[0] == lists[1]) std::swap(lists[1][0], lists[1][1]);
    return lists;
  }

  // 8.2.4.3. Throws InvalidBitstreamError where a picture is not there, unless that is `tolerated`.
  void modify(List& list, const std::vector<ListModification>& modifications, bool tolerated) const {
    const std::int64_t curr_pic_num = field_ ? 2 * header_.frame_num + 1 : header_.frame_num;
    const std::int64_t max_pic_num = std::int64_t{sps_.max_frame_num()} * (field_ ? 2 : 1);
    std::int64_t predicted = curr_pic_num;
    std::size_t at = 0;
    const std::size_t size = list.size();
    for (const ListModification& m : modifications) {
      if (at == size) throw InvalidBitstreamError("a reference list has more modifications than entries");
      Item item;
      if (m.idc == 2) {
        item = find(m.value, Marking::kLongTerm);
      } else {
        const std::int64_t difference = std::int64_t{m.value} + 1;
        if (difference > max_pic_num) throw InvalidBitstreamError("abs_diff_pic_num_minus1 is out of range");
        predicted += m.idc == 0 ? -difference : difference;
        if (predicted < 0) predicted += max_pic_num;
        if (predicted >= max_pic_num) predicted -= max_pic_num;
        item = find(predicted > curr_pic_num ? predicted - max_pic_num : predicted, Marking::kShortTerm);
      }
      if (!item.frame && !tolerated) throw InvalidBitstreamError("a reference list names a picture that is missing");
      list.insert(list.begin() + static_cast<std::ptrdiff_t>(at), item);
      ++at;
      if (item.frame)
        list.erase(std::remove(list.begin() + static_cast<std::ptrdiff_t>(at), list.end(), item), list.end());
      list.resize(size);
    }
  }

 private:
  // The frames that may be referred to with this marking, in field decoding those with one such field at least.
  Frames marked(Marking marking) const {
    Frames result;
    for (const auto& f : frames_) {
      if (field_ ? f->any(marking) : f->both(marking)) result.push_back(f.get());
    }
    return result;
  }

  // 8.2.4.2.5, or in frames simply these
  void append(List& list, const Frames& frames, Marking marking) const {
    if (!field_) {
      for (const Frame* f : frames) list.push_back({f, Structure::kFrame, marking});
      return;
    }
    std::array<std::size_t, 2> next{0, 0};
    const auto take = [&](std::size_t p) {
      while (next[p] < frames.size() && frames[next[p]]->marking[p] != marking) ++next[p];
      if (next[p] == frames.size()) return false;
      list.push_back({frames[next[p]++], field_of(p), marking});
      return true;
    };
    std::size_t p = own_;
    while (take(p)) p = 1 - p;
    while (take(1 - p)) {
    }
  }

  void append_long_term(List& list) const {
    Frames frames = marked(Marking::kLongTerm);
    std::stable_sort(frames.begin(), frames.end(),
                     [](const Frame* a, const Frame* b) { return a->long_term_frame_idx < b->long_term_frame_idx; });
    append(list, frames, Marking::kLongTerm);
  }

  // 8.2.4.2.1, 8.2.4.2.2
  List initial_p() const {
    List list;
    Frames frames = marked(Marking::kShortTerm);
    std::stable_sort(frames.begin(), frames.end(),
                     [](const Frame* a, const Frame* b) { return a->frame_num_wrap > b->frame_num_wrap; });
    append(list, frames, Marking::kShortTerm);
    append_long_term(list);
    return list;
  }

  // 8.2.4.2.3, 8.2.4.2.4
  List initial_b(bool earlier_first) const {
    Frames frames = marked(Marking::kShortTerm);
    if (sps_.pic_order_cnt_type == 0) std::erase_if(frames, [](const Frame* f) { return f->non_existing; });
    const auto is_earlier = [&](const Frame* f) { return field_ ? f->frame_poc() <= poc_ : f->frame_poc() < poc_; };
    std::stable_sort(frames.begin(), frames.end(), [&](const Frame* a, const Frame* b) {
      const bool a_earlier = is_earlier(a), b_earlier = is_earlier(b);
      if (a_earlier != b_earlier) return a_earlier == earlier_first;
      return a_earlier ? a->frame_poc() > b->frame_poc() : a->frame_poc() < b->frame_poc();
    });
    List list;
    append(list, frames, Marking::kShortTerm);
    append_long_term(list);
    return list;
  }

  // By PicNum or LongTermPicNum
  Item find(std::int64_t number, Marking marking) const {
    for (const auto& f : frames_) {
      const std::int64_t of_frame = marking == Marking::kShortTerm ? f->frame_num_wrap : f->long_term_frame_idx;
      if (!field_) {
        if (f->both(marking) && of_frame == number) return {f.get(), Structure::kFrame, marking};
        continue;
      }
      for (std::size_t p = 0; p < 2; ++p) {
        if (f->marking[p] == marking && 2 * of_frame + (p == own_) == number) return {f.get(), field_of(p), marking};
      }
    }
    return {};
  }

  const SliceHeader& header_;
  const Sps& sps_;
  const int poc_;
  const std::span<const std::shared_ptr<Frame>> frames_;
  const bool field_;
  const std::size_t own_;
};

RefEntry entry_of(const Item& item, Structure structure, std::int64_t missing) {
  if (!item.frame) return {0, false, structure, missing};
  const int poc = is_field(structure) ? item.frame->poc[parity(structure)] : item.frame->frame_poc();
  return {poc, item.marking == Marking::kLongTerm, structure,
          item.frame->non_existing ? missing : item.frame->decode_index};
}

}  // namespace

SliceLists make_ref_pic_lists(const SliceHeader& header, const Sps& sps, int poc,
                              std::span<const std::shared_ptr<Frame>> frames, std::int64_t missing) {
  const ListMaker maker(header, sps, poc, frames);
  std::array<List, 2> lists = maker.initial();
  SliceLists result;
  for (std::size_t x = 0; x < 2; ++x) {
    lists[x].resize(static_cast<std::size_t>(header.num_ref_idx_active[x]));
    maker.modify(lists[x], header.modifications[x], missing == kBeforeStart);
    for (const Item& item : lists[x]) {
      result.lists[x].push_back(entry_of(item, item.structure, missing));
      if (!header.mbaff) continue;
      for (std::size_t p = 0; p < 2; ++p) {  // 8.4.2.1
        result.field_lists[p][x].push_back(entry_of(item, field_of(p), missing));
        result.field_lists[p][x].push_back(entry_of(item, field_of(1 - p), missing));
      }
    }
  }
  return result;
}

}  // namespace ove::h264
