#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <stdexcept>
#include <thread>
#include <vector>

#include "hevc/task_queue.h"

using namespace ove;
using namespace ove::hevc;

namespace {

PictureTask make_task(std::int64_t decode_index, Detail detail, std::vector<std::uint8_t> slice_data) {
  auto sps = std::make_shared<Sps>();
  sps->width = sps->height = 16;
  sps->log2_min_cb = sps->log2_ctb = 4;
  auto picture = std::make_shared<CodecPicture>();
  picture->sps = sps;
  picture->decode_index = decode_index;
  picture->detail = detail;
  if (decode_index > 0) picture->collocated.push_back(decode_index - 1);
  auto pps = std::make_shared<Pps>();
  auto tiles = std::make_shared<TileLayout>(make_tile_layout(*sps, *pps));
  PictureTask result(picture, pps, tiles, BufferPools());
  Slice slice;
  slice.type = SliceType::kP;
  slice.ref_list[0] = {{.poc = 0, .is_long_term = false}};
  picture->slices.push_back(slice);
  SliceSegment segment;
  segment.header.type = SliceType::kP;
  segment.header.max_num_merge_cand = 1;
  segment.rbsp = std::move(slice_data);
  segment.position = 100 + decode_index;
  result.add(std::move(segment), nullptr);
  return result;
}

// Parsing it fails, unless only its headers are wanted.
PictureTask task(std::int64_t decode_index, bool fails) {
  return make_task(decode_index, fails ? Detail::kMotion : Detail::kHeaders, {0x80});
}

// Of one skipped coding block.
PictureTask decodable_task(std::int64_t decode_index) {
  static const std::vector<std::uint8_t> data = [] {
    for (int bits = 0; bits < 1 << 16; ++bits) {
      std::vector<std::uint8_t> tried = {static_cast<std::uint8_t>(bits >> 8), static_cast<std::uint8_t>(bits), 0x80};
      try {
        PictureTask attempt = make_task(0, Detail::kMotion, tried);
        attempt.parse();
        if (attempt.picture()->buffers->cu_skip[0]) return tried;
      } catch (const InvalidBitstreamError&) {
      }
    }
    throw std::logic_error("nothing can be decoded");
  }();
  return make_task(decode_index, Detail::kMotion, data);
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

TEST_CASE("pictures that are processed on any number of threads count as finished when they are") {
  for (const int threads : {1, 2, 5}) {
    std::array<std::atomic<int>, 60> calls{};
    TaskQueue queue(threads, [&](CodecPicture& picture) {
      std::this_thread::sleep_for(std::chrono::microseconds(picture.decode_index % 3 * 50));
      if (picture.decode_index == 40) throw std::runtime_error("processing fails");
      ++calls[static_cast<std::size_t>(picture.decode_index)];
    });
    for (std::int64_t i = 0; i < 60; ++i) queue.submit(decodable_task(i));
    for (std::int64_t i = 0; i < 40; ++i) {
      CHECK(queue.wait(i));
      CHECK(calls[static_cast<std::size_t>(i)] == 1);
    }
    CHECK_FALSE(queue.wait(40));
    CHECK_THROWS_AS(std::rethrow_exception(queue.failure()), std::runtime_error);
    CHECK(calls[40] == 0);
  }
}

TEST_CASE("a queue wants a bounded number of tasks, however slowly their pictures are taken") {
  for (const int threads : {2, 5}) {
    TaskQueue queue(threads);
    std::int64_t submitted = 0, ahead = 0;
    for (std::int64_t taken = 0; taken < 100; ++taken) {
      while (submitted <= taken || queue.hungry(taken)) queue.submit(decodable_task(submitted++));
      CHECK(queue.wait(taken));
      ahead = std::max(ahead, submitted - taken);
      std::this_thread::sleep_for(std::chrono::microseconds(200));
    }
    CHECK(ahead <= 2 * (threads + 4) + 1);
    CHECK(ahead >= threads);
  }
}

TEST_CASE("a queue may go while tasks wait") {
  for (int round = 0; round < 20; ++round) {
    TaskQueue queue(3);
    for (std::int64_t i = 0; i < 4; ++i) queue.submit(task(i, true));
  }
}
