#include <doctest/doctest.h>

#include <memory>
#include <vector>

#include "hevc/dpb.h"

using namespace ove;
using namespace ove::hevc;

namespace {

struct Sequence {
  std::shared_ptr<Sps> sps = std::make_shared<Sps>();
  Dpb dpb;
  std::vector<int> output;
  ReferencePictureSet rps;

  Sequence(int reorder, int buffering) {
    sps->max_num_reorder_pics = reorder;
    sps->max_dec_pic_buffering = buffering;
    sps->log2_max_poc_lsb = 4;
  }

  void picture(int poc, SliceHeader header = {}, bool idr = false, bool cra = false, bool shown = true) {
    rps = dpb.begin_picture(header, *sps, poc, idr || cra, cra);
    auto p = std::make_shared<CodecPicture>();
    p->poc = poc;
    dpb.add(p, *sps, shown);
    drain();
  }
  void flush() {
    dpb.flush();
    drain();
  }
  void drain() {
    while (const auto p = dpb.pop_output()) output.push_back(p->poc);
  }
};

SliceHeader short_term(std::vector<ShortTermRefPicSet::Entry> negative,
                       std::vector<ShortTermRefPicSet::Entry> positive = {}) {
  SliceHeader h;
  h.short_term_rps = {std::move(negative), std::move(positive)};
  return h;
}

}  // namespace

TEST_CASE("pictures come out in order of POC once the reorder depth is passed") {
  Sequence s(2, 5);
  s.picture(0, {}, true);
  s.picture(8, short_term({{-8, true}}));
  CHECK(s.output.empty());
  s.picture(4, short_term({{-4, true}}, {{4, true}}));
  CHECK(s.output == std::vector{0});
  s.picture(2, short_term({{-2, true}}, {{2, true}, {6, true}}));
  CHECK(s.output == std::vector{0, 2});
  s.flush();
  CHECK(s.output == std::vector{0, 2, 4, 8});
}

TEST_CASE("a picture that others overtake too often forces output") {
  for (const int latency : {0, 1}) {
    Sequence s(2, 6);
    s.sps->max_latency_increase_plus1 = latency;  // 1: SpsMaxLatencyPictures is 2
    s.picture(0, {}, true);
    s.picture(8, short_term({{-8, true}}));
    s.picture(1, short_term({{-1, true}}, {{7, true}}));
    CHECK(s.output == std::vector{0});
    s.picture(2, short_term({{-1, true}, {-2, true}}, {{6, true}}));
    CHECK(s.output == (latency ? std::vector{0, 1, 2, 8} : std::vector{0, 1}));
  }
}

TEST_CASE("an IDR picture releases or drops what waits") {
  for (const bool drop : {false, true}) {
    Sequence s(2, 5);
    s.picture(0, {}, true);
    s.picture(4, short_term({{-4, true}}));
    SliceHeader header;
    header.no_output_of_prior_pics = drop;
    s.picture(0, header, true);
    s.flush();
    CHECK(s.output == (drop ? std::vector{0} : std::vector{0, 4, 0}));
  }
}

TEST_CASE("a CRA picture that starts a later sequence drops what waits") {
  Sequence s(2, 5);
  s.picture(0, {}, false, true);
  s.picture(4, short_term({{-4, true}}));
  s.picture(16, {}, false, true);
  s.flush();
  CHECK(s.output == std::vector{16});
}

TEST_CASE("pictures that are not for output stay references") {
  Sequence s(0, 3);
  s.picture(0, {}, true);
  s.picture(1, short_term({{-1, true}}), false, false, false);
  s.picture(2, short_term({{-1, true}, {-2, true}}));
  REQUIRE(s.rps.st_curr_before.size() == 2);
  CHECK(s.rps.st_curr_before[0].picture->poc == 1);
  s.flush();
  CHECK(s.output == std::vector{0, 2});
}

TEST_CASE("long-term pictures are found by their low bits or by the whole count") {
  Sequence s(0, 5);
  s.picture(0, {}, true);
  s.picture(1, short_term({{-1, true}}));
  SliceHeader by_lsb = short_term({{-1, true}});
  by_lsb.long_term_rps = {{.poc = 0, .has_msb = false, .used = true}};
  s.picture(2, by_lsb);
  REQUIRE(s.rps.lt_curr.size() == 1);
  CHECK(s.rps.lt_curr[0].picture->poc == 0);
  CHECK(s.rps.lt_curr[0].is_long_term);
  SliceHeader by_poc = short_term({{-1, true}});
  by_poc.long_term_rps = {{.poc = -3, .has_msb = true, .used = true}};  // relative to POC 3
  s.picture(3, by_poc);
  REQUIRE(s.rps.lt_curr.size() == 1);
  CHECK(s.rps.lt_curr[0].picture->poc == 0);
  // Once long-term, a picture cannot come back as a short-term one.
  s.picture(4, short_term({{-1, true}, {-4, true}}));
  CHECK(s.rps.st_curr_before[1].picture == nullptr);
}

TEST_CASE("reference lists repeat, are modified, and must not need what is missing") {
  Sequence s(0, 5);
  s.picture(0, {}, true);
  s.picture(2, short_term({{-2, true}}));
  SliceHeader h = short_term({{-1, true}}, {});
  h.short_term_rps.negative.push_back({-3, true});
  h.type = SliceType::kB;
  h.num_ref_idx_active = {3, 1};
  s.picture(3, h);
  codec::RefLists lists = make_ref_pic_lists(h, s.rps);
  CHECK(lists[0][0].poc == 2);
  CHECK(lists[0][1].poc == 0);
  CHECK(lists[0][2].poc == 2);
  CHECK(lists[1][0].poc == 2);
  h.list_modification = {true, false};
  h.list_entry[0] = {1, 1, 0};
  lists = make_ref_pic_lists(h, s.rps);
  CHECK(lists[0][0].poc == 0);
  CHECK(lists[0][2].poc == 2);

  SliceHeader lost = short_term({{-1, true}, {-3, true}});
  lost.type = SliceType::kP;
  lost.num_ref_idx_active = {1, 0};
  s.picture(4, lost);
  CHECK_NOTHROW(make_ref_pic_lists(lost, s.rps));  // POC 1 is not there, but no block can refer to it either
  lost.num_ref_idx_active = {2, 0};
  CHECK_THROWS_AS(make_ref_pic_lists(lost, s.rps), InvalidBitstreamError);
  SliceHeader other = short_term({{-1, true}});
  other.num_ref_idx_active = {1, 0};
  CHECK_THROWS_AS(make_ref_pic_lists(other, s.rps), InvalidBitstreamError);
}
