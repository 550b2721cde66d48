#include "h264/references.h"

#include <algorithm>
#include <stdexcept>

namespace ove::h264 {

namespace {

void add(std::vector<std::int64_t>& indices, std::int64_t index) {
  if (std::find(indices.begin(), indices.end(), index) == indices.end()) indices.push_back(index);
}

// What a picture that is all intra tells is known without it.
std::shared_ptr<const CodecPicture> wait_for(const std::shared_ptr<const CodecPicture>& other, CodedPicture& picture) {
  if (!other || other->type == SliceType::kI) return nullptr;
  if (picture.detail.has_motion() && !other->detail.has_motion()) {
    throw std::logic_error("the motion of a picture was requested, but not that of the picture it is derived from");
  }
  add(picture.collocated, other->decode_index);
  return other;
}

}  // namespace

void add_references(const CodedFrame& coded, Structure structure, std::vector<std::int64_t>& references) {
  if (coded.frame) return add(references, coded.frame->decode_index);
  for (std::size_t p = 0; p < 2; ++p) {
    if (coded.fields[p] && (!is_field(structure) || parity(structure) == p)) {
      add(references, coded.fields[p]->decode_index);
    }
  }
}

void set_collocated(const CodedFrame& coded, Structure structure, Collocated& collocated, CodedPicture& picture) {
  collocated.field_poc = coded.field_poc;
  if (coded.frame) {
    collocated.structure = coded.frame->structure;
    collocated.frame = wait_for(coded.frame, picture);
  } else if (coded.fields[0] || coded.fields[1]) {
    collocated.structure = is_field(structure) ? structure : Structure::kFieldPair;
    for (std::size_t p = 0; p < 2; ++p) {
      if (!is_field(structure) || parity(structure) == p) collocated.fields[p] = wait_for(coded.fields[p], picture);
    }
  }
}

}  // namespace ove::h264
