#include <doctest/doctest.h>

#include <algorithm>
#include <random>
#include <vector>

#include "common/cpu.h"
#include "hevc/trans_matrix.h"
#include "hevc/transform.h"

using namespace ove::hevc;

namespace {

constexpr int kDst[4][4] = {{29, 55, 74, 84}, {74, 74, 0, -74}, {84, -29, -74, 55}, {55, -84, 74, -29}};

std::vector<const InverseTransforms*> all_transforms() {
  std::vector<const InverseTransforms*> all = {&kPlainTransforms};
#if OVE_X86_V3
  if (ove::cpu_is_v3()) all.push_back(&kAvx2Transforms);
#endif
  return all;
}

// 8.6.2 and 8.6.4 as plain sums over the whole block
std::vector<int> plain_residual(const CoefficientBlock& c, const ResidualMode& mode) {
  const int size = 1 << mode.log2_size;
  const auto at = [&](int x, int y) { return static_cast<std::size_t>(y * size + x); };
  const int shift = 20 - mode.bit_depth;
  std::vector<int> r(static_cast<std::size_t>(size * size));
  const auto clip = [](std::int64_t v) { return static_cast<int>(std::clamp<std::int64_t>(v, -32768, 32767)); };
  if (mode.transquant_bypass || mode.transform_skip) {
    for (int y = 0; y < size; ++y) {
      for (int x = 0; x < size; ++x) {
        const std::int64_t d = mode.rotate ? c.values[at(size - 1 - x, size - 1 - y)] : c.values[at(x, y)];
        const int ts_shift = 5 + mode.log2_size;
        r[at(x, y)] =
            mode.transquant_bypass ? static_cast<int>(d) : clip(((d << ts_shift) + (1 << (shift - 1))) >> shift);
      }
    }
    for (int y = 0; y < size; ++y) {
      for (int x = 0; x < size; ++x) {
        if (mode.rdpcm == Rdpcm::kHorizontal && x > 0) r[at(x, y)] = clip(r[at(x, y)] + r[at(x - 1, y)]);
        if (mode.rdpcm == Rdpcm::kVertical && y > 0) r[at(x, y)] = clip(r[at(x, y)] + r[at(x, y - 1)]);
      }
    }
    return r;
  }
  const auto basis = [&](int k, int n) {
    return mode.dst ? kDst[k][n] : kTransMatrix[static_cast<std::size_t>(k * (32 / size))][static_cast<std::size_t>(n)];
  };
  std::vector<int> g(r.size());
  for (int x = 0; x < size; ++x) {
    for (int n = 0; n < size; ++n) {
      std::int64_t sum = 0;
      for (int k = 0; k < size; ++k) sum += basis(k, n) * c.values[at(x, k)];
      g[at(x, n)] = clip((sum + 64) >> 7);
    }
  }
  for (int y = 0; y < size; ++y) {
    for (int n = 0; n < size; ++n) {
      std::int64_t sum = 0;
      for (int k = 0; k < size; ++k) sum += basis(k, n) * g[at(k, y)];
      r[at(n, y)] = clip((sum + (1 << (shift - 1))) >> shift);
    }
  }
  return r;
}

void check(const CoefficientBlock& c, const ResidualMode& mode) {
  const auto expected = plain_residual(c, mode);
  const int size = 1 << mode.log2_size;
  constexpr std::ptrdiff_t kStride = 40;
  for (const InverseTransforms* transforms : all_transforms()) {
    std::vector<std::int16_t> out(static_cast<std::size_t>(kStride * size), 12345);
    CoefficientBlock block = c;
    reconstruct_residual(*transforms, block, mode, out.data(), kStride);
    bool equal = true, untouched = true;
    for (int y = 0; y < size; ++y) {
      for (int x = 0; x < kStride; ++x) {
        const int value = out[static_cast<std::size_t>(y * kStride + x)];
        if (x < size) equal &= value == expected[static_cast<std::size_t>(y * size + x)];
        if (x >= size) untouched &= value == 12345;
      }
    }
    CHECK(equal);
    CHECK(untouched);
    CHECK(block.columns == 0);
    CHECK(block.rows == 0);
    CHECK(std::all_of(block.values.begin(), block.values.end(), [](int v) { return v == 0; }));
  }
}

// Coefficients in the first columns x rows; `extreme` ones lie at the ends of their range.
CoefficientBlock random_block(std::mt19937& random, int log2_size, int columns, int rows, bool extreme) {
  CoefficientBlock c;
  for (int y = 0; y < rows; ++y) {
    for (int x = 0; x < columns; ++x) {
      const int value = extreme ? (random() % 2 ? 32767 : -32768) : static_cast<int>(random() % 2001) - 1000;
      c.values[static_cast<std::size_t>((y << log2_size) + x)] = static_cast<std::int16_t>(random() % 3 ? value : 0);
    }
  }
  c.columns = columns;
  c.rows = rows;
  return c;
}

}  // namespace

TEST_CASE("transMatrix is the standard's") {
  const int row1[] = {90, 90, 88, 85, 82, 78, 73, 67, 61, 54, 46, 38, 31, 22, 13, 4};
  const int row2[] = {90, 87, 80, 70, 57, 43, 25, 9, -9, -25, -43, -57, -70, -80, -87, -90};
  const int row16[] = {64, -64, -64, 64};
  for (std::size_t n = 0; n < 16; ++n) {
    CHECK(kTransMatrix[0][n] == 64);
    CHECK(kTransMatrix[1][n] == row1[n]);
    CHECK(kTransMatrix[1][31 - n] == -row1[n]);
    CHECK(kTransMatrix[2][n] == row2[n]);
    CHECK(kTransMatrix[16][n] == row16[n % 4]);
  }
}

TEST_CASE("transforms equal plain sums") {
  std::mt19937 random(5);
  for (int round = 0; round < 600; ++round) {
    ResidualMode mode;
    mode.log2_size = 2 + static_cast<int>(random() % 4);
    mode.bit_depth = 8 + static_cast<int>(random() % 5);
    mode.dst = mode.log2_size == 2 && random() % 2;
    const int size = 1 << mode.log2_size;
    const int columns = round % 5 == 0 ? 1 : 1 + static_cast<int>(random() % static_cast<unsigned>(size));
    const int rows = round % 5 == 0 ? 1 : 1 + static_cast<int>(random() % static_cast<unsigned>(size));
    check(random_block(random, mode.log2_size, columns, rows, round % 4 == 1), mode);
  }
}

TEST_CASE("transform skip, lossless, rotation and RDPCM") {
  std::mt19937 random(6);
  for (int round = 0; round < 400; ++round) {
    ResidualMode mode;
    mode.log2_size = 2 + static_cast<int>(random() % 4);
    mode.bit_depth = 8 + static_cast<int>(random() % 5);
    mode.transquant_bypass = random() % 2;
    mode.transform_skip = !mode.transquant_bypass;
    mode.rotate = mode.log2_size == 2 && random() % 2;
    mode.rdpcm = static_cast<Rdpcm>(random() % 3);
    const int size = 1 << mode.log2_size;
    check(random_block(random, mode.log2_size, size, size, round % 4 == 1), mode);
  }
}
