#include "common/slabs.h"

#include <algorithm>
#include <cstdlib>
#include <new>

#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace ove {

namespace {

constexpr std::size_t kPage = 4096;
constexpr std::size_t kSlab = std::size_t{8} << 20;
// Below it a huge page would mostly stay empty.
constexpr std::size_t kLeastPiece = std::size_t{64} << 10;

std::size_t round_up(std::size_t n, std::size_t unit) { return (n + unit - 1) / unit * unit; }

std::shared_ptr<std::byte> from_heap(std::size_t size) {
  auto* memory = static_cast<std::byte*>(std::calloc(size + Slabs::kAlignment, 1));
  if (!memory) throw std::bad_alloc();
  const std::shared_ptr<std::byte> owner(memory, [](std::byte* p) { std::free(p); });
  void* aligned = memory;
  std::size_t space = size + Slabs::kAlignment;
  return {owner, static_cast<std::byte*>(std::align(Slabs::kAlignment, size, aligned, space))};
}

// AddressSanitizer finds what is written past a piece only on the heap.
#if defined(MADV_HUGEPAGE) && !defined(__SANITIZE_ADDRESS__)
constexpr bool kMaps = true;
constexpr std::size_t kHugePage = std::size_t{2} << 20;

// A mapping that begins on a boundary of huge pages.
std::shared_ptr<std::byte> map(std::size_t size) {
  const std::size_t reserved = size + kHugePage;
  if (reserved < size) throw std::bad_alloc();
  void* const memory = mmap(nullptr, reserved, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) throw std::bad_alloc();
  auto* const begin = static_cast<std::byte*>(memory);
  const std::size_t before = (kHugePage - reinterpret_cast<std::size_t>(begin) % kHugePage) % kHugePage;
  if (before > 0) munmap(begin, before);
  if (before < kHugePage) munmap(begin + before + size, kHugePage - before);
  madvise(begin + before, size, MADV_HUGEPAGE);  // where it is refused, small pages do
  return {begin + before, [size](std::byte* p) { munmap(p, size); }};
}
#else
constexpr bool kMaps = false;
std::shared_ptr<std::byte> map(std::size_t) { throw std::bad_alloc(); }
#endif

}  // namespace

std::shared_ptr<std::byte> Slabs::take(std::size_t size) {
  if (!kMaps || size < kLeastPiece) return from_heap(size);
  const std::size_t piece = round_up(size, Slabs::kAlignment);
  const std::lock_guard lock(mutex_);
  if (size_ - used_ < piece) {
    const std::size_t wanted = std::max(kSlab, round_up(piece, kPage));
    slab_ = map(wanted);
    size_ = wanted;
    used_ = 0;
  }
  std::byte* const begin = slab_.get() + used_;
  used_ += piece;
  return {slab_, begin};
}

}  // namespace ove
