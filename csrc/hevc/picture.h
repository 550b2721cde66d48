// The pictures that all codecs share, as this room names their parts, and the parameter sets in force for them.
#pragma once

#include <memory>

#include "codec/picture.h"
#include "hevc/parameter_sets.h"

namespace ove::hevc {

using codec::BlockMotion;
using codec::CodecPicture;
using codec::fill_block;
using codec::LumaWeight;
using codec::Mv;
using codec::PictureBuffers;
using codec::RefEntry;
using codec::ResidualBuffer;
using codec::ResidualForm;
using codec::Slice;
using codec::SliceType;

// An SPS and a PPS that fit each other.
struct ActiveSets final : codec::ParameterSets {
  std::shared_ptr<const Sps> sps;
  std::shared_ptr<const Pps> pps;
  TileLayout tiles;
  std::shared_ptr<const codec::PictureFormat> format;
};

// Throws InvalidBitstreamError where the two do not fit. `vps` is a NAL unit, null where there is none.
std::shared_ptr<const ActiveSets> make_active_sets(std::shared_ptr<const Sps> sps, std::shared_ptr<const Pps> pps,
                                                   std::shared_ptr<const codec::Bytes> vps);

}  // namespace ove::hevc
