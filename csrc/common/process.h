// Threads, and locks that they hold, do not come along where a process forks.
#pragma once

#include <unistd.h>

namespace ove {

// Remembers in which process it was made.
class HomeProcess {
 public:
  bool is_here() const { return getpid() == pid_; }

 private:
  pid_t pid_ = getpid();
};

}  // namespace ove
