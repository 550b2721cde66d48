// What of an index is decoded, on random groups of pictures: against what the pixel decoder is told to take.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <functional>
#include <memory>
#include <set>
#include <vector>

#include "random.h"
#include "reader/anchors.h"
#include "reader/reading_plan.h"
#include "reader/video_index.h"

namespace ove::reader {
namespace {

// Groups of pictures, one a packet; the first pictures of a group may refer into the one before, unless it resets.
VideoIndex random_index(Random& random) {
  VideoIndex index;
  index.codec = "hevc";
  const auto sets = std::make_shared<const codec::ParameterSets>();
  const auto format = std::make_shared<const codec::PictureFormat>();
  const std::int64_t count = 1 + random(0, 59);
  std::int64_t begin = 0, before = 0, leading = 0;  // of the group at work; first picture of the one before
  for (std::int64_t i = 0; i < count; ++i) {
    codec::KnownPicture picture;
    picture.packet = picture.decode_index = i;
    picture.parameter_sets = sets;
    picture.format = format;
    picture.random_access = i == 0 || random(0, 7) == 0;
    picture.dropping = static_cast<codec::Dropping>(random(0, 2));
    if (picture.random_access) {
      before = begin;
      begin = i;
      picture.resets_order = i == 0 || random(0, 1) == 0;
      picture.starts_anew = picture.resets_order && random(0, 3) == 0;
      leading = picture.resets_order ? 0 : i + random(0, 3);
      picture.dropping = codec::Dropping::kNever;
      index.random_access.push_back({.index = i, .position = 10 * i, .size = 10});
    } else {
      const std::int64_t first = i <= leading ? before : begin;
      for (int n = random(0, 2); n > 0; --n) {
        const std::int64_t other = first + random(0, static_cast<int>(i - first) - 1);
        picture.references.push_back(other);
        // What others refer to is free only in streams with temporal layers.
        if (random(0, 3) > 0) index.decoded[static_cast<std::size_t>(other)].dropping = codec::Dropping::kNever;
      }
    }
    index.decoded.push_back(picture);
    index.packet_bytes.push_back(10);
    index.pictures.push_back(
        {.packet = i, .packet_bytes = 10, .decode_index = i, .pts = 0.04 * static_cast<double>(i)});
  }
  return index;
}

}  // namespace

TEST_CASE("what is decoded is what the pixel decoder takes") {
  Random random{std::mt19937(5)};
  for (int round = 0; round < 3000; ++round) {
    const VideoIndex index = random_index(random);
    std::set<std::int64_t> chosen;
    for (int n = 1 + random(0, 4); n > 0; --n) chosen.insert(random(0, static_cast<int>(index.pictures.size()) - 1));
    const std::vector<std::int64_t> ids(chosen.begin(), chosen.end());
    const std::vector<bool> closure = index.closure(index.flags(ids), VideoIndex::Edges::kDecoding);
    std::set<std::int64_t> decoded, taken;
    for (std::size_t i = 0; i < closure.size(); ++i) {
      if (closure[i]) decoded.insert(static_cast<std::int64_t>(i));
    }
    media::StreamInfo stream;
    stream.codec = "hevc";
    const media::PixelDecoder::Options plan = pixel_plan(index, ids, stream);
    for (const auto& section : plan.sections) {
      for (std::int64_t i = section.begin.index; i < section.end; ++i) taken.insert(i);
    }
    for (const std::int64_t i : plan.dropped) taken.erase(i);
    CHECK(taken == decoded);
    // What cannot be left out stays before each picture that is needed, in its group.
    const std::vector<bool> needed = index.closure(index.flags(ids), VideoIndex::Edges::kReferences);
    for (std::int64_t i = 0; i < std::ssize(needed); ++i) {
      if (!needed[static_cast<std::size_t>(i)]) continue;
      CHECK(decoded.count(i));
      for (std::int64_t k = i; k >= 0; --k) {
        const codec::KnownPicture& earlier = index.decoded[static_cast<std::size_t>(k)];
        if (earlier.dropping != codec::Dropping::kFree) CHECK(decoded.count(k));
        if (earlier.random_access) break;
      }
    }
  }
}

TEST_CASE("samples that move decode no more, and what one adds is what the closure says") {
  Random random{std::mt19937(6)};
  for (int round = 0; round < 2000; ++round) {
    const VideoIndex index = random_index(random);
    const std::int64_t count = std::ssize(index.pictures);
    AnchorRequest request;
    std::set<std::int64_t> asked;
    for (std::int64_t i = 0; i < count; ++i) request.shown.push_back(i);
    for (int n = 1 + random(0, 5); n > 0; --n) asked.insert(random(0, static_cast<int>(count) - 1));
    request.asked.assign(asked.begin(), asked.end());
    if (random(0, 1) == 0) request.tolerance = 0.04 * random(0, 29) + 0.001;
    const auto cost = [&](const std::vector<std::int64_t>& ids) {
      const auto closure = index.closure(index.flags(ids), VideoIndex::Edges::kDecoding);
      return std::count(closure.begin(), closure.end(), true);
    };
    const std::vector<std::int64_t> taken = anchors(index, request).value();
    REQUIRE(taken.size() == request.asked.size());
    CHECK(std::adjacent_find(taken.begin(), taken.end(), std::greater_equal<>()) == taken.end());
    CHECK(cost(taken) <= cost(request.asked));
    if (request.asked.size() == 1 && request.tolerance) {  // one alone takes the cheapest of its window
      std::int64_t least = cost(taken);
      for (std::int64_t i = 0; i < count; ++i) {
        const double away = std::abs(index.pictures[static_cast<std::size_t>(i)].pts -
                                     index.pictures[static_cast<std::size_t>(request.asked[0])].pts);
        if (away <= *request.tolerance) least = std::min<std::int64_t>(least, cost({i}));
      }
      CHECK(cost(taken) == least);
    }
  }
}

}  // namespace ove::reader
