#include "hevc/task_queue.h"

#include <limits>

namespace ove::hevc {

TaskQueue::TaskQueue(int threads)
    : max_waiting_(static_cast<std::size_t>(threads)), failed_index_(std::numeric_limits<std::int64_t>::max()) {
  for (int i = 0; threads > 1 && i < threads; ++i) threads_.emplace_back([this] { work(); });
}

TaskQueue::~TaskQueue() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
}

void TaskQueue::submit(PictureTask task) {
  std::unique_lock lock(mutex_);
  finished_.push_back(false);
  if (threads_.empty() || !task.has_work()) {
    lock.unlock();
    run(task);
    return;
  }
  changed_.wait(lock, [&] { return waiting_.size() < max_waiting_; });
  waiting_.push_back(std::move(task));
  lock.unlock();
  changed_.notify_all();
}

bool TaskQueue::hungry(std::int64_t decode_index) {
  const std::lock_guard lock(mutex_);
  return first_unfinished_ <= decode_index && failed_index_ > decode_index && waiting_.size() < max_waiting_;
}

bool TaskQueue::wait(std::int64_t decode_index) {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return first_unfinished_ > decode_index || failed_index_ <= decode_index; });
  return failed_index_ > decode_index;
}

std::exception_ptr TaskQueue::failure() {
  // An earlier picture may still be at work, and fail too.
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return first_unfinished_ > failed_index_; });
  return failure_;
}

void TaskQueue::work() {
  for (;;) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return stopping_ || !waiting_.empty(); });
    if (stopping_) return;
    PictureTask task = std::move(waiting_.front());
    waiting_.pop_front();
    lock.unlock();
    changed_.notify_all();
    run(task);
  }
}

void TaskQueue::run(PictureTask& task) {
  const std::int64_t index = task.picture()->decode_index;
  std::exception_ptr error;
  if (task.has_work()) {
    try {
      task.parse();
      std::unique_lock lock(mutex_);
      // Earlier pictures were taken from the queue before this one, so what is waited for is under way.
      changed_.wait(lock, [&] {
        for (const std::int64_t collocated : task.picture()->collocated) {
          if (!finished(collocated)) return stopping_;
        }
        return true;
      });
      const bool void_result = failed_index_ < index || stopping_;
      lock.unlock();
      if (!void_result) task.derive_motion();
    } catch (...) {
      error = std::current_exception();
    }
  }
  finish(index, error);
}

void TaskQueue::finish(std::int64_t decode_index, std::exception_ptr error) {
  {
    const std::lock_guard lock(mutex_);
    finished_[static_cast<std::size_t>(decode_index - first_unfinished_)] = true;
    if (error && decode_index < failed_index_) {
      failed_index_ = decode_index;
      failure_ = error;
    }
    while (!finished_.empty() && finished_.front()) {
      finished_.pop_front();
      ++first_unfinished_;
    }
  }
  changed_.notify_all();
}

}  // namespace ove::hevc
