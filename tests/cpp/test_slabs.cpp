#include <doctest/doctest.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <memory>
#include <random>
#include <thread>
#include <vector>

#include "common/slabs.h"

using namespace ove;

namespace {

struct Piece {
  std::shared_ptr<std::byte> memory;
  std::size_t size = 0;
  std::uint8_t mark = 0;

  bool holds(std::uint8_t value) const {
    return std::all_of(memory.get(), memory.get() + size, [&](std::byte b) { return b == std::byte{value}; });
  }
};

// Takes pieces and lets go of some, in any order; each must begin with zeros and stay as it was written.
void take_and_drop(unsigned seed) {
  std::mt19937 random(seed);
  const auto draw = [&](std::size_t low, std::size_t high) { return std::uniform_int_distribution(low, high)(random); };
  constexpr std::size_t kSizes[] = {1, 1000, 65535, 65536, 300001, (std::size_t{1} << 21) + 3, (std::size_t{5} << 20)};
  for (int round = 0; round < 3; ++round) {
    auto slabs = std::make_unique<Slabs>();
    std::vector<Piece> pieces;
    for (int step = 0; step < 25; ++step) {
      Piece piece{nullptr, kSizes[draw(0, std::size(kSizes) - 1)], static_cast<std::uint8_t>(draw(1, 255))};
      piece.memory = slabs->take(piece.size);
      CHECK(reinterpret_cast<std::uintptr_t>(piece.memory.get()) % Slabs::kAlignment == 0);
      CHECK(piece.holds(0));
      std::memset(piece.memory.get(), piece.mark, piece.size);
      pieces.push_back(std::move(piece));
      if (draw(0, 2) == 0) {
        const std::size_t i = draw(0, pieces.size() - 1);
        CHECK(pieces[i].holds(pieces[i].mark));
        pieces.erase(pieces.begin() + static_cast<std::ptrdiff_t>(i));
      }
    }
    slabs.reset();  // pieces outlive it
    for (const Piece& piece : pieces) CHECK(piece.holds(piece.mark));
  }
}

}  // namespace

TEST_CASE("pieces of slabs begin with zeros, lie apart, and outlive what they were taken from") { take_and_drop(1); }

TEST_CASE("a piece larger than any slab has memory of its own") {
  Slabs slabs;
  Piece large{slabs.take((std::size_t{9} << 20) + 1), (std::size_t{9} << 20) + 1, 7};
  CHECK(large.holds(0));
  std::memset(large.memory.get(), large.mark, large.size);
  const Piece next{slabs.take(100000), 100000, 0};
  CHECK(next.holds(0));
  CHECK(large.holds(7));
}

TEST_CASE("slabs go from thread to thread") {
  std::vector<std::thread> threads;
  for (unsigned i = 0; i < 4; ++i) threads.emplace_back(take_and_drop, i);
  for (std::thread& thread : threads) thread.join();
}
