// Large arrays that begin as zeros, of which only a part may ever be written: pages that nobody touches cost nothing.
#pragma once

#include <cstddef>
#include <cstdlib>
#include <new>
#include <type_traits>

namespace ove {

// A container of a given size made with it holds zeros. One that grows within its capacity holds what was there.
template <class T>
struct ZeroedAllocator {
  static_assert(std::is_trivial_v<T>);
  using value_type = T;

  ZeroedAllocator() = default;
  template <class U>
  ZeroedAllocator(const ZeroedAllocator<U>&) {}

  // The system's memory is zero already, which calloc() knows.
  T* allocate(std::size_t n) {
    void* memory = std::calloc(n, sizeof(T));
    if (!memory) throw std::bad_alloc();
    return static_cast<T*>(memory);
  }
  void deallocate(T* memory, std::size_t) { std::free(memory); }
  template <class U>
  void construct(U*) {}

  template <class U>
  bool operator==(const ZeroedAllocator<U>&) const {
    return true;
  }
};

}  // namespace ove
