// Runs picture tasks on threads: parsing in any order, motion after that of the collocated pictures.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <exception>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include "hevc/picture_task.h"

namespace ove::hevc {

class TaskQueue {
 public:
  // With one thread, tasks run inside submit().
  explicit TaskQueue(int threads);
  // Tasks that have not begun are dropped.
  ~TaskQueue();

  // Tasks come in decoding order and are numbered by decode_index, without gaps. Waits while too many are under way.
  void submit(PictureTask task);

  // Whether wait() would wait although there is room for more tasks.
  bool hungry(std::int64_t decode_index);

  // Waits for the picture and every one before it in decoding order. False if one of them failed.
  bool wait(std::int64_t decode_index);

  // After wait() returned false: why the first picture failed.
  std::exception_ptr failure();

 private:
  void work();
  void run(PictureTask& task);
  bool finished(std::int64_t decode_index) const {
    return decode_index < first_unfinished_ || (decode_index - first_unfinished_ < std::ssize(finished_) &&
                                                finished_[static_cast<std::size_t>(decode_index - first_unfinished_)]);
  }
  void finish(std::int64_t decode_index, std::exception_ptr error);

  const std::size_t max_waiting_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<PictureTask> waiting_;
  std::deque<bool> finished_;  // of the pictures from first_unfinished_ on
  std::int64_t first_unfinished_ = 0;
  std::int64_t failed_index_;  // the lowest
  std::exception_ptr failure_;
  bool stopping_ = false;
  std::vector<std::jthread> threads_;
};

}  // namespace ove::hevc
