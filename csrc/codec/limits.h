// What a stream may ask for before it is refused. The defaults take every level of the standard up to 6.2.
#pragma once

#include <array>
#include <cstdint>

namespace ove::codec {

struct Limits {
  std::int64_t max_width = 16'888, max_height = 16'888;  // luma samples, coded
  std::int64_t max_luma_samples = 35'651'584;            // of a picture
  std::int64_t max_dpb_pictures = 16;                    // decoded pictures held at a time, the current one included
  std::int64_t max_dpb_luma_samples = 213'909'504;       // of these pictures together: six of the largest
  std::int64_t max_slice_segments = 8'704;               // of a picture; slices where they have no segments
  std::int64_t max_parameter_set_bytes = 65'536;         // of one parameter set's NAL unit
  std::int64_t max_packet_bytes = std::int64_t{1} << 28;
  std::int64_t max_nal_units = 65'536;  // of a packet

  // As high as they may be set: for what has been checked before.
  static Limits highest();

  // Throws std::invalid_argument for a limit out of the range that the decoder's own types bear.
  void validate() const;

  // Throws UnsupportedStreamError, naming the limit, if `value` exceeds it; `what` says what has this value.
  void check(std::int64_t Limits::*limit, std::int64_t value, const char* what) const {
    if (value > this->*limit) refuse(limit, value, what);
  }

 private:
  [[noreturn]] void refuse(std::int64_t Limits::*limit, std::int64_t value, const char* what) const;
};

struct LimitField {
  const char* name;
  std::int64_t Limits::*field;
  std::int64_t most;  // a limit may not be set higher
};

// Block positions are stored in 16 bits, sample positions in int, and one slice index stands for none.
inline constexpr std::array<LimitField, 9> kLimitFields{{
    {"max_width", &Limits::max_width, 1 << 16},
    {"max_height", &Limits::max_height, 1 << 16},
    {"max_luma_samples", &Limits::max_luma_samples, 1 << 29},
    {"max_dpb_pictures", &Limits::max_dpb_pictures, 1 << 10},
    {"max_dpb_luma_samples", &Limits::max_dpb_luma_samples, std::int64_t{1} << 39},
    {"max_slice_segments", &Limits::max_slice_segments, 0xFFFF},
    {"max_parameter_set_bytes", &Limits::max_parameter_set_bytes, 0x7FFFFFFF},
    {"max_packet_bytes", &Limits::max_packet_bytes, 0x7FFFFFFF},
    {"max_nal_units", &Limits::max_nal_units, 0x7FFFFFFF},
}};

}  // namespace ove::codec
