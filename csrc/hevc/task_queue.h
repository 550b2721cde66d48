// Runs picture tasks on threads: parsing in any order, motion after that of the collocated pictures. While a picture
// waits for those, later ones are parsed.
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
  // With one thread, tasks run inside submit(), where those before them are finished.
  explicit TaskQueue(int threads);
  // Tasks that have not begun are dropped.
  ~TaskQueue();

  // Tasks come in decoding order and are numbered by decode_index, without gaps. Waits while too many are under way.
  void submit(PictureTask task);

  // Waits for the picture and every one before it, or for room for more tasks. True if wait() would still wait.
  bool hungry(std::int64_t decode_index);

  // Waits for the picture and every one before it in decoding order. False if one of them failed.
  bool wait(std::int64_t decode_index);

  // After wait() returned false: why the first picture failed.
  std::exception_ptr failure();

 private:
  void work();
  // Each with the lock held, which they release while they work; derive_motion() only of a task that is ready().
  void parse(PictureTask task, std::unique_lock<std::mutex>& lock);
  void derive_motion(PictureTask task, std::unique_lock<std::mutex>& lock);
  bool ready(const PictureTask& task) const;
  void finish(std::int64_t decode_index, std::exception_ptr error);
  bool finished(std::int64_t decode_index) const {
    return decode_index < first_unfinished_ || (decode_index - first_unfinished_ < std::ssize(finished_) &&
                                                finished_[static_cast<std::size_t>(decode_index - first_unfinished_)]);
  }

  const std::size_t max_waiting_, max_parsed_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<PictureTask> waiting_;
  std::vector<PictureTask> parsed_;  // wait for collocated pictures, all of which left waiting_ before them
  std::deque<bool> finished_;        // of the pictures from first_unfinished_ on
  std::int64_t first_unfinished_ = 0;
  std::int64_t failed_index_;  // the lowest
  std::exception_ptr failure_;
  bool stopping_ = false;
  std::vector<std::jthread> threads_;
};

}  // namespace ove::hevc
