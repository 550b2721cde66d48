#include "pipeline/picture_arrays.h"

namespace ove::pipeline {

saliency::PictureView PictureArrays::view(const codec::CodecPicture& picture, const saliency::HeatParams& params,
                                          bool takes_packed, bool by_block) {
  const codec::PictureBuffers& buffers = *picture.buffers;
  const codec::PictureFormat& format = *picture.format;
  saliency::PictureView view;
  view.width = picture.width();
  view.height = picture.height();
  view.bit_depth = format.bit_depth;
  view.intra = picture.type == codec::SliceType::kI;
  view.poc = picture.poc;
  if (picture.detail.has_motion()) {
    view.mv = reinterpret_cast<const std::int16_t*>(buffers.mv.data());
    view.ref_idx = reinterpret_cast<const std::int8_t*>(buffers.ref_idx.data());
    if (by_block) {
      pred_.resize(buffers.mv.size());
      picture.copy_pred(pred_.data());
      view.pred = pred_.data();
    }
    if (params.vector == saliency::VectorMode::kDisplacement && picture.has_one_list() && !by_block) {
      for (std::size_t list = 0; list < 2; ++list) {
        list_poc_[list].clear();
        for (const codec::RefEntry& entry : picture.slices.front().ref_list[list]) list_poc_[list].push_back(entry.poc);
      }
      view.list_poc = &list_poc_;
    } else if (params.vector == saliency::VectorMode::kDisplacement) {
      ref_poc_.resize(2 * buffers.mv.size());
      picture.copy_ref_poc(ref_poc_.data());
      view.ref_poc = ref_poc_.data();
    }
  }
  if (picture.detail.has_residual()) {
    const std::int16_t* samples = picture.residual->samples.data();
    bool packed = picture.detail.form == codec::ResidualForm::kPacked;
    if (packed && !takes_packed) {
      residual_.resize(static_cast<std::size_t>(picture.width()) * static_cast<std::size_t>(picture.height()));
      picture.copy_residual(residual_.data());
      samples = residual_.data();
      packed = false;
    }
    (packed ? view.packed_residual : view.residual) = samples;
    coded_.clear();
    for (const auto& block : picture.residual->coded) coded_.push_back({block.x4, block.y4, block.size4});
    view.coded = coded_;
  }
  view.bits = buffers.bits.data();
  view.bits_rows = format.rows(format.log2_bits);
  view.bits_columns = format.columns(format.log2_bits);
  view.ctb_size = 1 << format.log2_bits;
  return view;
}

}  // namespace ove::pipeline
