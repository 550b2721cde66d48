// Memory for large arrays that begin as zeros, on huge pages where the system has them: the small pages of a picture
// are thousands, and to map them all can take as long as to decode it.
#pragma once

#include <cstddef>
#include <memory>
#include <mutex>

namespace ove {

// Cuts pieces from larger mappings. May be used from several threads at a time.
class Slabs {
 public:
  static constexpr std::size_t kAlignment = 64;  // a cache line

  // `size` bytes of zeros, so aligned, which live as long as what is returned. Pages that nobody touches
  // cost nothing. Throws std::bad_alloc.
  std::shared_ptr<std::byte> take(std::size_t size);

 private:
  std::mutex mutex_;
  std::shared_ptr<std::byte> slab_;  // that pieces are cut from at the moment
  std::size_t size_ = 0, used_ = 0;
};

}  // namespace ove
