#include "mutator.h"

#include <algorithm>
#include <random>
#include <utility>
#include <vector>

#include "bitstream/nal.h"

namespace ove::fuzz {

namespace {

using Bytes = std::vector<std::uint8_t>;
using Random = std::minstd_rand;

constexpr std::size_t kNalHeaderSize = 2;
constexpr std::size_t kHeaderRegion = 24;  // bytes of a NAL unit in which parameter sets and slice headers lie

std::size_t below(Random& random, std::size_t n) { return random() % n; }

// NAL units without emulation prevention, and what stands before the first of them.
struct Parts {
  Bytes before;
  std::vector<Bytes> units;
};

Parts take_apart(std::span<const std::uint8_t> input) {
  const std::size_t begin = annex_b_begin(input);
  Parts parts;
  parts.before.assign(input.begin(), input.begin() + static_cast<std::ptrdiff_t>(begin));
  for (const NalUnit& unit : NalFraming().split(input.subspan(begin))) parts.units.push_back(to_rbsp(unit.bytes));
  return parts;
}

// Whole NAL units, as many as fit.
std::size_t put_together(const Parts& parts, std::span<std::uint8_t> out) {
  std::size_t size = std::min(parts.before.size(), out.size());
  std::copy_n(parts.before.begin(), size, out.begin());
  Bytes escaped;
  for (const Bytes& unit : parts.units) {
    escaped = {0, 0, 1};
    int zeros = 0;
    for (const std::uint8_t byte : unit) {
      if (zeros >= 2 && byte <= 3) {
        escaped.push_back(3);
        zeros = 0;
      }
      escaped.push_back(byte);
      zeros = byte == 0 ? zeros + 1 : 0;
    }
    if (escaped.size() > out.size() - size) break;
    std::copy(escaped.begin(), escaped.end(), out.begin() + static_cast<std::ptrdiff_t>(size));
    size += escaped.size();
  }
  return size;
}

// libFuzzer's own mutations of a range, which may grow.
void mutate_range(Bytes& unit, std::size_t begin, std::size_t end) {
  Bytes part(unit.begin() + static_cast<std::ptrdiff_t>(begin), unit.begin() + static_cast<std::ptrdiff_t>(end));
  const std::size_t size = part.size();
  part.resize(size + 16);
  part.resize(LLVMFuzzerMutate(part.data(), size, part.size()));
  unit.erase(unit.begin() + static_cast<std::ptrdiff_t>(begin), unit.begin() + static_cast<std::ptrdiff_t>(end));
  unit.insert(unit.begin() + static_cast<std::ptrdiff_t>(begin), part.begin(), part.end());
}

void flip(Bytes& unit, std::size_t bit) { unit[bit / 8] ^= static_cast<std::uint8_t>(0x80 >> bit % 8); }

// Inserts or removes a bit, which makes other values of all that follow in a header.
void shift(Bytes& unit, std::size_t bit, bool insert, bool value) {
  std::vector<bool> bits;
  for (std::size_t i = 0; i < 8 * unit.size(); ++i) bits.push_back(unit[i / 8] >> (7 - i % 8) & 1);
  const auto at = bits.begin() + static_cast<std::ptrdiff_t>(bit);
  if (insert) {
    bits.insert(at, value);
  } else {
    bits.erase(at);
  }
  unit.assign((bits.size() + 7) / 8, 0);
  for (std::size_t i = 0; i < bits.size(); ++i) unit[i / 8] |= static_cast<std::uint8_t>(bits[i] << (7 - i % 8));
}

void mutate_unit(Bytes& unit, Random& random) {
  if (unit.size() <= kNalHeaderSize) return mutate_range(unit, 0, unit.size());
  const std::size_t region = std::min(unit.size(), kHeaderRegion);
  const auto any_bit = [&](std::size_t end) { return 8 * kNalHeaderSize + below(random, 8 * (end - kNalHeaderSize)); };
  switch (below(random, 7)) {
    case 0:
      return mutate_range(unit, kNalHeaderSize, unit.size());
    case 1:
      return mutate_range(unit, kNalHeaderSize, region);
    case 2:
      return shift(unit, any_bit(region), below(random, 2), below(random, 2));
    case 3:
      return flip(unit, any_bit(region));
    case 4:
      for (std::size_t n = 1 + below(random, 8); n > 0; --n) flip(unit, any_bit(unit.size()));
      return;
    case 5:
      return unit.resize(kNalHeaderSize + below(random, unit.size() - kNalHeaderSize));
    default:
      return flip(unit, below(random, 8 * kNalHeaderSize));  // its type, layer, temporal id
  }
}

void mutate_sequence(std::vector<Bytes>& units, Random& random) {
  const auto any = [&] { return units.begin() + static_cast<std::ptrdiff_t>(below(random, units.size())); };
  switch (below(random, 8)) {
    case 0:
      units.erase(any());
      return;
    case 1: {
      Bytes copy = *any();
      units.insert(any(), std::move(copy));
      return;
    }
    case 2:
      std::swap(*any(), *any());
      return;
    default:
      return mutate_unit(*any(), random);
  }
}

}  // namespace

}  // namespace ove::fuzz

using namespace ove::fuzz;

extern "C" std::size_t LLVMFuzzerCustomMutator(std::uint8_t* data, std::size_t size, std::size_t max_size,
                                               unsigned seed) {
  Random random(seed);
  Parts parts = take_apart({data, size});
  if (parts.units.empty() && size > 0 && below(random, 2)) {
    // A container: without moving anything.
    for (std::size_t n = 1 + below(random, 4); n > 0; --n) data[below(random, size)] ^= 1U << below(random, 8);
    return size;
  }
  if (parts.units.empty() || below(random, 8) == 0) return LLVMFuzzerMutate(data, size, max_size);
  for (std::size_t n = 1 + below(random, 3); n > 0 && !parts.units.empty(); --n) mutate_sequence(parts.units, random);
  return put_together(parts, {data, max_size});
}

extern "C" std::size_t LLVMFuzzerCustomCrossOver(const std::uint8_t* data1, std::size_t size1,
                                                 const std::uint8_t* data2, std::size_t size2, std::uint8_t* out,
                                                 std::size_t max_out_size, unsigned seed) {
  Random random(seed);
  Parts parts = take_apart({data1, size1});
  const Parts other = take_apart({data2, size2});
  if (parts.units.empty() || other.units.empty()) return 0;
  // A run of the other's NAL units.
  const std::size_t from = below(random, other.units.size());
  const std::size_t count = 1 + below(random, other.units.size() - from);
  const auto at = static_cast<std::ptrdiff_t>(below(random, parts.units.size() + 1));
  const auto begin = other.units.begin() + static_cast<std::ptrdiff_t>(from);
  parts.units.insert(parts.units.begin() + at, begin, begin + static_cast<std::ptrdiff_t>(count));
  return put_together(parts, {out, max_out_size});
}
