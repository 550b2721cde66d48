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

#include "codec/task_queue.h"
#include "common/error.h"

using namespace ove;
using namespace ove::codec;

namespace {

// Each is derived from the picture before it.
class Task final : public PictureTask {
 public:
  Task(std::int64_t decode_index, bool fails, Amount amount)
      : PictureTask(make_picture(decode_index, amount)), fails_(fails) {}

  void parse() override {
    if (fails_) throw InvalidBitstreamError("it fails", 100 + picture()->decode_index);
    parsed_ = true;
  }
  void derive_motion() override {
    if (!parsed_) throw std::logic_error("motion is derived before slice data is parsed");
  }

 private:
  static std::shared_ptr<CodecPicture> make_picture(std::int64_t decode_index, Amount amount) {
    auto picture = std::make_shared<CodecPicture>();
    picture->decode_index = decode_index;
    picture->detail.amount = amount;
    if (decode_index > 0) picture->collocated.push_back(decode_index - 1);
    return picture;
  }

  const bool fails_;
  bool parsed_ = false;
};

// Parsing it fails, unless only its headers are wanted.
std::unique_ptr<PictureTask> task(std::int64_t decode_index, bool fails) {
  return std::make_unique<Task>(decode_index, true, fails ? Amount::kMotion : Amount::kHeaders);
}

std::unique_ptr<PictureTask> decodable_task(std::int64_t decode_index) {
  return std::make_unique<Task>(decode_index, false, Amount::kMotion);
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
