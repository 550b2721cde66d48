// Mutations that keep NAL units what they are, so that they reach what lies behind start codes and emulation
// prevention.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace ove::fuzz {

// What a fuzz input may ask for.
inline constexpr std::int64_t kMaxLumaSamples = 1 << 16;

// Every target says where in its input NAL units in Annex B form begin; the end of the input where there are none.
std::size_t annex_b_begin(std::span<const std::uint8_t> input);

}  // namespace ove::fuzz

extern "C" {
// The interface of libFuzzer.
int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);
std::size_t LLVMFuzzerMutate(std::uint8_t* data, std::size_t size, std::size_t max_size);
std::size_t LLVMFuzzerCustomMutator(std::uint8_t* data, std::size_t size, std::size_t max_size, unsigned seed);
std::size_t LLVMFuzzerCustomCrossOver(const std::uint8_t* data1, std::size_t size1, const std::uint8_t* data2,
                                      std::size_t size2, std::uint8_t* out, std::size_t max_out_size, unsigned seed);
}
