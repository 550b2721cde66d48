#include "hevc/task_queue.h"

#include <algorithm>
#include <limits>

namespace ove::hevc {

namespace {

// Small pictures between two large ones: their motion often waits for that of a large one, and they are decoded while
// the caller is busy with an earlier one.
constexpr std::size_t kMaxGop = 4;

}  // namespace

TaskQueue::TaskQueue(int threads)
    : max_waiting_(static_cast<std::size_t>(threads) + kMaxGop),
      max_parsed_(max_waiting_),
      failed_index_(std::numeric_limits<std::int64_t>::max()) {
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
  if (threads_.empty() || !task.has_work()) return parse(std::move(task), lock);
  changed_.wait(lock, [&] { return waiting_.size() < max_waiting_; });
  waiting_.push_back(std::move(task));
  lock.unlock();
  changed_.notify_all();
}

bool TaskQueue::hungry(std::int64_t decode_index) {
  std::unique_lock lock(mutex_);
  const auto settled = [&] { return first_unfinished_ > decode_index || failed_index_ <= decode_index; };
  changed_.wait(lock, [&] { return settled() || waiting_.size() < max_waiting_; });
  return !settled();
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
  std::unique_lock lock(mutex_);
  for (;;) {
    // Motion first: later pictures may wait for it. The first unfinished picture is never behind too many parsed ones,
    // because all of those wait for it or for one that does.
    auto parsed = parsed_.end();
    const auto may_parse = [&] { return !waiting_.empty() && parsed_.size() < max_parsed_; };
    changed_.wait(lock, [&] {
      parsed = std::find_if(parsed_.begin(), parsed_.end(), [&](const PictureTask& task) { return ready(task); });
      return stopping_ || parsed != parsed_.end() || may_parse();
    });
    if (stopping_) return;
    if (parsed != parsed_.end()) {
      PictureTask task = std::move(*parsed);
      parsed_.erase(parsed);
      derive_motion(std::move(task), lock);
    } else {
      PictureTask task = std::move(waiting_.front());
      waiting_.pop_front();
      parse(std::move(task), lock);
    }
  }
}

bool TaskQueue::ready(const PictureTask& task) const {
  const std::vector<std::int64_t>& collocated = task.picture()->collocated;
  return std::all_of(collocated.begin(), collocated.end(), [&](std::int64_t index) { return finished(index); });
}

void TaskQueue::parse(PictureTask task, std::unique_lock<std::mutex>& lock) {
  lock.unlock();
  changed_.notify_all();
  std::exception_ptr error;
  try {
    if (task.has_work()) task.parse();
  } catch (...) {
    error = std::current_exception();
  }
  lock.lock();
  if (error || !task.has_work()) {
    finish(task.picture()->decode_index, error);
  } else if (ready(task)) {
    derive_motion(std::move(task), lock);
  } else {
    parsed_.push_back(std::move(task));
  }
}

void TaskQueue::derive_motion(PictureTask task, std::unique_lock<std::mutex>& lock) {
  const std::int64_t index = task.picture()->decode_index;
  std::exception_ptr error;
  if (failed_index_ > index) {
    lock.unlock();
    changed_.notify_all();
    try {
      task.derive_motion();
    } catch (...) {
      error = std::current_exception();
    }
    lock.lock();
  }
  finish(index, error);
}

void TaskQueue::finish(std::int64_t decode_index, std::exception_ptr error) {
  finished_[static_cast<std::size_t>(decode_index - first_unfinished_)] = true;
  if (error && decode_index < failed_index_) {
    failed_index_ = decode_index;
    failure_ = error;
  }
  while (!finished_.empty() && finished_.front()) {
    finished_.pop_front();
    ++first_unfinished_;
  }
  changed_.notify_all();
}

}  // namespace ove::hevc
