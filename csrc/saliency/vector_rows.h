// Loops over the vectors of a row of blocks, as decoders give them. Outputs do not overlap inputs; n may be 0.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "saliency/camera.h"

namespace ove::saliency {

// Chooses vectors, quarter samples, from both lists of n blocks (four numbers a block) and gives them in samples: those
// of `list` where bit `list` of `pred` is set, with `fall_back` those of list 1 where only bit 1 is, 0 elsewhere.
void choose_vectors(const std::int16_t* mv, const std::uint8_t* pred, std::size_t n, int list, bool fall_back, float* x,
                    float* y);
// |v - camera| of the vectors that choose_vectors() gives.
void chosen_magnitudes(const std::int16_t* mv, const std::uint8_t* pred, std::size_t n, int list, bool fall_back,
                       const Camera& camera, float* out);
// pred of n blocks by their reference indices, two a block.
void pred_of_indices(const std::int8_t* ref_idx, std::size_t n, std::uint8_t* pred);
// pred of n blocks where a list counts as used if its vector is not 0.
void used_lists(const std::int16_t* mv, std::size_t n, std::uint8_t* pred);

// How many values are below 0, and how many are 0.
struct Signs {
  std::size_t negative = 0, zero = 0;
};
// displacement() of n blocks, where scales[list] has displacement_scale() by reference index; a list whose index is
// negative is not used, and its vector is 0. Adds those of x and y to `signs`.
void displacements(const std::int16_t* mv, const std::int8_t* ref_idx, std::size_t n,
                   const std::array<std::vector<float>, 2>& scales, float* x, float* y, std::array<Signs, 2>& signs);

}  // namespace ove::saliency
