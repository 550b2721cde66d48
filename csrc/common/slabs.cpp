#include "common/slabs.h"

#include <algorithm>
#include <cstdlib>
#include <new>

#if defined(__linux__)
#include <sys/mman.h>
#endif

// AddressSanitizer finds what is written past a piece only on the heap.
#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define OVE_CHECKS_ADDRESSES 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__)
#define OVE_CHECKS_ADDRESSES 1
#endif

namespace ove {

namespace {

constexpr std::size_t kHugePage = std::size_t{2} << 20;
constexpr std::size_t kSlab = 4 * kHugePage;
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

#if defined(MADV_HUGEPAGE) && !defined(OVE_CHECKS_ADDRESSES)
constexpr bool kMaps = true;

// A mapping that begins on a boundary of huge pages; null where there is no memory.
std::byte* map(std::size_t size) {
  const std::size_t reserved = size + kHugePage;
  if (reserved < size) return nullptr;
  void* const memory = mmap(nullptr, reserved, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return nullptr;
  auto* const begin = static_cast<std::byte*>(memory);
  const std::size_t before = (kHugePage - reinterpret_cast<std::size_t>(begin) % kHugePage) % kHugePage;
  if (before > 0) munmap(begin, before);
  if (before < kHugePage) munmap(begin + before + size, kHugePage - before);
  madvise(begin + before, size, MADV_HUGEPAGE);  // where it is refused, small pages do
  return begin + before;
}

void unmap(std::byte* memory, std::size_t size) { munmap(memory, size); }
#else
constexpr bool kMaps = false;
std::byte* map(std::size_t) { return nullptr; }
void unmap(std::byte*, std::size_t) {}
#endif

}  // namespace

std::shared_ptr<std::byte> Slabs::take(std::size_t size) {
  if (!kMaps || size < kLeastPiece) return from_heap(size);
  const std::size_t piece = round_up(size, kAlignment);
  const std::lock_guard lock(mutex_);
  if (size_ - used_ < piece) {
    const std::size_t wanted = std::max(kSlab, round_up(piece, kHugePage));
    std::byte* const memory = map(wanted);
    if (!memory) throw std::bad_alloc();
    slab_.reset(memory, [wanted](std::byte* p) { unmap(p, wanted); });
    size_ = wanted;
    used_ = 0;
  }
  std::byte* const begin = slab_.get() + used_;
  used_ += piece;
  return {slab_, begin};
}

}  // namespace ove
