// How much of a picture is wanted, and in which form.
#pragma once

#include <cstdint>

namespace ove::codec {

// Each with those before it. kBits is what parsing leaves: bits, quantiser, coding blocks; no other picture is needed.
enum class Amount : std::uint8_t { kHeaders, kBits, kMotion, kResidual };

// kPacked: the samples of coded blocks alone, without the plane that they lie in.
enum class ResidualForm : std::uint8_t { kPlane, kPacked };

// kWholeBytes, as codec-video-prep has them: how many bytes the arithmetic decoder went on while it read the coding
// quadtree of a CTU and end_of_slice_segment_flag, or a macroblock without end_of_slice_flag. With CAVLC they are
// exact.
enum class BitsRule : std::uint8_t { kExact, kWholeBytes };

struct Detail {
  Amount amount = Amount::kResidual;
  ResidualForm form = ResidualForm::kPlane;  // of the residual, where it is wanted
  BitsRule bits = BitsRule::kExact;
  bool bits_by_block = false;  // PictureBuffers::block_bits too, of codecs that have them

  bool has_arrays() const { return amount != Amount::kHeaders; }
  bool has_motion() const { return amount >= Amount::kMotion; }
  bool has_residual() const { return amount == Amount::kResidual; }
};

}  // namespace ove::codec
