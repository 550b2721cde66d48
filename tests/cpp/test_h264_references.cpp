// Order counts, reference lists, marking and output order of H.264.
#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <memory>
#include <vector>

#include "common/error.h"
#include "h264/dpb.h"
#include "h264/poc.h"
#include "h264/ref_pic_lists.h"
#include "random.h"

using namespace ove;
using namespace ove::h264;

namespace {

using Frames = std::vector<std::shared_ptr<Frame>>;

std::shared_ptr<Frame> make_frame(int frame_num, int poc, Marking marking = Marking::kShortTerm) {
  auto frame = std::make_shared<Frame>();
  frame->frame_num = frame->frame_num_wrap = frame_num;
  frame->poc = {poc, poc + 1};
  frame->decoded = {true, true};
  frame->mark(marking);
  frame->decode_index = 100 + frame_num;
  return frame;
}

std::shared_ptr<Frame> make_long_term(int index, int poc) {
  auto frame = make_frame(index, poc, Marking::kLongTerm);
  frame->long_term_frame_idx = index;
  frame->decode_index = 200 + index;
  return frame;
}

Sps make_sps() {
  Sps sps;
  sps.width_in_mbs = sps.height_in_mbs = 1;
  sps.max_num_ref_frames = 4;
  sps.level_idc = 10;
  return sps;
}

SliceHeader make_header(SliceType type, int frame_num, int entries, Structure structure = Structure::kFrame) {
  SliceHeader header;
  header.nal = {NalUnitType::kSlice, 1};
  header.type = type;
  header.frame_num = frame_num;
  header.structure = structure;
  header.num_ref_idx_active = {entries, type == SliceType::kB ? entries : 0};
  return header;
}

std::vector<std::int64_t> indices(const std::vector<RefEntry>& list) {
  std::vector<std::int64_t> result;
  for (const RefEntry& e : list) result.push_back(e.decode_index);
  return result;
}

using Indices = std::vector<std::int64_t>;

}  // namespace

TEST_CASE("H.264 initial lists of frames") {
  const Frames frames{make_frame(1, 2), make_long_term(1, 40), make_frame(3, 12), make_frame(2, 8),
                      make_long_term(0, 50)};
  SUBCASE("P: short-term by falling PicNum, then long-term by rising LongTermPicNum") {
    const auto made = make_ref_pic_lists(make_header(SliceType::kP, 4, 5), make_sps(), 20, frames, kMissing);
    CHECK(indices(made.lists[0]) == Indices{103, 102, 101, 200, 201});
    CHECK(made.lists[1].empty());
    CHECK(made.lists[0][3].is_long_term);
    CHECK(made.lists[0][0].poc == 12);
  }
  SUBCASE("B: by distance in either direction") {
    const auto made = make_ref_pic_lists(make_header(SliceType::kB, 4, 5), make_sps(), 9, frames, kMissing);
    CHECK(indices(made.lists[0]) == Indices{102, 101, 103, 200, 201});
    CHECK(indices(made.lists[1]) == Indices{103, 102, 101, 200, 201});
  }
  SUBCASE("B: equal lists of several entries differ in their first two") {
    const auto made = make_ref_pic_lists(make_header(SliceType::kB, 4, 2), make_sps(), 20, frames, kMissing);
    CHECK(indices(made.lists[0]) == Indices{103, 102});
    CHECK(indices(made.lists[1]) == Indices{102, 103});
  }
  SUBCASE("entries beyond what there is are missing") {
    const auto made = make_ref_pic_lists(make_header(SliceType::kP, 4, 7), make_sps(), 20, frames, kMissing);
    CHECK(indices(made.lists[0]) == Indices{103, 102, 101, 200, 201, kMissing, kMissing});
  }
  SUBCASE("lists of both fields of an MBAFF frame") {
    SliceHeader header = make_header(SliceType::kP, 4, 2, Structure::kMbaff);
    header.mbaff = true;
    const auto made = make_ref_pic_lists(header, make_sps(), 20, frames, kMissing);
    const auto& bottom = made.field_lists[1][0];
    CHECK(indices(bottom) == Indices{103, 103, 102, 102});
    CHECK(bottom[0].structure == Structure::kBottomField);
    CHECK(bottom[0].poc == 13);
    CHECK(bottom[1].structure == Structure::kTopField);
    CHECK(made.field_lists[0][0][0].structure == Structure::kTopField);
  }
}

TEST_CASE("H.264 initial lists of fields alternate between parities") {
  Frames frames{make_frame(1, 2), make_frame(3, 12), make_frame(2, 8)};
  frames[1]->marking[0] = Marking::kUnused;  // only its bottom field is left
  const auto fields = [](const std::vector<RefEntry>& list) {
    std::vector<std::pair<std::int64_t, bool>> result;
    for (const RefEntry& e : list) result.emplace_back(e.decode_index, e.structure == Structure::kBottomField);
    return result;
  };
  const auto made =
      make_ref_pic_lists(make_header(SliceType::kP, 4, 5, Structure::kTopField), make_sps(), 20, frames, kMissing);
  using Fields = std::vector<std::pair<std::int64_t, bool>>;
  CHECK(fields(made.lists[0]) == Fields{{102, false}, {103, true}, {101, false}, {102, true}, {101, true}});
  // A second field refers to the first field of its own frame.
  frames.push_back(std::make_shared<Frame>());
  frames.back()->frame_num = frames.back()->frame_num_wrap = 4;
  frames.back()->decoded[0] = true;
  frames.back()->marking[0] = Marking::kShortTerm;
  frames.back()->poc = {16, 0};
  frames.back()->decode_index = 104;
  const auto second =
      make_ref_pic_lists(make_header(SliceType::kP, 4, 3, Structure::kBottomField), make_sps(), 17, frames, kMissing);
  CHECK(fields(second.lists[0]) == Fields{{103, true}, {104, false}, {102, true}});
  CHECK(second.lists[0][1].poc == 16);
}

TEST_CASE("H.264 list modification") {
  const Frames frames{make_frame(1, 2), make_frame(3, 12), make_frame(2, 8), make_long_term(0, 50)};
  SliceHeader header = make_header(SliceType::kP, 4, 4);
  SUBCASE("puts a picture first and keeps the others in order") {
    header.modifications[0] = {{0, 2}};  // PicNum 4 - 3
    CHECK(indices(make_ref_pic_lists(header, make_sps(), 20, frames, kMissing).lists[0]) ==
          Indices{101, 103, 102, 200});
  }
  SUBCASE("goes on from the number before it") {
    header.modifications[0] = {{0, 2}, {1, 0}, {2, 0}};  // 1, 2, long-term 0
    CHECK(indices(make_ref_pic_lists(header, make_sps(), 20, frames, kMissing).lists[0]) ==
          Indices{101, 102, 200, 103});
  }
  SUBCASE("may name a picture twice") {
    header.num_ref_idx_active[0] = 3;
    header.modifications[0] = {{0, 0}, {1, 15}};  // 3, 3 again by way of MaxPicNum
    CHECK(indices(make_ref_pic_lists(header, make_sps(), 20, frames, kMissing).lists[0]) == Indices{103, 103, 102});
  }
  SUBCASE("of a picture that is missing") {
    header.modifications[0] = {{2, 3}};
    CHECK_THROWS_AS(make_ref_pic_lists(header, make_sps(), 20, frames, kMissing), InvalidBitstreamError);
    CHECK(make_ref_pic_lists(header, make_sps(), 20, frames, kBeforeStart).lists[0][0].decode_index == kBeforeStart);
  }
  SUBCASE("beyond its entries") {
    header.modifications[0].assign(5, {2, 0});
    CHECK_THROWS_AS(make_ref_pic_lists(header, make_sps(), 20, frames, kMissing), InvalidBitstreamError);
  }
}

TEST_CASE("H.264 marking") {
  Dpb dpb;
  const Sps sps = make_sps();
  Frames frames;
  for (int i = 0; i < 4; ++i) {
    frames.push_back(make_frame(14 + i - (i > 1 ? 16 : 0), 2 * i));  // frame_num 14, 15, 0, 1
    dpb.add(frames.back());
  }
  SliceHeader header = make_header(SliceType::kP, 2, 1);
  Frame current;
  current.frame_num = 2;
  dpb.number(2, sps);
  const auto references = [&] {
    std::vector<int> result;
    for (const auto& f : frames) result.push_back(f->is_reference());
    return result;
  };
  using Flags = std::vector<int>;
  CHECK(frames[0]->frame_num_wrap == -2);
  SUBCASE("the sliding window drops the oldest") {
    dpb.mark(header, sps, current);
    CHECK(references() == Flags{0, 1, 1, 1});
    CHECK(current.both(Marking::kShortTerm));
  }
  header.adaptive_marking = true;
  SUBCASE("without an operation there is no room") {
    CHECK_THROWS_AS(dpb.mark(header, sps, current), InvalidBitstreamError);
  }
  SUBCASE("1: a short-term picture") {
    header.marking = {{1, 2}};  // PicNum 2 - 3 = -1
    dpb.mark(header, sps, current);
    CHECK(references() == Flags{1, 0, 1, 1});
  }
  SUBCASE("3, then 2: a long-term picture") {
    header.marking = {{3, 1, 0, 2}};  // PicNum 0 becomes LongTermFrameIdx 2
    CHECK_THROWS_AS(dpb.mark(header, sps, current), InvalidBitstreamError);
    CHECK(frames[2]->both(Marking::kLongTerm));
    header.marking = {{2, 0, 2}};
    dpb.mark(header, sps, current);
    CHECK(references() == Flags{1, 1, 0, 1});
  }
  SUBCASE("3: an index is given to another picture") {
    header.marking = {{3, 1, 0, 2}, {3, 0, 0, 2}};
    dpb.mark(header, sps, current);
    CHECK(references() == Flags{1, 1, 0, 1});
    CHECK(frames[3]->both(Marking::kLongTerm));
  }
  SUBCASE("4: the highest indices go") {
    header.marking = {{3, 1, 0, 2}, {4, 0, 0, 2}};
    dpb.mark(header, sps, current);
    CHECK(references() == Flags{1, 1, 0, 1});
  }
  SUBCASE("5: all") {
    header.marking = {{5}};
    dpb.mark(header, sps, current);
    CHECK(references() == Flags{0, 0, 0, 0});
    CHECK(current.both(Marking::kShortTerm));
  }
  SUBCASE("6: the current picture") {
    header.marking = {{1, 0}, {6, 0, 0, 1}};
    dpb.mark(header, sps, current);
    CHECK(references() == Flags{1, 1, 1, 0});
    CHECK(current.both(Marking::kLongTerm));
    CHECK(current.long_term_frame_idx == 1);
  }
  SUBCASE("an index out of range") {
    header.marking = {{6, 0, 0, 4}};
    CHECK_THROWS_AS(dpb.mark(header, sps, current), InvalidBitstreamError);
  }
}

TEST_CASE("H.264 output in the order of counts, as early as the reordering allows") {
  Random random{std::mt19937(3)};
  for (int round = 0; round < 100; ++round) {
    Sps sps = make_sps();
    const int depth = random(0, 4);
    sps.vui.has_bitstream_restriction = true;
    sps.vui.max_num_reorder_frames = depth;
    sps.vui.max_dec_frame_buffering = random(depth, 8);
    // Every picture is preceded by `depth` later ones at most: groups of depth + 1 whose last comes first
    std::vector<int> pocs;
    for (int group = 0; group < 10; ++group) {
      const int base = group * (depth + 1);
      pocs.push_back(base + depth);
      for (int i = 0; i < depth; ++i) pocs.push_back(base + i);
    }
    Dpb dpb;
    std::vector<int> shown;
    const auto take = [&] {
      while (const auto frame = dpb.pop_output()) shown.push_back(frame->output->poc);
    };
    for (std::size_t i = 0; i < pocs.size(); ++i) {
      auto frame = make_frame(0, 0, Marking::kUnused);
      frame->poc = {pocs[i], pocs[i]};
      frame->output = std::make_shared<CodecPicture>();
      frame->output->poc = pocs[i];
      dpb.add(frame);
      dpb.bump(sps);
      take();
      CHECK(static_cast<int>(i) + 1 - static_cast<int>(shown.size()) <= depth);
    }
    dpb.flush();
    take();
    CHECK(shown.size() == pocs.size());
    CHECK(std::is_sorted(shown.begin(), shown.end()));
    CHECK(dpb.frames().empty());
  }
}

TEST_CASE("H.264 order counts") {
  Sps sps = make_sps();
  OrderCounter counter;
  SliceHeader header = make_header(SliceType::kI, 0, 0);
  const auto next = [&] {
    const auto poc = counter.begin(header, sps);
    counter.complete(header, header.resets_order() ? reset_order_counts(poc, header.structure) : poc);
    header.nal.type = NalUnitType::kSlice;
    return poc;
  };
  header.nal.type = NalUnitType::kIdrSlice;
  using Counts = std::array<int, 2>;
  SUBCASE("type 0 follows the lowest bits of reference pictures") {
    header.pic_order_cnt_lsb = 14;  // of 16
    header.delta_pic_order_cnt_bottom = 1;
    CHECK(next() == Counts{-2, -1});
    header.pic_order_cnt_lsb = 4;
    CHECK(next() == Counts{4, 5});
    header.pic_order_cnt_lsb = 11;
    CHECK(next() == Counts{11, 12});
    header.pic_order_cnt_lsb = 2;
    header.nal.ref_idc = 0;
    CHECK(next() == Counts{18, 19});
    header.pic_order_cnt_lsb = 10;
    CHECK(next() == Counts{10, 11});
    header.nal.ref_idc = 1;
    header.marking = {{5}};
    header.delta_pic_order_cnt_bottom = -3;
    CHECK(next() == Counts{10, 7});  // what follows counts from 3, 0
    header.marking.clear();
    header.pic_order_cnt_lsb = 12;
    CHECK(next() == Counts{-4, -7});
  }
  SUBCASE("type 1 follows a cycle of frame_num") {
    sps.pic_order_cnt_type = 1;
    sps.offset_for_ref_frame = {2, 5};
    sps.offset_for_non_ref_pic = -1;
    sps.offset_for_top_to_bottom_field = 1;
    CHECK(next() == Counts{0, 1});
    header.frame_num = 1;
    CHECK(next() == Counts{2, 3});
    header.frame_num = 2;
    CHECK(next() == Counts{7, 8});
    header.frame_num = 3;
    header.nal.ref_idc = 0;
    CHECK(next() == Counts{6, 7});
    header.nal.ref_idc = 1;
    header.delta_pic_order_cnt = {10, 20};
    CHECK(next() == Counts{19, 40});
    header.delta_pic_order_cnt = {};
    header.frame_num = 1;  // after 15: the 17th
    CHECK(next() == Counts{58, 59});
  }
  SUBCASE("type 2 is the order of decoding") {
    sps.pic_order_cnt_type = 2;
    CHECK(next() == Counts{0, 0});
    header.frame_num = 1;
    header.nal.ref_idc = 0;
    CHECK(next() == Counts{1, 1});
    header.nal.ref_idc = 1;
    CHECK(next() == Counts{2, 2});
    header.frame_num = 0;
    CHECK(next() == Counts{32, 32});
  }
  SUBCASE("that do not fit") {
    header.delta_pic_order_cnt_bottom = 0x7FFFFFFF;
    header.pic_order_cnt_lsb = 4;
    CHECK_THROWS_AS(next(), InvalidBitstreamError);
  }
}
