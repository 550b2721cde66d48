#include "check.h"

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <string_view>
#include <vector>

namespace ove::fuzz {

namespace {

template <class T>
void mix(std::size_t& hash, const T* data, std::size_t count) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), count * sizeof(T));
  hash = hash * 31 + std::hash<std::string_view>()(bytes);
}

template <class T>
std::vector<T> plane(const codec::CodecPicture& picture, std::size_t count,
                     void (codec::CodecPicture::*copy)(T*) const) {
  std::vector<T> out(count);
  (picture.*copy)(out.data());
  return out;
}

}  // namespace

void finding(const char* what) {
  std::fprintf(stderr, "finding: %s\n", what);
  std::abort();
}

std::size_t check_picture(const codec::CodecPicture& picture) {
  std::size_t hash = static_cast<std::size_t>(picture.poc) * 3 + static_cast<std::size_t>(picture.type);
  if (!picture.detail.has_arrays()) return hash;
  const auto blocks = static_cast<std::size_t>(picture.width4()) * static_cast<std::size_t>(picture.height4());
  const codec::PictureBuffers& buffers = *picture.buffers;
  const auto pred = plane(picture, blocks, &codec::CodecPicture::copy_pred);
  const auto ref_poc = plane(picture, 2 * blocks, &codec::CodecPicture::copy_ref_poc);
  const auto qp = plane(picture, blocks, &codec::CodecPicture::copy_qp);
  const auto block_size = plane(picture, blocks, &codec::CodecPicture::copy_block_size);
  const auto skip = plane(picture, blocks, &codec::CodecPicture::copy_skip);
  for (std::size_t i = 0; i < blocks; ++i) {
    if (pred[i] > 3) finding("pred is out of range");
    for (std::size_t x = 0; x < 2; ++x) {
      const bool used = pred[i] >> x & 1;
      if (!used && (buffers.mv[i][x] != codec::Mv() || ref_poc[2 * i + x] != 0)) finding("motion of an unused list");
    }
    if (block_size[i] < 4 || block_size[i] > 64) finding("block_size is out of range");
    if (skip[i] > 1 || (skip[i] && pred[i] == 0)) finding("a skipped block without motion");
    if (qp[i] > 51 || qp[i] < -6 * (picture.format->bit_depth - 8)) finding("qp is out of range");
  }
  mix(hash, pred.data(), blocks);
  mix(hash, ref_poc.data(), 2 * blocks);
  mix(hash, qp.data(), blocks);
  mix(hash, block_size.data(), blocks);
  mix(hash, skip.data(), blocks);
  mix(hash, buffers.mv.data(), blocks);
  mix(hash, buffers.bits.data(), buffers.bits.size());
  if (picture.detail.has_residual()) {
    const bool packed = picture.detail.form == codec::ResidualForm::kPacked;
    mix(hash, picture.residual->samples.data(), packed ? picture.residual->packed : 16 * blocks);
  }
  return hash;
}

}  // namespace ove::fuzz
