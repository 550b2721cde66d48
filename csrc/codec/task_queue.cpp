#include "codec/task_queue.h"

#include <algorithm>
#include <limits>

namespace ove::codec {

namespace {

// Small pictures between two large ones: their motion often waits for that of a large one, and they are decoded while
// the caller is busy with an earlier one.
constexpr int kMaxGop = 4;

}  // namespace

TaskQueue::TaskQueue(int threads, Process process)
    : process_(std::move(process)),
      max_parsed_(static_cast<std::size_t>(threads + kMaxGop)),
      max_under_way_(2 * (threads + kMaxGop)),
      failed_index_(std::numeric_limits<std::int64_t>::max()) {
  for (int i = 1; i < threads; ++i) threads_.emplace_back([this] { work(); });
}

TaskQueue::~TaskQueue() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  work_.notify_all();
}

void TaskQueue::submit(std::unique_ptr<PictureTask> task) {
  Lock lock(mutex_);
  progress_.push_back(Progress::kOpen);
  if (threads_.empty() || !task->has_work()) return parse(std::move(task), lock);
  waiting_.push_back(std::move(task));
  wake();
  work_until(lock, [&] { return std::ssize(progress_) <= max_under_way_; });
}

bool TaskQueue::hungry(std::int64_t decode_index) {
  Lock lock(mutex_);
  const auto wants_more = [&] {
    const std::int64_t next = first_unfinished_ + std::ssize(progress_);
    return next - decode_index < max_under_way_ && failed_index_ > decode_index;
  };
  if (threads_.empty()) return !settled(decode_index);
  work_until(lock, [&] { return wants_more() || settled(decode_index); });
  return wants_more();
}

bool TaskQueue::wait(std::int64_t decode_index) {
  Lock lock(mutex_);
  work_until(lock, [&] { return settled(decode_index); });
  return failed_index_ > decode_index;
}

std::exception_ptr TaskQueue::failure() {
  // An earlier picture may still be at work, and fail too.
  Lock lock(mutex_);
  work_until(lock, [&] { return first_unfinished_ > failed_index_; });
  return failure_;
}

void TaskQueue::work() {
  Lock lock(mutex_);
  while (!stopping_) {
    if (work_once(lock)) continue;
    ++idle_;
    work_.wait(lock);
    --idle_;
  }
}

template <class Done>
void TaskQueue::work_until(Lock& lock, Done done) {
  while (!done()) {
    if (work_once(lock)) continue;
    caller_waits_ = true;
    changed_.wait(lock);
    caller_waits_ = false;
  }
}

bool TaskQueue::work_once(Lock& lock) {
  // Motion first: later pictures may wait for it. The first unfinished picture is never behind too many parsed ones,
  // because all of those wait for it or for one that does.
  const auto parsed = std::find_if(parsed_.begin(), parsed_.end(), [&](const auto& task) { return ready(*task); });
  if (parsed != parsed_.end()) {
    std::unique_ptr<PictureTask> task = std::move(*parsed);
    parsed_.erase(parsed);
    derive_motion(std::move(task), lock);
  } else if (may_parse()) {
    std::unique_ptr<PictureTask> task = std::move(waiting_.front());
    waiting_.pop_front();
    parse(std::move(task), lock);
  } else {
    return false;
  }
  return true;
}

bool TaskQueue::has_motion(std::int64_t decode_index) const {
  if (decode_index < first_unfinished_) return true;
  const auto i = static_cast<std::size_t>(decode_index - first_unfinished_);
  return i < progress_.size() && progress_[i] != Progress::kOpen;
}

bool TaskQueue::ready(const PictureTask& task) const {
  const std::vector<std::int64_t>& others = task.waits_for();
  return std::all_of(others.begin(), others.end(), [&](std::int64_t index) { return has_motion(index); });
}

void TaskQueue::parse(std::unique_ptr<PictureTask> task, Lock& lock) {
  lock.unlock();
  std::exception_ptr error;
  try {
    if (task->has_work()) task->parse();
  } catch (...) {
    error = std::current_exception();
  }
  lock.lock();
  if (error || !task->has_work()) {
    finish(task->picture()->decode_index, error);
  } else if (ready(*task)) {
    derive_motion(std::move(task), lock);
  } else {
    parsed_.push_back(std::move(task));
  }
}

void TaskQueue::derive_motion(std::unique_ptr<PictureTask> task, Lock& lock) {
  const std::int64_t index = task->picture()->decode_index;
  std::exception_ptr error;
  const auto attempt = [&](auto step) {
    if (error || failed_index_ <= index) return;
    lock.unlock();
    try {
      step();
    } catch (...) {
      error = std::current_exception();
    }
    lock.lock();
  };
  attempt([&] { task->derive_motion(); });
  if (process_ && !error) {
    progress(index) = Progress::kMotion;
    wake();
    attempt([&] {
      if (const std::shared_ptr<CodecPicture> shown = task->shown()) process_(*shown);
    });
  }
  finish(index, error);
}

void TaskQueue::finish(std::int64_t decode_index, std::exception_ptr error) {
  progress(decode_index) = Progress::kFinished;
  if (error && decode_index < failed_index_) {
    failed_index_ = decode_index;
    failure_ = error;
  }
  while (!progress_.empty() && progress_.front() == Progress::kFinished) {
    progress_.pop_front();
    ++first_unfinished_;
  }
  wake();
}

void TaskQueue::wake() {
  if (caller_waits_) changed_.notify_one();
  if (idle_ == 0) return;
  auto tasks = std::count_if(parsed_.begin(), parsed_.end(), [&](const auto& task) { return ready(*task); });
  if (parsed_.size() < max_parsed_) tasks += std::ssize(waiting_);
  for (auto i = std::min<std::ptrdiff_t>(tasks, idle_); i > 0; --i) work_.notify_one();
}

}  // namespace ove::codec
