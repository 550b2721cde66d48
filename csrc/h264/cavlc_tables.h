// Codes of CAVLC (9.2) as the standard's tables give them, and what decoding looks up instead.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace ove::h264 {

struct VlcCode {
  std::uint8_t length = 0, bits = 0;  // length 0: no code
};

// Table 9-5, [total_coeff * 4 + trailing_ones], for nC below 2, 4 and 8
inline constexpr std::array<std::array<VlcCode, 68>, 3> kCoeffTokenCodes{
    {{{{1, 1},   {0, 0},   {0, 0},   {0, 0},   {6, 5},   {2, 1},   {0, 0},   {0, 0},   {8, 7},   {6, 4},
       {3, 1},   {0, 0},   {9, 7},   {8, 6},   {7, 5},   {5, 3},   {10, 7},  {9, 6},   {8, 5},   {6, 3},
       {11, 7},  {10, 6},  {9, 5},   {7, 4},   {13, 15}, {11, 6},  {10, 5},  {8, 4},   {13, 11}, {13, 14},
       {11, 5},  {9, 4},   {13, 8},  {13, 10}, {13, 13}, {10, 4},  {14, 15}, {14, 14}, {13, 9},  {11, 4},
       {14, 11}, {14, 10}, {14, 13}, {13, 12}, {15, 15}, {15, 14}, {14, 9},  {14, 12}, {15, 11}, {15, 10},
       {15, 13}, {14, 8},  {16, 15}, {15, 1},  {15, 9},  {15, 12}, {16, 11}, {16, 14}, {16, 13}, {15, 8},
       {16, 7},  {16, 10}, {16, 9},  {16, 12}, {16, 4},  {16, 6},  {16, 5},  {16, 8}}},
     {{{2, 3},   {0, 0},   {0, 0},   {0, 0},   {6, 11},  {2, 2},   {0, 0},   {0, 0},   {6, 7},   {5, 7},
       {3, 3},   {0, 0},   {7, 7},   {6, 10},  {6, 9},   {4, 5},   {8, 7},   {6, 6},   {6, 5},   {4, 4},
       {8, 4},   {7, 6},   {7, 5},   {5, 6},   {9, 7},   {8, 6},   {8, 5},   {6, 8},   {11, 15}, {9, 6},
       {9, 5},   {6, 4},   {11, 11}, {11, 14}, {11, 13}, {7, 4},   {12, 15}, {11, 10}, {11, 9},  {9, 4},
       {12, 11}, {12, 14}, {12, 13}, {11, 12}, {12, 8},  {12, 10}, {12, 9},  {11, 8},  {13, 15}, {13, 14},
       {13, 13}, {12, 12}, {13, 11}, {13, 10}, {13, 9},  {13, 12}, {13, 7},  {14, 11}, {13, 6},  {13, 8},
       {14, 9},  {14, 8},  {14, 10}, {13, 1},  {14, 7},  {14, 6},  {14, 5},  {14, 4}}},
     {{{4, 15}, {0, 0},  {0, 0},  {0, 0},  {6, 15},  {4, 14}, {0, 0},  {0, 0},  {6, 11}, {5, 15},  {4, 13},  {0, 0},
       {6, 8},  {5, 12}, {5, 14}, {4, 12}, {7, 15},  {5, 10}, {5, 11}, {4, 11}, {7, 11}, {5, 8},   {5, 9},   {4, 10},
       {7, 9},  {6, 14}, {6, 13}, {4, 9},  {7, 8},   {6, 10}, {6, 9},  {4, 8},  {8, 15}, {7, 14},  {7, 13},  {5, 13},
       {8, 11}, {8, 14}, {7, 10}, {6, 12}, {9, 15},  {8, 10}, {8, 13}, {7, 12}, {9, 11}, {9, 14},  {8, 9},   {8, 12},
       {9, 8},  {9, 10}, {9, 13}, {8, 8},  {10, 13}, {9, 7},  {9, 9},  {9, 12}, {10, 9}, {10, 12}, {10, 11}, {10, 10},
       {10, 5}, {10, 8}, {10, 7}, {10, 6}, {10, 1},  {10, 4}, {10, 3}, {10, 2}}}}};
// Likewise for nC -1 and -2: chroma DC of 4:2:0 and 4:2:2
inline constexpr std::array<VlcCode, 20> kCoeffTokenCodes420{{{2, 1}, {0, 0}, {0, 0}, {0, 0}, {6, 7}, {1, 1}, {0, 0},
                                                              {0, 0}, {6, 4}, {6, 6}, {3, 1}, {0, 0}, {6, 3}, {7, 3},
                                                              {7, 2}, {6, 5}, {6, 2}, {8, 3}, {8, 2}, {7, 0}}};
inline constexpr std::array<VlcCode, 36> kCoeffTokenCodes422{
    {{1, 1},  {0, 0},  {0, 0},  {0, 0}, {7, 15}, {2, 1},  {0, 0},  {0, 0},  {7, 14}, {7, 13}, {3, 1},  {0, 0},
     {9, 7},  {7, 12}, {7, 11}, {5, 1}, {9, 6},  {9, 5},  {7, 10}, {6, 1},  {10, 7}, {10, 6}, {9, 4},  {7, 9},
     {11, 7}, {11, 6}, {10, 5}, {7, 8}, {12, 7}, {12, 6}, {11, 5}, {10, 4}, {13, 7}, {12, 5}, {12, 4}, {11, 4}}};

// Tables 9-7 and 9-8, [total_coeff - 1][total_zeros]
inline constexpr std::array<std::array<VlcCode, 16>, 15> kTotalZerosCodes{
    {{{{1, 1},
       {3, 3},
       {3, 2},
       {4, 3},
       {4, 2},
       {5, 3},
       {5, 2},
       {6, 3},
       {6, 2},
       {7, 3},
       {7, 2},
       {8, 3},
       {8, 2},
       {9, 3},
       {9, 2},
       {9, 1}}},
     {{{3, 7},
       {3, 6},
       {3, 5},
       {3, 4},
       {3, 3},
       {4, 5},
       {4, 4},
       {4, 3},
       {4, 2},
       {5, 3},
       {5, 2},
       {6, 3},
       {6, 2},
       {6, 1},
       {6, 0}}},
     {{{4, 5}, {3, 7}, {3, 6}, {3, 5}, {4, 4}, {4, 3}, {3, 4}, {3, 3}, {4, 2}, {5, 3}, {5, 2}, {6, 1}, {5, 1}, {6, 0}}},
     {{{5, 3}, {3, 7}, {4, 5}, {4, 4}, {3, 6}, {3, 5}, {3, 4}, {4, 3}, {3, 3}, {4, 2}, {5, 2}, {5, 1}, {5, 0}}},
     {{{4, 5}, {4, 4}, {4, 3}, {3, 7}, {3, 6}, {3, 5}, {3, 4}, {3, 3}, {4, 2}, {5, 1}, {4, 1}, {5, 0}}},
     {{{6, 1}, {5, 1}, {3, 7}, {3, 6}, {3, 5}, {3, 4}, {3, 3}, {3, 2}, {4, 1}, {3, 1}, {6, 0}}},
     {{{6, 1}, {5, 1}, {3, 5}, {3, 4}, {3, 3}, {2, 3}, {3, 2}, {4, 1}, {3, 1}, {6, 0}}},
     {{{6, 1}, {4, 1}, {5, 1}, {3, 3}, {2, 3}, {2, 2}, {3, 2}, {3, 1}, {6, 0}}},
     {{{6, 1}, {6, 0}, {4, 1}, {2, 3}, {2, 2}, {3, 1}, {2, 1}, {5, 1}}},
     {{{5, 1}, {5, 0}, {3, 1}, {2, 3}, {2, 2}, {2, 1}, {4, 1}}},
     {{{4, 0}, {4, 1}, {3, 1}, {3, 2}, {1, 1}, {3, 3}}},
     {{{4, 0}, {4, 1}, {2, 1}, {1, 1}, {3, 1}}},
     {{{3, 0}, {3, 1}, {1, 1}, {2, 1}}},
     {{{2, 0}, {2, 1}, {1, 1}}},
     {{{1, 0}, {1, 1}}}}};
// Table 9-9: chroma DC of 4:2:0 and 4:2:2
inline constexpr std::array<std::array<VlcCode, 4>, 3> kTotalZerosCodes420{
    {{{{1, 1}, {2, 1}, {3, 1}, {3, 0}}}, {{{1, 1}, {2, 1}, {2, 0}}}, {{{1, 1}, {1, 0}}}}};
inline constexpr std::array<std::array<VlcCode, 8>, 7> kTotalZerosCodes422{
    {{{{1, 1}, {3, 2}, {3, 3}, {4, 2}, {4, 3}, {4, 1}, {5, 1}, {5, 0}}},
     {{{3, 0}, {2, 1}, {3, 1}, {3, 4}, {3, 5}, {3, 6}, {3, 7}}},
     {{{3, 0}, {3, 1}, {2, 1}, {2, 2}, {3, 6}, {3, 7}}},
     {{{3, 6}, {2, 0}, {2, 1}, {2, 2}, {3, 7}}},
     {{{2, 0}, {2, 1}, {2, 2}, {2, 3}}},
     {{{2, 0}, {2, 1}, {1, 1}}},
     {{{1, 0}, {1, 1}}}}};

// Table 9-10, [zerosLeft - 1][run_before], where zerosLeft is at most 6
inline constexpr std::array<std::array<VlcCode, 7>, 6> kRunBeforeCodes{{
    {{{1, 1}, {1, 0}}},
    {{{1, 1}, {2, 1}, {2, 0}}},
    {{{2, 3}, {2, 2}, {2, 1}, {2, 0}}},
    {{{2, 3}, {2, 2}, {2, 1}, {3, 1}, {3, 0}}},
    {{{2, 3}, {2, 2}, {3, 3}, {3, 2}, {3, 1}, {3, 0}}},
    {{{2, 3}, {3, 0}, {3, 1}, {3, 3}, {3, 2}, {3, 5}, {3, 4}}},
}};

// What a code stands for: its place in the table of codes. Length 0: no code begins so.
struct VlcEntry {
  std::uint8_t length = 0, symbol = 0;
};

// A code is known by its leading zeros and the `kSuffix` bits behind the first one: [zeros << kSuffix | suffix]
template <int kSuffix, std::size_t kCodes>
constexpr auto make_zeros_table(const std::array<VlcCode, kCodes>& codes) {
  std::array<VlcEntry, std::size_t{16} << kSuffix> table{};
  for (std::uint32_t i = 0; i < table.size(); ++i) {
    const std::uint32_t zeros = i >> kSuffix, suffix = i & ((1U << kSuffix) - 1);
    const std::uint32_t window = (1U << kSuffix | suffix) << (31 - kSuffix) >> zeros;  // the next 32 bits
    for (std::size_t symbol = 0; symbol < kCodes; ++symbol) {
      const VlcCode code = codes[symbol];
      if (code.length > 0 && window >> (32 - code.length) == code.bits) {
        table[i] = {code.length, static_cast<std::uint8_t>(symbol)};
      }
    }
  }
  return table;
}

template <int kSuffix, std::size_t kCodes, std::size_t kTables>
constexpr auto make_zeros_tables(const std::array<std::array<VlcCode, kCodes>, kTables>& codes) {
  std::array<std::array<VlcEntry, std::size_t{16} << kSuffix>, kTables> tables{};
  for (std::size_t i = 0; i < kTables; ++i) tables[i] = make_zeros_table<kSuffix>(codes[i]);
  return tables;
}

// Codes of at most 3 bits, by the next 3 bits
constexpr std::array<std::array<VlcEntry, 8>, 6> make_run_before_tables() {
  std::array<std::array<VlcEntry, 8>, 6> tables{};
  for (std::size_t i = 0; i < tables.size(); ++i) {
    for (std::uint32_t bits = 0; bits < 8; ++bits) {
      for (std::size_t run = 0; run < kRunBeforeCodes[i].size(); ++run) {
        const VlcCode code = kRunBeforeCodes[i][run];
        if (code.length > 0 && bits >> (3 - code.length) == code.bits) {
          tables[i][bits] = {code.length, static_cast<std::uint8_t>(run)};
        }
      }
    }
  }
  return tables;
}

inline constexpr auto kCoeffTokenTables = make_zeros_tables<3>(kCoeffTokenCodes);
inline constexpr auto kCoeffTokenTable420 = make_zeros_table<3>(kCoeffTokenCodes420);
inline constexpr auto kCoeffTokenTable422 = make_zeros_table<3>(kCoeffTokenCodes422);
inline constexpr auto kTotalZerosTables = make_zeros_tables<2>(kTotalZerosCodes);
inline constexpr auto kTotalZerosTables420 = make_zeros_tables<2>(kTotalZerosCodes420);
inline constexpr auto kTotalZerosTables422 = make_zeros_tables<2>(kTotalZerosCodes422);
inline constexpr auto kRunBeforeTables = make_run_before_tables();

// Table 9-4: coded_block_pattern of macroblocks with 4:2:0 or 4:2:2 chroma and without, [inter][codeNum]
inline constexpr std::array<std::array<std::uint8_t, 48>, 2> kCodedBlockPatterns{{
    {47, 31, 15, 0,  23, 27, 29, 30, 7, 11, 13, 14, 39, 43, 45, 46, 16, 3,  5,  10, 12, 19, 21, 26,
     28, 35, 37, 42, 44, 1,  2,  4,  8, 17, 18, 20, 24, 6,  9,  22, 25, 32, 33, 34, 36, 40, 38, 41},
    {0,  16, 1,  2,  4,  8,  32, 3,  5,  10, 12, 15, 47, 7,  11, 13, 14, 6,  9,  31, 35, 37, 42, 44,
     33, 34, 36, 40, 39, 43, 45, 46, 17, 18, 20, 24, 19, 21, 26, 28, 23, 27, 29, 30, 22, 25, 38, 41},
}};
inline constexpr std::array<std::array<std::uint8_t, 16>, 2> kCodedBlockPatternsLuma{{
    {15, 0, 7, 11, 13, 14, 3, 5, 10, 12, 1, 2, 4, 8, 6, 9},
    {0, 1, 2, 4, 8, 3, 5, 10, 12, 15, 7, 11, 13, 14, 6, 9},
}};

}  // namespace ove::h264
