// Bytes of a file that is slow to read, kept for those who read them again.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <list>
#include <span>
#include <unordered_map>
#include <utility>
#include <vector>

namespace ove::media {

// Blocks of kBlock bytes, the last one shorter, by their number; those used last stay. Not for several threads at a
// time.
class KeptBytes {
 public:
  static constexpr std::int64_t kBlock = 1 << 16;

  explicit KeptBytes(std::int64_t most_bytes) : most_blocks_(static_cast<std::size_t>(most_bytes / kBlock)) {}

  // Copies bytes from this offset on, at most up to the end of their block, and returns how many; 0 where none are
  // kept.
  std::size_t copy(std::int64_t offset, std::span<std::uint8_t> out) {
    const auto found = by_number_.find(offset / kBlock);
    if (found == by_number_.end()) return 0;
    blocks_.splice(blocks_.begin(), blocks_, found->second);
    const std::vector<std::uint8_t>& bytes = found->second->second;
    const std::size_t begin = std::min(bytes.size(), static_cast<std::size_t>(offset % kBlock));
    const std::size_t n = std::min(out.size(), bytes.size() - begin);
    std::copy_n(bytes.begin() + static_cast<std::ptrdiff_t>(begin), n, out.begin());
    return n;
  }

  // A block that is not kept yet.
  void keep(std::int64_t number, std::vector<std::uint8_t> bytes) {
    blocks_.emplace_front(number, std::move(bytes));
    by_number_[number] = blocks_.begin();
    while (blocks_.size() > std::max<std::size_t>(most_blocks_, 1)) {
      by_number_.erase(blocks_.back().first);
      blocks_.pop_back();
    }
  }

 private:
  std::size_t most_blocks_;
  std::list<std::pair<std::int64_t, std::vector<std::uint8_t>>> blocks_;  // used last first
  std::unordered_map<std::int64_t, decltype(blocks_)::iterator> by_number_;
};

}  // namespace ove::media
