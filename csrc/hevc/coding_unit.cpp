#include <algorithm>

#include "hevc/slice_data.h"

namespace ove::hevc {

void SliceDataParser::coding_quadtree(int x, int y, int log2_size, int depth) {
  if (!spreads_nodes()) return quadtree_node(x, y, log2_size, depth);
  spread_over(x, y, 1 << log2_size, [&] { quadtree_node(x, y, log2_size, depth); });
}

// 7.3.8.4
void SliceDataParser::quadtree_node(int x, int y, int log2_size, int depth) {
  const int size = 1 << log2_size;
  bool split;
  if (x + size <= sps_.width && y + size <= sps_.height && log2_size > sps_.log2_min_cb) {
    split = parse_split_cu_flag(x, y, depth);
  } else {
    split = log2_size > sps_.log2_min_cb;
  }
  if (pps_.cu_qp_delta_enabled && log2_size >= log2_min_cu_qp_delta_size_) start_quantization_group(x, y);
  if (header_->cu_chroma_qp_offset_enabled && log2_size >= log2_min_cu_chroma_qp_offset_size_) {
    cu_chroma_qp_offset_coded_ = false;
  }
  if (!split) {
    return spread_over(x, y, size, [&] { coding_unit(x, y, log2_size); });
  }
  const int half = size >> 1;
  for (int part = 0; part < 4; ++part) {
    const int px = x + (part & 1) * half, py = y + (part >> 1) * half;
    if (px < sps_.width && py < sps_.height) coding_quadtree(px, py, log2_size - 1, depth + 1);
  }
}

// 9.3.4.2.2: contexts from the left and upper neighbours' depth
bool SliceDataParser::parse_split_cu_flag(int x, int y, int depth) {
  int inc = 0;
  const auto deeper = [&](int nx, int ny) { return sps_.log2_ctb - out_.log2_size[min_cb_index(nx, ny)] > depth; };
  if ((x > ctb_x_ || left_available_) && deeper(x - 1, y)) ++inc;
  if ((y > ctb_y_ || up_available_) && deeper(x, y - 1)) ++inc;
  return decision(kCtxSplitCuFlag + inc);
}

bool SliceDataParser::parse_cu_skip_flag(int x, int y) {
  int inc = 0;
  if ((x > ctb_x_ || left_available_) && out_.skip[min_cb_index(x - 1, y)]) ++inc;
  if ((y > ctb_y_ || up_available_) && out_.skip[min_cb_index(x, y - 1)]) ++inc;
  return decision(kCtxCuSkip + inc);
}

// 7.3.8.5
void SliceDataParser::coding_unit(int x, int y, int log2_size) {
  CodingUnit cu{.x = x, .y = y, .log2_size = log2_size};
  const int size = 1 << log2_size;
  const bool inter_slice = !header_->is_intra();
  update_qp();
  cu.transquant_bypass = pps_.transquant_bypass_enabled && decision(kCtxCuTransquantBypass);
  if (inter_slice && parse_cu_skip_flag(x, y)) {
    prediction_unit(cu, 0, x, y, size, size, true);
    set_luma_modes(x, y, size, 1);
    finish_coding_unit(cu, true);
    return;
  }
  cu.intra = !inter_slice || decision(kCtxPredMode);
  if (!cu.intra || log2_size == sps_.log2_min_cb) cu.part_mode = parse_part_mode(cu);

  bool root_cbf = true;
  if (cu.intra) {
    if (cu.part_mode == PartMode::k2Nx2N && sps_.pcm_enabled && log2_size >= sps_.log2_min_pcm_cb &&
        log2_size <= sps_.log2_max_pcm_cb && cabac_.terminate()) {
      pcm_sample(cu);
      set_luma_modes(x, y, size, 1);
      finish_coding_unit(cu, false);
      return;
    }
    if (spreads_nodes()) {
      leave_to_ctu([&] { parse_intra_modes(cu); });
    } else {
      parse_intra_modes(cu);
    }
  } else {
    bool first_is_merge = false;
    inter_prediction_units(cu, first_is_merge);
    set_luma_modes(x, y, size, 1);
    if (!(cu.part_mode == PartMode::k2Nx2N && first_is_merge)) root_cbf = decision(kCtxRqtRootCbf);
  }
  if (root_cbf) {
    cu.max_trafo_depth = cu.intra ? sps_.max_transform_hierarchy_depth_intra + (cu.part_mode == PartMode::kNxN)
                                  : sps_.max_transform_hierarchy_depth_inter;
    transform_tree(cu, x, y, x, y, log2_size, 0, 0, {});
  }
  finish_coding_unit(cu, false);
}

void SliceDataParser::finish_coding_unit(const CodingUnit& cu, bool skip) {
  const int count = 1 << (cu.log2_size - sps_.log2_min_cb);
  const std::size_t at = min_cb_index(cu.x, cu.y);
  fill_block(out_.qp.data() + at, min_cb_stride_, count, count, static_cast<std::int8_t>(qp_));
  fill_block(out_.log2_size.data() + at, min_cb_stride_, count, count, static_cast<std::uint8_t>(cu.log2_size));
  fill_block(out_.skip.data() + at, min_cb_stride_, count, count, static_cast<std::uint8_t>(skip));
  if (cu.intra) {
    const int width4 = sps_.width >> 2, size4 = 1 << (cu.log2_size - 2);
    fill_block(out_.mv.data() + static_cast<std::ptrdiff_t>(cu.y >> 2) * width4 + (cu.x >> 2), width4, size4, size4,
               {});
  }
  last_qp_ = qp_;
}

// 9.3.3.7, Table 9-43
PartMode SliceDataParser::parse_part_mode(const CodingUnit& cu) {
  if (decision(kCtxPartMode)) return PartMode::k2Nx2N;
  if (cu.intra) return PartMode::kNxN;
  const bool horizontal = decision(kCtxPartMode + 1);
  if (cu.log2_size == sps_.log2_min_cb) {
    if (horizontal) return PartMode::k2NxN;
    if (cu.log2_size == 3) return PartMode::kNx2N;
    return decision(kCtxPartMode + 2) ? PartMode::kNx2N : PartMode::kNxN;
  }
  if (!sps_.amp_enabled || decision(kCtxPartMode + 3)) return horizontal ? PartMode::k2NxN : PartMode::kNx2N;
  const bool second = cabac_.bypass();
  if (horizontal) return second ? PartMode::k2NxnD : PartMode::k2NxnU;
  return second ? PartMode::knRx2N : PartMode::knLx2N;
}

void SliceDataParser::inter_prediction_units(const CodingUnit& cu, bool& first_is_merge) {
  const std::size_t first = units_->size();
  const int size = 1 << cu.log2_size, half = size / 2, quarter = size / 4;
  const auto rows = [&](int top) {
    prediction_unit(cu, 0, cu.x, cu.y, size, top, false);
    prediction_unit(cu, 1, cu.x, cu.y + top, size, size - top, false);
  };
  const auto columns = [&](int left) {
    prediction_unit(cu, 0, cu.x, cu.y, left, size, false);
    prediction_unit(cu, 1, cu.x + left, cu.y, size - left, size, false);
  };
  switch (cu.part_mode) {
    case PartMode::k2Nx2N:
      prediction_unit(cu, 0, cu.x, cu.y, size, size, false);
      break;
    case PartMode::k2NxN:
      rows(half);
      break;
    case PartMode::kNx2N:
      columns(half);
      break;
    case PartMode::k2NxnU:
      rows(quarter);
      break;
    case PartMode::k2NxnD:
      rows(size - quarter);
      break;
    case PartMode::knLx2N:
      columns(quarter);
      break;
    case PartMode::knRx2N:
      columns(size - quarter);
      break;
    case PartMode::kNxN:
      for (int part = 0; part < 4; ++part) {
        prediction_unit(cu, part, cu.x + (part & 1) * half, cu.y + (part >> 1) * half, half, half, false);
      }
      break;
  }
  first_is_merge = (*units_)[first].merge;
}

// 7.3.8.6
void SliceDataParser::prediction_unit(const CodingUnit& cu, int part_idx, int x, int y, int width, int height,
                                      bool skip) {
  PredictionUnit pu{.x = static_cast<std::uint16_t>(x),
                    .y = static_cast<std::uint16_t>(y),
                    .width = static_cast<std::uint8_t>(width),
                    .height = static_cast<std::uint8_t>(height),
                    .log2_cb = static_cast<std::uint8_t>(cu.log2_size),
                    .part_mode = cu.part_mode,
                    .part_idx = static_cast<std::uint8_t>(part_idx),
                    .merge = true,
                    .merge_idx = 0,
                    .mvp_flag = {0, 0},
                    .ref_idx = {-1, -1},
                    .mvd = {}};
  pu.merge = skip || decision(kCtxMergeFlag);
  if (pu.merge) {
    pu.merge_idx = static_cast<std::uint8_t>(parse_merge_idx());
    units_->push_back(pu);
    return;
  }
  bool use[2] = {true, false};
  if (header_->type == SliceType::kB) {
    const int depth = sps_.log2_ctb - cu.log2_size;
    if (width + height != 12 && decision(kCtxInterPredIdc + depth)) {
      use[1] = true;
    } else if (decision(kCtxInterPredIdc + 4)) {
      use[0] = false;
      use[1] = true;
    }
  }
  for (std::size_t list = 0; list < 2; ++list) {
    if (!use[list]) continue;
    pu.ref_idx[list] = static_cast<std::int8_t>(parse_ref_idx(header_->num_ref_idx_active[list]));
    if (list == 0 || !header_->mvd_l1_zero || !use[0]) pu.mvd[list] = parse_mvd();
    pu.mvp_flag[list] = static_cast<std::uint8_t>(decision(kCtxMvpFlag));
  }
  units_->push_back(pu);
}

int SliceDataParser::parse_merge_idx() {
  const int max = header_->max_num_merge_cand - 1;
  if (max == 0 || !decision(kCtxMergeIdx)) return 0;
  int idx = 1;
  while (idx < max && cabac_.bypass()) ++idx;
  return idx;
}

int SliceDataParser::parse_ref_idx(int count) {
  const int max = count - 1;
  int idx = 0;
  while (idx < max && (idx < 2 ? decision(kCtxRefIdx + idx) : cabac_.bypass())) ++idx;
  return idx;
}

// 7.3.8.9
Mv SliceDataParser::parse_mvd() {
  const int greater0[2] = {decision(kCtxAbsMvdGreater0), decision(kCtxAbsMvdGreater0)};
  int greater1[2] = {0, 0};
  for (int i = 0; i < 2; ++i) {
    if (greater0[i]) greater1[i] = decision(kCtxAbsMvdGreater1);
  }
  int value[2];
  for (int i = 0; i < 2; ++i) {
    value[i] = greater0[i];
    if (greater1[i]) value[i] = 2 + exp_golomb_bypass(1);
    if (greater0[i] && cabac_.bypass()) value[i] = -value[i];
    if (value[i] < -32768 || value[i] > 32767)
      throw InvalidBitstreamError("a motion vector difference is out of range");
  }
  return {static_cast<std::int16_t>(value[0]), static_cast<std::int16_t>(value[1])};
}

// 7.3.8.7, which starts after the bit-wise alignment that ends the arithmetic codeword
void SliceDataParser::pcm_sample(const CodingUnit& cu) {
  const std::size_t luma = std::size_t{1} << (2 * cu.log2_size);
  const std::size_t chroma = sps_.chroma_array_type == 0   ? 0
                             : sps_.chroma_array_type == 1 ? luma / 2
                             : sps_.chroma_array_type == 2 ? luma
                                                           : luma * 2;
  const std::size_t bits = luma * static_cast<std::size_t>(sps_.pcm_bit_depth_luma) +
                           chroma * static_cast<std::size_t>(sps_.pcm_bit_depth_chroma);
  const std::size_t next = substream_begin_ + (cabac_.position() + 7) / 8 + (bits + 7) / 8;
  if (next > data_.size()) throw InvalidBitstreamError("slice data ends inside PCM samples");
  cabac_ = Cabac(data_.subspan(next));
  substream_begin_ = next;
}

}  // namespace ove::hevc
