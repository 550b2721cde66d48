// The pictures that all codecs share, as this room names their parts, and the parameter sets in force for them.
#pragma once

#include <map>
#include <memory>
#include <vector>

#include "codec/picture.h"
#include "h264/parameter_sets.h"

namespace ove::h264 {

using codec::BlockMotion;
using codec::CodecPicture;
using codec::CodedBlock;
using codec::LumaWeight;
using codec::Mv;
using codec::PictureBuffers;
using codec::RefEntry;
using codec::RefLists;
using codec::ResidualBuffer;
using codec::ResidualForm;
using codec::Slice;
using codec::SliceType;
using codec::Structure;

// An SPS and every PPS that names it, because the slices of a picture may differ in theirs.
struct ActiveSets final : codec::ParameterSets {
  std::shared_ptr<const Sps> sps;
  std::map<int, std::shared_ptr<const Pps>> pps;  // by id
  // x264 before build 151 coded 4:4:4 with 8x8 transforms in CABAC against the standard. The SEI NAL unit that tells
  // its build, which other decoders look for too; null for other builds.
  std::shared_ptr<const codec::Bytes> early_x264;
  std::shared_ptr<const codec::PictureFormat> frame_format, mbaff_format, field_format;
  std::shared_ptr<const codec::PictureFormat> shown_format;  // of Structure::kFieldPair
};

std::shared_ptr<const ActiveSets> make_active_sets(std::shared_ptr<const Sps> sps,
                                                   std::map<int, std::shared_ptr<const Pps>> pps,
                                                   std::shared_ptr<const codec::Bytes> early_x264);

// A picture as coded: a frame, a frame with macroblock-adaptive fields, or a field.
struct CodedPicture final : CodecPicture {
  // By macroblock as stored, row by row: MbType, and transform_size_8x8_flag in bit 7.
  std::vector<std::uint8_t> mb_types;
};

inline bool is_field(Structure structure) {
  return structure == Structure::kTopField || structure == Structure::kBottomField;
}
// 0 top, 1 bottom
inline std::size_t parity(Structure structure) { return structure == Structure::kBottomField ? 1 : 0; }
inline Structure field_of(std::size_t parity) { return parity == 0 ? Structure::kTopField : Structure::kBottomField; }

}  // namespace ove::h264
