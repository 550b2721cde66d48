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
std::vector<T> plane(const hevc::CodecPicture& picture, std::size_t count, void (hevc::CodecPicture::*copy)(T*) const) {
  std::vector<T> out(count);
  (picture.*copy)(out.data());
  return out;
}

}  // namespace

void finding(const char* what) {
  std::fprintf(stderr, "finding: %s\n", what);
  std::abort();
}

std::size_t check_picture(const hevc::CodecPicture& picture) {
  std::size_t hash = static_cast<std::size_t>(picture.poc) * 3 + static_cast<std::size_t>(picture.type);
  if (picture.detail == hevc::Detail::kHeaders) return hash;
  const auto blocks = static_cast<std::size_t>(picture.width4()) * static_cast<std::size_t>(picture.height4());
  const hevc::PictureBuffers& buffers = *picture.buffers;
  const auto pred = plane(picture, blocks, &hevc::CodecPicture::copy_pred);
  const auto ref_poc = plane(picture, 2 * blocks, &hevc::CodecPicture::copy_ref_poc);
  const auto qp = plane(picture, blocks, &hevc::CodecPicture::copy_qp);
  const auto cu_size = plane(picture, blocks, &hevc::CodecPicture::copy_cu_size);
  const auto skip = plane(picture, blocks, &hevc::CodecPicture::copy_skip);
  for (std::size_t i = 0; i < blocks; ++i) {
    if (pred[i] > 3) finding("pred is out of range");
    for (std::size_t x = 0; x < 2; ++x) {
      const bool used = pred[i] >> x & 1;
      if (!used && (buffers.mv[i][x] != hevc::Mv() || ref_poc[2 * i + x] != 0)) finding("motion of an unused list");
    }
    if (cu_size[i] < 8 || cu_size[i] > 64) finding("cu_size is out of range");
    if (skip[i] > 1 || (skip[i] && pred[i] == 0)) finding("a skipped block without motion");
    if (qp[i] > 51 || qp[i] < -6 * (picture.sps->bit_depth_luma - 8)) finding("qp is out of range");
  }
  mix(hash, pred.data(), blocks);
  mix(hash, ref_poc.data(), 2 * blocks);
  mix(hash, qp.data(), blocks);
  mix(hash, cu_size.data(), blocks);
  mix(hash, skip.data(), blocks);
  mix(hash, buffers.mv.data(), blocks);
  mix(hash, buffers.bits.data(),
      static_cast<std::size_t>(picture.sps->width_in_ctbs()) * static_cast<std::size_t>(picture.sps->height_in_ctbs()));
  if (picture.detail == hevc::Detail::kResidual) mix(hash, picture.residual->samples.data(), 16 * blocks);
  if (picture.detail == hevc::Detail::kPacked) mix(hash, picture.residual->samples.data(), picture.residual->packed);
  return hash;
}

}  // namespace ove::fuzz
