// The derivation of motion, against a slow one that knows a partition at a time and asks for samples.
#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <memory>
#include <optional>
#include <vector>

#include "codec/buffers.h"
#include "common/error.h"
#include "h264/motion.h"
#include "random.h"

using namespace ove;
using namespace ove::h264;

namespace {

constexpr int kWidth = 5, kHeight = 4;  // macroblocks
constexpr int kWidth4 = 4 * kWidth, kHeight4 = 4 * kHeight;

std::shared_ptr<const codec::PictureFormat> make_format() {
  auto format = std::make_shared<codec::PictureFormat>();
  format->width = 16 * kWidth;
  format->height = 16 * kHeight;
  format->log2_unit = 4;
  return format;
}

std::shared_ptr<CodedPicture> make_picture(int poc, std::int64_t decode_index) {
  static codec::BufferPools pools;
  auto picture = std::make_shared<CodedPicture>();
  picture->format = make_format();
  picture->poc = poc;
  picture->field_poc = {poc, poc};
  picture->decode_index = decode_index;
  picture->buffers = pools.pictures->take(*picture->format);
  picture->slices.resize(1);
  for (auto& mv : picture->buffers->mv) mv = {};
  return picture;
}

std::vector<RefEntry> make_list(Random& random, int size) {
  std::vector<RefEntry> list;
  for (int i = 0; i < size; ++i) {
    const int picture = random(0, 4);
    list.push_back({.poc = 10 * picture,
                    .is_long_term = random(0, 9) == 0,
                    .structure = Structure::kFrame,
                    .decode_index = picture});
  }
  return list;
}

// A picture with any motion, as direct prediction finds it.
std::shared_ptr<CodedPicture> make_collocated(Random& random, const RefLists& lists) {
  auto picture = make_picture(30, 3);
  picture->slices[0].ref_list = lists;
  std::ranges::fill(picture->buffers->slice_idx, std::uint16_t{0});
  for (std::size_t i = 0; i < picture->buffers->mv.size(); ++i) {
    for (std::size_t list = 0; list < 2; ++list) {
      const int size = static_cast<int>(lists[list].size());
      const int ref_idx = random(0, 2) == 0 ? -1 : random(0, 1) ? 0 : random(0, size - 1);
      picture->buffers->ref_idx[i][list] = static_cast<std::int8_t>(ref_idx);
      if (ref_idx < 0) continue;
      const int range = random(0, 1) ? 2 : 3000;
      picture->buffers->mv[i][list] = {static_cast<std::int16_t>(random(-range, range)),
                                       static_cast<std::int16_t>(random(-range, range))};
    }
  }
  return picture;
}

struct Slow {
  struct Found {
    bool available = false;
    int ref_idx = -1;
    int x = 0, y = 0;
  };

  CodedPicture& out;  // where neighbours are read from and results go
  const SliceContext& slice;
  bool direct_8x8_inference;
  std::vector<std::array<bool, 2>> done = std::vector<std::array<bool, 2>>(kWidth4 * kHeight4);
  int mb_addr = 0;

  std::size_t block(int x, int y) const {
    return static_cast<std::size_t>(y / 4) * kWidth4 + static_cast<std::size_t>(x / 4);
  }
  std::uint16_t slice_of(int x, int y) const {
    return out.buffers->slice_idx[static_cast<std::size_t>(y / 16 * kWidth + x / 16)];
  }

  // By sample of the picture.
  Found at(int x, int y, std::size_t list) const {
    if (x < 0 || y < 0 || x >= 16 * kWidth) return {};
    const int address = y / 16 * kWidth + x / 16;
    if (address > mb_addr || slice_of(x, y) != slice.slice_idx) return {};
    if (address == mb_addr && !done[block(x, y)][list]) return {};
    Found found;
    found.available = true;
    found.ref_idx = out.buffers->ref_idx[block(x, y)][list];
    if (found.ref_idx < 0) return found;
    found.x = out.buffers->mv[block(x, y)][list].x;
    found.y = out.buffers->mv[block(x, y)][list].y;
    return found;
  }

  std::array<Found, 3> neighbours(int x, int y, int width, std::size_t list) const {
    Found c = at(x + width, y - 1, list);
    if (!c.available) c = at(x - 1, y - 1, list);
    return {at(x - 1, y, list), at(x, y - 1, list), c};
  }

  static Mv median(std::array<Found, 3> n, int ref_idx) {
    if (!n[1].available && !n[2].available && n[0].available) n[1] = n[2] = n[0];
    std::vector<Found> same;
    for (const Found& f : n) {
      if (f.ref_idx == ref_idx) same.push_back(f);
    }
    if (same.size() == 1) return {static_cast<std::int16_t>(same[0].x), static_cast<std::int16_t>(same[0].y)};
    std::array<int, 3> xs{n[0].x, n[1].x, n[2].x}, ys{n[0].y, n[1].y, n[2].y};
    std::ranges::sort(xs);
    std::ranges::sort(ys);
    return {static_cast<std::int16_t>(xs[1]), static_cast<std::int16_t>(ys[1])};
  }

  void put(int x, int y, int width, int height, std::size_t list, int ref_idx, Mv mv) {
    for (int j = y; j < y + height; j += 4) {
      for (int i = x; i < x + width; i += 4) {
        out.buffers->ref_idx[block(i, j)][list] = static_cast<std::int8_t>(ref_idx);
        out.buffers->mv[block(i, j)][list] = ref_idx < 0 ? Mv() : mv;
        done[block(i, j)][list] = true;
      }
    }
  }

  const RefLists& lists() const { return out.slices[slice.slice_idx].ref_list; }

  // One 4x4 block.
  void direct_block(int x, int y, const std::array<int, 2>& refs, const std::array<Mv, 2>& mvs) {
    int col_x = x, col_y = y;
    if (direct_8x8_inference) {
      col_x = x / 16 * 16 + (x % 16 >= 8 ? 12 : 0);
      col_y = y / 16 * 16 + (y % 16 >= 8 ? 12 : 0);
    }
    const CodecPicture& col = *slice.collocated.frame;
    const BlockMotion motion = col.motion_at(col_x / 4, col_y / 4);
    const std::size_t l = motion.ref_idx[0] >= 0 ? 0 : 1;
    const Mv col_mv = motion.ref_idx[l] >= 0 ? motion.mv[l] : Mv();
    if (slice.header.direct_spatial_mv_pred) {
      const bool zero =
          !lists()[1][0].is_long_term && motion.ref_idx[l] == 0 && std::abs(col_mv.x) <= 1 && std::abs(col_mv.y) <= 1;
      for (std::size_t list = 0; list < 2; ++list) {
        const bool both_unused = refs[0] < 0 && refs[1] < 0;
        const bool still = both_unused || (refs[list] == 0 && zero);
        put(x, y, 4, 4, list, both_unused ? 0 : refs[list], still ? Mv() : mvs[list]);
      }
      return;
    }
    int ref_idx = 0;
    if (motion.is_inter()) {
      const auto wanted = col.slices[0].ref_list[l][static_cast<std::size_t>(motion.ref_idx[l])].decode_index;
      while (lists()[0][static_cast<std::size_t>(ref_idx)].decode_index != wanted) ++ref_idx;
    }
    const RefEntry& ref = lists()[0][static_cast<std::size_t>(ref_idx)];
    Mv mv0 = col_mv, mv1;
    const int td = std::clamp(lists()[1][0].poc - ref.poc, -128, 127), tb = std::clamp(out.poc - ref.poc, -128, 127);
    if (!ref.is_long_term && td != 0) {
      const int tx = (16384 + std::abs(td / 2)) / td;
      const int factor = std::clamp((tb * tx + 32) >> 6, -1024, 1023);
      mv0 = {static_cast<std::int16_t>((factor * col_mv.x + 128) >> 8),
             static_cast<std::int16_t>((factor * col_mv.y + 128) >> 8)};
      mv1 = {static_cast<std::int16_t>(mv0.x - col_mv.x), static_cast<std::int16_t>(mv0.y - col_mv.y)};
    }
    put(x, y, 4, 4, 0, ref_idx, mv0);
    put(x, y, 4, 4, 1, 0, mv1);
  }

  void derive(const InterMacroblock& mb, const Mv*& mvd) {
    mb_addr = static_cast<int>(mb.mb_addr);
    const int x0 = mb_addr % kWidth * 16, y0 = mb_addr / kWidth * 16;
    if (mb.type == MbType::kSkip && slice.header.type == SliceType::kP) {
      const auto n = neighbours(x0, y0, 16, 0);
      Mv mv;
      const auto zero = [](const Found& f) { return !f.available || (f.ref_idx == 0 && f.x == 0 && f.y == 0); };
      if (!zero(n[0]) && !zero(n[1])) mv = median(n, 0);
      put(x0, y0, 16, 16, 0, 0, mv);
      put(x0, y0, 16, 16, 1, -1, {});
      return;
    }
    const bool all_direct = mb.type == MbType::kSkip || mb.type == MbType::kDirect;
    std::array<int, 2> refs{-1, -1};
    std::array<Mv, 2> mvs;
    for (std::size_t list = 0; list < 2; ++list) {
      const auto n = neighbours(x0, y0, 16, list);
      for (const Found& f : n) {
        if (f.ref_idx >= 0 && (refs[list] < 0 || f.ref_idx < refs[list])) refs[list] = f.ref_idx;
      }
      mvs[list] = median(n, refs[list]);
    }
    for (std::size_t list = 0; list < 2; ++list) {
      for (int i = 0; i < 16; ++i) done[block(x0 + i % 4 * 4, y0 + i / 4 * 4)][list] = false;
      const auto part = [&](int x, int y, int width, int height, int quadrant) {
        const int ref_idx = mb.ref_idx[list][static_cast<std::size_t>(quadrant)];
        if (ref_idx < 0) return put(x0 + x, y0 + y, width, height, list, -1, {});
        const auto n = neighbours(x0 + x, y0 + y, width, list);
        Mv mv = median(n, ref_idx);
        std::optional<Found> direction;
        if (mb.type == MbType::k16x8) direction = y == 0 ? n[1] : n[0];
        if (mb.type == MbType::k8x16) direction = x == 0 ? n[0] : n[2];
        if (direction && direction->ref_idx == ref_idx)
          mv = {static_cast<std::int16_t>(direction->x), static_cast<std::int16_t>(direction->y)};
        mv.x = static_cast<std::int16_t>(mv.x + mvd->x);
        mv.y = static_cast<std::int16_t>(mv.y + mvd->y);
        ++mvd;
        put(x0 + x, y0 + y, width, height, list, ref_idx, mv);
      };
      if (mb.type == MbType::k16x16) part(0, 0, 16, 16, 0);
      if (mb.type == MbType::k16x8) part(0, 0, 16, 8, 0), part(0, 8, 16, 8, 2);
      if (mb.type == MbType::k8x16) part(0, 0, 8, 16, 0), part(8, 0, 8, 16, 1);
      if (mb.type != MbType::k8x8 && !all_direct) continue;
      for (int q = 0; q < 4; ++q) {
        const int x = q % 2 * 8, y = q / 2 * 8;
        const SubMbType sub = all_direct ? SubMbType::kSubDirect : mb.sub[static_cast<std::size_t>(q)];
        if (sub == SubMbType::kSubDirect) {
          for (int i = 0; i < 4; ++i) direct_block(x0 + x + i % 2 * 4, y0 + y + i / 2 * 4, refs, mvs);
          continue;
        }
        const int width = sub == SubMbType::kSub8x8 || sub == SubMbType::kSub8x4 ? 8 : 4;
        const int height = sub == SubMbType::kSub8x8 || sub == SubMbType::kSub4x8 ? 8 : 4;
        for (int j = 0; j < 8; j += height) {
          for (int i = 0; i < 8; i += width) part(x + i, y + j, width, height, q);
        }
      }
    }
  }
};

// Vectors that are often the same, small or on the verge of an overflow.
Mv any_mvd(Random& random) {
  const auto component = [&] {
    return static_cast<std::int16_t>(random.one_of({0, 0, 0, 1, -1, 5, -40, 32767, -32768}));
  };
  return {component(), component()};
}

void add_macroblock(Random& random, SliceType type, std::uint32_t address, const RefLists& lists, SliceMotion& motion) {
  const bool b = type == SliceType::kB;
  InterMacroblock mb{.mb_addr = address, .type = MbType::kSkip, .ref_idx = {}};
  mb.ref_idx = {{{-1, -1, -1, -1}, {-1, -1, -1, -1}}};
  mb.type = random.one_of({MbType::k16x16, MbType::k16x8, MbType::k8x16, MbType::k8x8, MbType::k8x8, MbType::kSkip,
                           b ? MbType::kDirect : MbType::kSkip});
  const auto choose = [&](std::initializer_list<std::size_t> quadrants) {
    const int used = b ? random(1, 3) : 1;
    for (std::size_t list = 0; list < 2; ++list) {
      if (!(used >> list & 1)) continue;
      const auto ref_idx = static_cast<std::int8_t>(random(0, static_cast<int>(lists[list].size()) - 1));
      for (const std::size_t q : quadrants) mb.ref_idx[list][q] = ref_idx;
    }
  };
  std::array<int, 4> parts{1, 1, 1, 1};
  if (mb.type == MbType::k16x16) {
    choose({0, 1, 2, 3});
    parts = {1, 0, 0, 0};
  } else if (mb.type == MbType::k16x8) {
    choose({0, 1});
    choose({2, 3});
    parts = {1, 0, 1, 0};
  } else if (mb.type == MbType::k8x16) {
    choose({0, 2});
    choose({1, 3});
    parts = {1, 1, 0, 0};
  } else if (mb.type == MbType::k8x8) {
    for (std::size_t q = 0; q < 4; ++q) {
      mb.sub[q] = static_cast<SubMbType>(random(0, b ? 4 : 3));
      parts[q] = num_sub_mb_parts(mb.sub[q]);
      if (mb.sub[q] != SubMbType::kSubDirect) choose({q});
    }
  }
  for (std::size_t list = 0; list < 2; ++list) {
    for (std::size_t q = 0; q < 4; ++q) {
      for (int i = 0; i < parts[q] && mb.ref_idx[list][q] >= 0; ++i) motion.mvd.push_back(any_mvd(random));
    }
  }
  motion.macroblocks.push_back(mb);
}

ActiveSets make_sets(bool direct_8x8_inference) {
  auto sps = std::make_shared<Sps>();
  sps->direct_8x8_inference = direct_8x8_inference;
  ActiveSets sets;
  sets.sps = sps;
  return sets;
}

void compare_pictures(unsigned seed) {
  Random random{std::mt19937(seed)};
  const bool inference = random(0, 1);
  const ActiveSets sets = make_sets(inference);
  const auto fast = make_picture(25, 7), slow = make_picture(25, 7);
  const int slices = random(1, 4);
  fast->slices.resize(static_cast<std::size_t>(slices));
  std::vector<SliceContext> contexts(static_cast<std::size_t>(slices));
  std::vector<SliceMotion> motions(static_cast<std::size_t>(slices));
  std::vector<int> begins{0, kWidth * kHeight};
  for (int i = 1; i < slices; ++i) begins.push_back(random(0, kWidth * kHeight));
  std::ranges::sort(begins);
  for (std::size_t s = 0; s < contexts.size(); ++s) {
    SliceContext& context = contexts[s];
    context.slice_idx = static_cast<std::uint16_t>(s);
    context.header.type = random(0, 2) ? SliceType::kB : SliceType::kP;
    context.header.direct_spatial_mv_pred = random(0, 1);
    Slice& slice = fast->slices[s];
    slice.ref_list[0] = make_list(random, random(1, 4));
    if (context.header.type == SliceType::kB) {
      slice.ref_list[1] = make_list(random, random(1, 3));
      // What the collocated picture refers to is in list 0, as temporal direct prediction asks.
      context.collocated.frame = make_collocated(random, {slice.ref_list[0], slice.ref_list[0]});
    }
    for (int address = begins[s]; address < begins[s + 1]; ++address) {
      fast->buffers->slice_idx[static_cast<std::size_t>(address)] = context.slice_idx;
      if (random(0, 7) == 0) continue;  // intra
      add_macroblock(random, context.header.type, static_cast<std::uint32_t>(address), slice.ref_list, motions[s]);
    }
  }
  slow->slices = fast->slices;
  std::ranges::copy(fast->buffers->slice_idx, slow->buffers->slice_idx.begin());
  MotionDerivation derivation(sets, *fast);
  for (std::size_t s = 0; s < contexts.size(); ++s) {
    derivation.derive(contexts[s], motions[s]);
    Slow twin{*slow, contexts[s], inference};
    const Mv* mvd = motions[s].mvd.data();
    for (const InterMacroblock& mb : motions[s].macroblocks) twin.derive(mb, mvd);
    REQUIRE(mvd == motions[s].mvd.data() + motions[s].mvd.size());
  }
  CHECK(std::ranges::equal(fast->buffers->ref_idx, slow->buffers->ref_idx));
  CHECK(std::ranges::equal(fast->buffers->mv, slow->buffers->mv));
}

}  // namespace

TEST_CASE("motion of H.264 frames is that of the standard, step by step") {
  for (unsigned seed = 0; seed < 400; ++seed) {
    CAPTURE(seed);
    compare_pictures(seed);
  }
}

TEST_CASE("an index that points at no picture is an error, unless decoding began in the middle") {
  const ActiveSets sets = make_sets(true);
  const auto picture = make_picture(25, 7);
  std::ranges::fill(picture->buffers->slice_idx, std::uint16_t{0});
  SliceContext context;
  context.header.type = SliceType::kP;
  SliceMotion motion;
  motion.macroblocks.push_back({.mb_addr = 0, .type = MbType::kSkip, .ref_idx = {}});
  MotionDerivation derivation(sets, *picture);
  picture->slices[0].ref_list[0] = {};
  CHECK_THROWS_AS(derivation.derive(context, motion), InvalidBitstreamError);
  picture->slices[0].ref_list[0] = {RefEntry{.decode_index = -1}};
  CHECK_THROWS_AS(derivation.derive(context, motion), InvalidBitstreamError);
  context.may_miss_references = true;
  CHECK_NOTHROW(derivation.derive(context, motion));
  CHECK(picture->buffers->ref_idx[0][0] == 0);
}
