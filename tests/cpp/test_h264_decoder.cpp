// The H.264 decoder on streams of a few macroblocks: fields, frames for display, order, damage, plans.
#include <doctest/doctest.h>

#include <algorithm>
#include <cstdint>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "bit_writer.h"
#include "common/error.h"
#include "h264/decoder.h"

using namespace ove;
using namespace ove::h264;
using test::BitWriter;

namespace {

using Picture = std::shared_ptr<const CodecPicture>;
constexpr std::uint32_t kP = 5, kI = 7;

// With start code and emulation prevention
codec::Bytes nal_unit(int ref_idc, int type, const codec::Bytes& rbsp) {
  codec::Bytes bytes{0, 0, 1, static_cast<std::uint8_t>(ref_idc << 5 | type)};
  int zeros = 0;
  for (const std::uint8_t b : rbsp) {
    if (zeros >= 2 && b <= 3) {
      bytes.push_back(3);
      zeros = 0;
    }
    bytes.push_back(b);
    zeros = b == 0 ? zeros + 1 : 0;
  }
  return bytes;
}

// 16 x 32, CAVLC, monochrome; frame_num and order counts of 4 bits
codec::Bytes parameter_sets(bool fields, int id = 0) {
  BitWriter sps;
  sps.u(8, 100).u(8, 0).u(8, 10).ue(static_cast<std::uint32_t>(id)).ue(0).ue(0).ue(0).u(2, 0);
  sps.ue(0).ue(0).ue(0).ue(2).u(1, 0).ue(0).ue(fields ? 0 : 1).u(1, !fields);
  if (fields) sps.u(1, 0);
  sps.u(1, 1).u(1, 0).u(1, 0);
  BitWriter pps;
  pps.ue(0).ue(static_cast<std::uint32_t>(id)).u(2, 0).ue(0).ue(0).ue(0).u(3, 0).se(0).se(0).se(0).u(3, 0);
  codec::Bytes bytes = nal_unit(3, 7, sps.finish());
  const codec::Bytes second = nal_unit(3, 8, pps.finish());
  bytes.insert(bytes.end(), second.begin(), second.end());
  return bytes;
}

struct Coded {
  std::uint32_t slice_type = kI, frame_num = 0, lsb = 0;
  int ref_idc = 1;
  bool idr = false;
  int field = -1;  // of a stream with fields: 0 top, 1 bottom, 2 frame
  std::uint32_t first_mb = 0;
};

// A slice of I_PCM macroblocks, or of skipped ones with one vector that is coded
codec::Bytes slice(const Coded& c, int macroblocks) {
  BitWriter w;
  w.ue(c.first_mb).ue(c.slice_type).ue(0).u(4, c.frame_num);
  if (c.field >= 0) {
    w.u(1, c.field < 2);
    if (c.field < 2) w.u(1, static_cast<std::uint32_t>(c.field));
  }
  if (c.idr) w.ue(0);
  w.u(4, c.lsb);
  if (c.slice_type == kP) w.u(1, 0).u(1, 0);
  if (c.ref_idc != 0) w.u(c.idr ? 2 : 1, 0);
  w.se(0);
  for (int i = 0; i < macroblocks; ++i) {
    if (c.slice_type == kP) {
      // P_L0_16x16 with a difference of (4, 6), nothing coded
      w.ue(0).ue(0).se(4).se(6).ue(0);
      continue;
    }
    w.ue(25);
    while (w.size() % 8 != 0) w.u(1, 0);
    for (int sample = 0; sample < 256; ++sample) w.u(8, 100);
  }
  return nal_unit(c.ref_idc, c.idr ? 5 : 1, w.finish());
}

struct Result {
  std::vector<Picture> pictures;
  std::string error;  // its kind
};

Result decode(const std::vector<codec::Bytes>& packets, codec::DecoderOptions options = {}) {
  Result result;
  SyntaxDecoder decoder(std::move(options));
  try {
    const auto take = [&] {
      while (auto picture = decoder.pop()) result.pictures.push_back(std::move(picture));
    };
    codec::AccessUnitTag tag;
    for (const codec::Bytes& packet : packets) {
      ++tag.packet;
      decoder.decode(packet, tag, 0);
      take();
    }
    decoder.flush();
    take();
  } catch (const InvalidBitstreamError&) {
    result.error = "invalid";
  } catch (const UnsupportedStreamError&) {
    result.error = "unsupported";
  }
  return result;
}

std::vector<int> pocs(const Result& result) {
  std::vector<int> counts;
  for (const Picture& p : result.pictures) counts.push_back(p->poc);
  return counts;
}

codec::DecoderOptions coded_order(bool as_coded) {
  codec::DecoderOptions options;
  options.order = codec::Order::kDecoding;
  options.as_coded = as_coded;
  return options;
}

const codec::Bytes kIdr = slice({.idr = true}, 2);

}  // namespace

TEST_CASE("H.264 frames, in the order of display and of decoding") {
  const std::vector<codec::Bytes> packets{parameter_sets(false), kIdr,
                                          slice({.slice_type = kP, .frame_num = 1, .lsb = 6}, 2),
                                          slice({.slice_type = kP, .frame_num = 2, .lsb = 2, .ref_idc = 0}, 2),
                                          slice({.slice_type = kP, .frame_num = 2, .lsb = 8}, 2)};
  const Result shown = decode(packets);
  CHECK(shown.error.empty());
  CHECK(pocs(shown) == std::vector{0, 2, 6, 8});
  const Picture& p = shown.pictures[1];
  CHECK(p->width() == 16);
  CHECK(p->height() == 32);
  CHECK(p->dropping == codec::Dropping::kFree);
  CHECK(p->references == std::vector<std::int64_t>{1});
  // The second macroblock predicts from the first.
  CHECK(p->motion_at(0, 0) == BlockMotion{{Mv{4, 6}, Mv{}}, {0, -1}});
  CHECK(p->motion_at(3, 7) == BlockMotion{{Mv{8, 12}, Mv{}}, {0, -1}});
  CHECK(p->slices[0].ref_list[0][0].poc == 6);
  CHECK(shown.pictures[0]->random_access);
  CHECK(shown.pictures[0]->resets_order);
  CHECK(pocs(decode(packets, coded_order(false))) == std::vector{0, 6, 2, 8});
}

TEST_CASE("H.264 fields and the frames that they make") {
  const std::vector<codec::Bytes> packets{parameter_sets(true), slice({.idr = true, .field = 0}, 1),
                                          slice({.slice_type = kP, .lsb = 1, .field = 1}, 1),
                                          slice({.slice_type = kP, .frame_num = 1, .lsb = 4, .field = 1}, 1),
                                          slice({.slice_type = kP, .frame_num = 2, .lsb = 6, .field = 2}, 2)};
  const Result coded = decode(packets, coded_order(true));
  CHECK(coded.error.empty());
  CHECK(pocs(coded) == std::vector{0, 1, 4, 6});
  CHECK(coded.pictures[1]->structure == Structure::kBottomField);
  CHECK(coded.pictures[1]->height() == 16);
  CHECK(coded.pictures[1]->slices[0].ref_list[0][0].structure == Structure::kTopField);
  CHECK(coded.pictures[1]->references == std::vector<std::int64_t>{0});
  CHECK(coded.pictures[3]->references == std::vector<std::int64_t>{0, 1});

  for (const auto form : {ResidualForm::kPlane, ResidualForm::kPacked}) {
    codec::DecoderOptions options;
    options.detail = [=](const codec::AccessUnitTag&) { return codec::Detail{codec::Amount::kResidual, form}; };
    const Result shown = decode(packets, options);
    CHECK(shown.error.empty());
    REQUIRE(pocs(shown) == std::vector{0, 4, 6});
    const Picture& frame = shown.pictures[0];
    CHECK(frame->structure == Structure::kFieldPair);
    CHECK(frame->num_coded == 2);
    CHECK(frame->height() == 32);
    CHECK(frame->field_poc == std::array{0, 1});
    CHECK(frame->slices.size() == 2);
    CHECK(frame->references.empty());
    CHECK(frame->residual->form == form);
    for (int y4 = 0; y4 < 8; ++y4) {
      CHECK(frame->field_at(0, y4) == 1 + y4 % 2);
      CHECK(frame->motion_at(2, y4) == (y4 % 2 ? BlockMotion{{Mv{4, 12}, Mv{}}, {0, -1}} : BlockMotion()));
      CHECK(&frame->slice_at(0, y4) == &frame->slices[static_cast<std::size_t>(y4 % 2)]);
    }
    CHECK(frame->buffers->bits[0] + frame->buffers->bits[1] == frame->slices[0].data_bits + frame->slices[1].data_bits);
    // A field that is alone
    const Picture& alone = shown.pictures[1];
    CHECK(alone->num_coded == 1);
    CHECK(alone->motion_at(0, 0) == BlockMotion());
    CHECK(alone->motion_at(0, 1).is_inter());
    CHECK(shown.pictures[2]->structure == Structure::kFrame);
  }
}

TEST_CASE("H.264 streams that end in an error") {
  const auto with = [](std::vector<codec::Bytes> more) {
    more.insert(more.begin(), {parameter_sets(false), kIdr});
    return decode(more);
  };
  const auto fails = [](const Result& result, const char* error, std::size_t before) {
    CHECK(result.error == error);
    CHECK(result.pictures.size() == before);
  };
  SUBCASE("a gap in frame_num") { fails(with({slice({.slice_type = kP, .frame_num = 2, .lsb = 4}, 2)}), "invalid", 1); }
  SUBCASE("a slice is missing") { fails(with({slice({.slice_type = kP, .frame_num = 1, .lsb = 4}, 1)}), "invalid", 1); }
  SUBCASE("slices in another order") {
    fails(with({slice({.slice_type = kP, .frame_num = 1, .lsb = 4, .first_mb = 1}, 1),
                slice({.slice_type = kP, .frame_num = 1, .lsb = 4}, 1)}),
          "unsupported", 1);
  }
  SUBCASE("a header is cut short") { fails(with({{0, 0, 1, 0x21, 0x9A}}), "invalid", 1); }
  SUBCASE("data partitioning") { fails(with({{0, 0, 1, 0x22, 0x9A}}), "unsupported", 0); }
  SUBCASE("another picture parameter set") {
    fails(with({nal_unit(1, 1, BitWriter().ue(0).ue(kP).ue(9).finish())}), "invalid", 1);
  }
}

TEST_CASE("H.264 starts without an IDR picture") {
  const codec::Bytes p = slice({.slice_type = kP, .frame_num = 3, .lsb = 2}, 2),
                     i = slice({.frame_num = 4, .lsb = 6}, 2),
                     leading = slice({.slice_type = kP, .frame_num = 5, .lsb = 4}, 2);
  const codec::Bytes recovery = nal_unit(0, 6, {6, 1, 0xC4, 0x80});
  // Only what can be decoded, and what is shown before the start, comes out.
  const Result result = decode({parameter_sets(false), p, recovery, i, leading}, coded_order(true));
  CHECK(result.error.empty());
  REQUIRE(pocs(result) == std::vector{6, 4});
  CHECK(result.pictures[0]->random_access);
  CHECK_FALSE(result.pictures[0]->resets_order);
  CHECK(decode({parameter_sets(false), p, p}).pictures.empty());
  // Another stream that goes on there
  const Result joined = decode({parameter_sets(false), kIdr, recovery, i, leading});
  CHECK(joined.error.empty());
  CHECK(pocs(joined) == std::vector{0, 4, 6});
  CHECK(joined.pictures[2]->starts_anew);
}

TEST_CASE("H.264 pictures of a plan") {
  const std::vector<codec::Bytes> packets{parameter_sets(true),
                                          slice({.idr = true, .field = 0}, 1),
                                          slice({.slice_type = kP, .lsb = 1, .field = 1}, 1),
                                          slice({.slice_type = kP, .frame_num = 1, .lsb = 4, .field = 0}, 1),
                                          slice({.slice_type = kP, .frame_num = 1, .lsb = 5, .field = 1}, 1),
                                          slice({.slice_type = kP, .frame_num = 2, .lsb = 8, .field = 2}, 2)};
  std::vector<codec::KnownPicture> all;
  codec::DecoderOptions index = coded_order(false);
  index.detail = [](const codec::AccessUnitTag&) { return codec::Detail{codec::Amount::kHeaders}; };
  index.observe = [&](const CodecPicture& p) {
    codec::KnownPicture& known = all.emplace_back();
    static_cast<codec::PictureHeaders&>(known) = p;
    known.packet = p.tag.packet;
    for (const Slice& s : p.slices) known.ref_lists.push_back(s.ref_list);
  };
  CHECK(decode(packets, index).pictures.size() == 3);
  REQUIRE(all.size() == 5);
  const Result whole = decode(packets, coded_order(false));
  codec::DecoderOptions plan = coded_order(false);
  plan.wanted = [&](const codec::AccessUnitTag& tag) -> std::optional<codec::WantedPicture> {
    const auto known = std::find_if(all.begin(), all.end(), [&](const auto& k) { return k.packet == tag.packet; });
    if (known == all.end() || known->decode_index < 2) return std::nullopt;
    return codec::WantedPicture{&*known, all, codec::Detail(), -1};
  };
  const Result wanted = decode(packets, plan);
  CHECK(wanted.error.empty());
  REQUIRE(wanted.pictures.size() == 2);
  for (std::size_t i = 0; i < 2; ++i) {
    const CodecPicture &a = *whole.pictures[i + 1], &b = *wanted.pictures[i];
    CHECK(a.poc == b.poc);
    CHECK(a.num_coded == b.num_coded);
    CHECK(std::equal(a.buffers->mv.begin(), a.buffers->mv.end(), b.buffers->mv.begin()));
    std::vector<std::int32_t> x(a.buffers->mv.size() * 2), y(x.size());
    a.copy_ref_poc(x.data());
    b.copy_ref_poc(y.data());
    CHECK(x == y);
  }
}

TEST_CASE("whatever is thrown ends the decoder, and comes again") {
  const auto frame = [](std::uint32_t n) { return slice({.slice_type = kP, .frame_num = n, .lsb = 2 * n}, 2); };
  enum class Where { kHeader, kSliceData, kCallback, kProcess };
  for (const Where where : {Where::kHeader, Where::kSliceData, Where::kCallback, Where::kProcess}) {
    for (const int threads : {1, 3}) {
      CAPTURE(static_cast<int>(where));
      CAPTURE(threads);
      codec::DecoderOptions options;
      options.threads = threads;
      if (where == Where::kCallback) {
        options.detail = [](const codec::AccessUnitTag& tag) {
          if (tag.packet == 3) throw std::logic_error("of the caller");
          return codec::Detail();
        };
      }
      if (where == Where::kProcess) {
        options.process = [](CodecPicture& picture) {
          if (picture.tag.packet == 3) throw std::logic_error("of the caller");
        };
      }
      SyntaxDecoder decoder(options);
      std::size_t given = 0;
      std::string error;
      const auto take = [&] {
        try {
          while (decoder.pop()) ++given;
        } catch (const std::exception& e) {
          error = e.what();
        }
      };
      codec::Bytes broken = frame(2);
      broken[3] |= 0x80;  // forbidden_zero_bit
      const codec::Bytes third = where == Where::kHeader      ? broken
                                 : where == Where::kSliceData ? slice({.slice_type = kP, .frame_num = 2, .lsb = 4}, 1)
                                                              : frame(2);
      codec::AccessUnitTag tag{.packet = -1};
      for (const codec::Bytes& packet : {parameter_sets(false), kIdr, frame(1), third, frame(3), frame(4)}) {
        ++tag.packet;
        decoder.decode(packet, tag, 0);
        take();
      }
      decoder.flush();
      take();
      CHECK(given == 2);
      REQUIRE(!error.empty());
      for (int again = 0; again < 3; ++again) {
        const std::string before = std::exchange(error, "");
        decoder.decode(kIdr, tag, 0);
        decoder.flush();
        take();
        CHECK(error == before);
      }
      CHECK(given == 2);
    }
  }
}

TEST_CASE("what an early x264 coded is told with the parameter sets") {
  for (const auto& [build, early] : {std::pair("142", true), std::pair("164", false)}) {
    const std::string text = std::string("\xDC\x45\xE9\xBD\xE6\xD9\x48\xB7\x96\x2C\xD8\x20\xD9\x23\xEE\xEF") +
                             "x264 - core " + build + " r2 - options";
    codec::Bytes message{5, static_cast<std::uint8_t>(text.size())};
    message.insert(message.end(), text.begin(), text.end());
    message.push_back(0x80);
    codec::Bytes first = parameter_sets(false);
    for (const codec::Bytes& unit : {nal_unit(0, 6, message), kIdr})
      first.insert(first.end(), unit.begin(), unit.end());
    SyntaxDecoder decoder(codec::DecoderOptions{});
    decoder.decode(first, {.packet = 0}, 0);
    decoder.decode(slice({.slice_type = kP, .frame_num = 1, .lsb = 2}, 2), {.packet = 1}, 0);
    decoder.flush();
    int pictures = 0;
    for (; const Picture picture = decoder.pop(); ++pictures) {
      const auto& units = picture->parameter_sets->units;
      const auto sei = std::find_if(units.begin(), units.end(), [](const auto& u) { return u.nal_unit->front() == 6; });
      REQUIRE((sei != units.end()) == early);
      if (early) {
        const codec::Bytes& told = *sei->nal_unit;
        CHECK(std::string(told.begin() + 3, told.end() - 1) == text.substr(0, 16 + 12 + 3));
      }
    }
    CHECK(pictures == 2);
  }
}

TEST_CASE("a packet of many pictures is decoded piece by piece") {
  constexpr std::uint32_t kPictures = 15;
  for (const int threads : {1, 3}) {
    codec::Bytes packet = kIdr;
    for (std::uint32_t n = 1; n < kPictures; ++n) {
      const codec::Bytes next = slice({.slice_type = kP, .frame_num = n, .lsb = n}, 2);
      packet.insert(packet.end(), next.begin(), next.end());
    }
    std::size_t seen = 0, given = 0, most = 0;
    codec::DecoderOptions options = coded_order(false);
    options.threads = threads;
    options.observe = [&](const CodecPicture&) { ++seen; };
    SyntaxDecoder decoder(options);
    decoder.decode(parameter_sets(false), {}, 0);
    decoder.decode(packet, {}, 0);
    packet.assign(packet.size(), 0xFF);  // the decoder's own copy counts
    for (; decoder.pop(); ++given) most = std::max(most, seen - given);
    decoder.flush();
    for (; decoder.pop(); ++given) most = std::max(most, seen - given);
    CHECK(given == kPictures);
    if (threads == 1) CHECK(most <= 4);
  }
}
