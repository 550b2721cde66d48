#include <doctest/doctest.h>

#include <algorithm>
#include <cstdint>
#include <numeric>
#include <random>
#include <stdexcept>
#include <vector>

#include "cuda/move_rows.h"

using namespace ove::cuda;

namespace {

constexpr int kUntouched = -7;

// All shares, in any order.
std::vector<RowShare> shares(std::mt19937& random, int groups, int lanes) {
  std::vector<RowShare> all;
  for (int group = 0; group < groups; ++group) {
    for (int lane = 0; lane < lanes; ++lane) all.push_back({group, groups, lane, lanes});
  }
  std::shuffle(all.begin(), all.end(), random);
  return all;
}

void gather(std::vector<int>& all, std::int64_t count, const std::vector<std::int64_t>& index, std::vector<int>& packed,
            std::int64_t units, const RowShare& share) {
  move_share(
      all.data(), count, index.data(), packed.data(), std::ssize(index), units, share,
      [](const int* one, const int*) { return *one; }, [](int*, int* other, int kept) { *other += kept - kUntouched; },
      [] { throw std::out_of_range("off"); });
}

}  // namespace

TEST_CASE("shares of threads move every unit of every row once") {
  std::mt19937 random(3);
  const auto up_to = [&](int most) { return std::uniform_int_distribution(0, most)(random); };
  for (int i = 0; i < 400; ++i) {
    const std::int64_t count = 1 + up_to(30), units = up_to(40);
    std::vector<int> all(static_cast<std::size_t>(count * units));
    std::iota(all.begin(), all.end(), 1);
    std::vector<std::int64_t> index(static_cast<std::size_t>(up_to(i % 2 == 0 ? 9 : 70)));
    for (auto& number : index) number = up_to(static_cast<int>(count) - 1);
    std::vector<int> packed(index.size() * static_cast<std::size_t>(units), kUntouched);
    for (const RowShare& share : shares(random, 1 + up_to(9), 1 + up_to(33))) {
      gather(all, count, index, packed, units, share);
    }
    for (std::size_t row = 0; row < index.size(); ++row) {
      for (std::int64_t u = 0; u < units; ++u) {
        REQUIRE(packed[row * static_cast<std::size_t>(units) + static_cast<std::size_t>(u)] ==
                all[static_cast<std::size_t>(index[row] * units + u)]);
      }
    }
  }
}

TEST_CASE("a number off the rows is told wherever it stands") {
  std::mt19937 random(3);
  for (const std::int64_t wrong : {std::int64_t{-1}, std::int64_t{5}, INT64_MIN, INT64_MAX}) {
    for (std::size_t place = 0; place < 11; ++place) {
      std::vector<int> all(10), packed(22, kUntouched);
      std::vector<std::int64_t> index(11);
      index[place] = wrong;
      int told = 0;
      for (const RowShare& share : shares(random, 2, 3)) {
        try {
          gather(all, 5, index, packed, 2, share);
        } catch (const std::out_of_range&) {
          ++told;
        }
      }
      CHECK(told == 3);  // by all threads that have the row in hand
    }
  }
}
