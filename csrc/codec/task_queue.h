// Runs picture tasks on threads: parsing in any order, motion after that of the collocated pictures. While a picture
// waits for those, later ones are parsed. The thread that submits tasks works too, instead of waiting.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "codec/picture_task.h"

namespace ove::codec {

class TaskQueue {
 public:
  // Called with every shown picture that has arrays, by the thread that decoded it, before the picture counts as
  // finished. What it throws is the picture's failure.
  using Process = std::function<void(CodecPicture&)>;

  // `threads` with the caller's. With one, tasks run inside submit(), where those before them are finished.
  explicit TaskQueue(int threads, Process process = {});
  // Tasks that have not begun are dropped.
  ~TaskQueue();

  // Tasks come in decoding order and are numbered by decode_index, without gaps. Works while too many are under way.
  void submit(std::unique_ptr<PictureTask> task);

  // Works until more tasks are wanted (true), or this picture and every one before it is finished (false). The caller
  // has yet to take the picture: later ones that are finished count as under way.
  bool hungry(std::int64_t decode_index);

  // Works until the picture and every one before it in decoding order are finished. False if one of them failed.
  bool wait(std::int64_t decode_index);

  // After wait() returned false: why the first picture failed.
  std::exception_ptr failure();

 private:
  enum class Progress : std::uint8_t { kOpen, kMotion, kFinished };  // kMotion: later pictures can be derived from it
  using Lock = std::unique_lock<std::mutex>;

  void work();
  // Works, and waits where there is nothing to do, until done().
  template <class Done>
  void work_until(Lock& lock, Done done);
  // Each with the lock held, which they release while they work; derive_motion() only of a task that is ready().
  bool work_once(Lock& lock);
  void parse(std::unique_ptr<PictureTask> task, Lock& lock);
  void derive_motion(std::unique_ptr<PictureTask> task, Lock& lock);

  bool settled(std::int64_t index) const { return first_unfinished_ > index || failed_index_ <= index; }
  bool may_parse() const { return !waiting_.empty() && parsed_.size() < max_parsed_; }
  bool ready(const PictureTask& task) const;
  bool has_motion(std::int64_t decode_index) const;
  Progress& progress(std::int64_t decode_index) {
    return progress_[static_cast<std::size_t>(decode_index - first_unfinished_)];
  }
  void finish(std::int64_t decode_index, std::exception_ptr error);
  // Wakes a thread for each task that can begin, and the caller where it waits for something that has happened.
  void wake();

  const Process process_;
  const std::size_t max_parsed_;
  const std::int64_t max_under_way_;  // what waits is small: there are as many as the others can get to meanwhile
  std::mutex mutex_;
  std::condition_variable work_, changed_;  // changed_: for the caller
  int idle_ = 0;                            // threads that wait for work_
  bool caller_waits_ = false;
  std::deque<std::unique_ptr<PictureTask>> waiting_;
  std::vector<std::unique_ptr<PictureTask>>
      parsed_;                     // wait for collocated pictures, all of which left waiting_ before them
  std::deque<Progress> progress_;  // of the pictures from first_unfinished_ on
  std::int64_t first_unfinished_ = 0;
  std::int64_t failed_index_;  // the lowest
  std::exception_ptr failure_;
  bool stopping_ = false;
  std::vector<std::jthread> threads_;
};

}  // namespace ove::codec
