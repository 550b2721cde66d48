// Random choices of tests.
#pragma once

#include <initializer_list>
#include <random>

namespace ove {

struct Random {
  std::mt19937 engine;
  int operator()(int low, int high) { return std::uniform_int_distribution(low, high)(engine); }
  template <class T>
  T one_of(std::initializer_list<T> values) {
    return values.begin()[(*this)(0, static_cast<int>(values.size()) - 1)];
  }
};

}  // namespace ove
