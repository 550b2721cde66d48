// What tells whether a frame shows something.
#pragma once

#include <array>
#include <cstdint>
#include <span>

namespace ove::pipeline {

// Population statistics of 8-bit samples; luma as 0.299 R + 0.587 G + 0.114 B, rounded.
struct FrameFacts {
  struct Channel {
    double mean = 0, deviation = 0;
    int range = 0;  // the largest less the smallest
  };
  Channel luma, red, green, blue;
  double green_screen = 0;  // the share of samples with G >= 180, R <= 90 and B <= 90
};

class FrameSums {
 public:
  // Samples R, G, B, R, G, B, ...
  void add(std::span<const std::uint8_t> row);
  FrameFacts facts() const;

 private:
  struct Sums {
    std::int64_t sum = 0, squares = 0;
    int low = 255, high = 0;

    void add(int value);
    FrameFacts::Channel over(double count) const;
  };
  std::array<Sums, 4> sums_;  // luma, red, green, blue
  std::int64_t screen_ = 0, count_ = 0;
};

}  // namespace ove::pipeline
