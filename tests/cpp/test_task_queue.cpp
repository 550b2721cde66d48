#include <doctest/doctest.h>

#include <memory>

#include "hevc/task_queue.h"

using namespace ove;
using namespace ove::hevc;

namespace {

// A picture without slices: parsing it fails, unless only its headers are wanted.
PictureTask task(std::int64_t decode_index, bool fails) {
  auto sps = std::make_shared<Sps>();
  sps->width = sps->height = 64;
  auto picture = std::make_shared<CodecPicture>();
  picture->sps = sps;
  picture->decode_index = decode_index;
  picture->detail = fails ? Detail::kMotion : Detail::kHeaders;
  if (decode_index > 0) picture->collocated.push_back(decode_index - 1);
  auto pps = std::make_shared<Pps>();
  auto tiles = std::make_shared<TileLayout>(make_tile_layout(*sps, *pps));
  PictureTask result(picture, pps, tiles, BufferPools());
  SliceSegment segment;
  segment.rbsp = {0x80};
  segment.position = 100 + decode_index;
  picture->slices.emplace_back();
  result.add(std::move(segment), nullptr);
  return result;
}

}  // namespace

TEST_CASE("the first failure in decoding order counts, with any number of threads") {
  for (const int threads : {1, 2, 5}) {
    for (int round = 0; round < 20; ++round) {
      TaskQueue queue(threads);
      for (std::int64_t i = 0; i < 12; ++i) queue.submit(task(i, i >= 4));
      CHECK(queue.wait(3));
      CHECK_FALSE(queue.wait(4));
      CHECK_FALSE(queue.wait(11));
      CHECK(queue.wait(3));
      try {
        std::rethrow_exception(queue.failure());
        FAIL("no exception");
      } catch (const InvalidBitstreamError& error) {
        CHECK(error.position() == 104);
      }
    }
  }
}

TEST_CASE("a queue may go while tasks wait") {
  for (int round = 0; round < 20; ++round) {
    TaskQueue queue(3);
    for (std::int64_t i = 0; i < 4; ++i) queue.submit(task(i, true));
  }
}
