// Slice segment data (7.3.8): CABAC parsing of one picture. Nothing here depends on the value of a motion vector or on
// another picture, so pictures parse independently of each other.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "bitstream/cabac.h"
#include "hevc/contexts.h"
#include "hevc/picture.h"
#include "hevc/prediction_unit.h"
#include "hevc/transform.h"

namespace ove::hevc {

// The slice segments of one picture, parsed in their order.
class SliceDataParser {
 public:
  // `buffers` receives everything but motion and the residual, which goes to `residual` unless that is null.
  SliceDataParser(const Sps& sps, const Pps& pps, const TileLayout& tiles, PictureBuffers& buffers,
                  ResidualBuffer* residual, codec::BitsRule bits_rule = codec::BitsRule::kExact);

  // Appends the segment's prediction blocks to `units` in decoding order. `data` is the RBSP from the first byte after
  // the slice segment header. Throws InvalidBitstreamError.
  void parse(const SliceHeader& header, std::uint16_t slice_idx, std::span<const std::uint8_t> data,
             std::vector<PredictionUnit>& units);

  bool covers_picture() const { return ctbs_parsed_ == sps_.size_in_ctbs(); }

 private:
  struct CodingUnit {
    int x, y, log2_size;
    PartMode part_mode = PartMode::k2Nx2N;
    bool intra = false, transquant_bypass = false;
    int max_trafo_depth = 0;
    std::array<std::uint8_t, 4> intra_luma{};     // IntraPredModeY by part
    std::array<std::uint8_t, 4> intra_chroma{};   // IntraPredModeC by part
    std::array<bool, 4> chroma_from_luma_mode{};  // intra_chroma_pred_mode is 4
  };
  // Chroma coded block flags of a node of the transform tree: bit 0, and bit 1 for the lower block of 4:2:2.
  struct ChromaCbf {
    int cb = 0, cr = 0;
    bool any() const { return (cb | cr) != 0; }
  };
  struct ResidualBlock {
    int x, y, log2_size, c_idx;
    int intra_mode;  // of the block's component; -1 in inter coding units
  };

  // ctu.cpp: the order of CTUs, entropy synchronisation and SAO syntax
  void start_ctu(int rs, bool first_in_segment);
  bool finish_ctu(int rs);
  std::size_t byte_position() const { return substream_begin_ + cabac_.bytes_behind_offset(); }
  std::size_t bit_position() const {
    return bits_rule_ == codec::BitsRule::kWholeBytes ? 8 * byte_position() : 8 * substream_begin_ + cabac_.position();
  }
  void spread_bits(std::size_t bits, int x, int y, int size);
  // Parses, and spreads the bits that this takes, but for those already spread meanwhile, over a square of luma
  // samples.
  template <class Parse>
  void spread_over(int x, int y, int size, Parse parse) {
    if (out_.block_bits.empty()) return parse();
    const std::size_t begin = bit_position(), before = spread_ + for_ctu_;
    parse();
    spread_bits(bit_position() - begin - (spread_ + for_ctu_ - before), x, y, size);
  }
  // codec-video-prep spreads the bits of every node of the quadtree, split_cu_flag included. Those of intra modes count
  // for the CTU.
  bool spreads_nodes() const { return bits_rule_ == codec::BitsRule::kWholeBytes && !out_.block_bits.empty(); }
  // Parses, and leaves the bits that this takes to the CTU.
  template <class Parse>
  void leave_to_ctu(Parse parse) {
    const std::size_t begin = bit_position();
    parse();
    for_ctu_ += bit_position() - begin;
  }
  bool same_slice_and_tile(int rs, int other) const;
  void parse_sao();
  void parse_sao_component(int c_idx);

  // coding_unit.cpp
  void coding_quadtree(int x, int y, int log2_size, int depth);
  void quadtree_node(int x, int y, int log2_size, int depth);
  bool parse_split_cu_flag(int x, int y, int depth);
  bool parse_cu_skip_flag(int x, int y);
  void coding_unit(int x, int y, int log2_size);
  PartMode parse_part_mode(const CodingUnit& cu);
  void inter_prediction_units(const CodingUnit& cu, bool& first_is_merge);
  void prediction_unit(const CodingUnit& cu, int part_idx, int x, int y, int width, int height, bool skip);
  int parse_merge_idx();
  int parse_ref_idx(int count);
  Mv parse_mvd();
  void pcm_sample(const CodingUnit& cu);
  void finish_coding_unit(const CodingUnit& cu, bool skip);

  // intra_mode.cpp
  void parse_intra_modes(CodingUnit& cu);
  int derive_luma_mode(int x4, int y4, bool prev_flag, int coded);
  void set_luma_modes(int x, int y, int size, int mode);

  // transform_tree.cpp
  void transform_tree(const CodingUnit& cu, int x, int y, int x_base, int y_base, int log2_size, int depth, int blk_idx,
                      ChromaCbf parent);
  void transform_unit(const CodingUnit& cu, int x, int y, int x_base, int y_base, int log2_size, int blk_idx,
                      bool cbf_luma, ChromaCbf cbf);
  void chroma_residuals(const CodingUnit& cu, int x, int y, int log2_size, int part, bool cbf_luma, ChromaCbf cbf);
  int parse_chroma_cbf(int context, bool two);
  void parse_cu_qp_delta();
  void parse_cu_chroma_qp_offset();
  void start_quantization_group(int x, int y);
  void update_qp();

  // residual_coding.cpp
  void residual_coding(const CodingUnit& cu, const ResidualBlock& block);
  template <bool kLuma>
  void residual_coding(const CodingUnit& cu, const ResidualBlock& block);

  int decision(int context) { return cabac_.decision(state_.contexts[static_cast<std::size_t>(context)]); }
  int exp_golomb_bypass(int k);
  std::size_t min_cb_index(int x, int y) const {
    return static_cast<std::size_t>((y >> sps_.log2_min_cb) * min_cb_stride_ + (x >> sps_.log2_min_cb));
  }

  const Sps& sps_;
  const Pps& pps_;
  const TileLayout& tiles_;
  PictureBuffers& out_;
  ResidualBuffer* const residual_;
  const codec::BitsRule bits_rule_;
  const int min_cb_stride_;
  const int log2_min_cu_qp_delta_size_, log2_min_cu_chroma_qp_offset_size_;
  const InverseTransforms& transforms_ = inverse_transforms();

  // of the segment
  const SliceHeader* header_ = nullptr;
  std::span<const std::uint8_t> data_;
  std::vector<PredictionUnit>* units_ = nullptr;
  std::uint16_t slice_idx_ = 0;
  Cabac cabac_;
  EntropyState state_;
  std::size_t substream_begin_ = 0;  // byte of data_ where cabac_ started
  std::size_t ctu_begin_ = 0;        // bit of data_
  std::size_t byte_begin_ = 0;       // with BitsRule::kWholeBytes: where the coding quadtree begins

  // of the picture
  std::vector<int> slice_address_;  // by CTB, -1 where nothing was parsed
  EntropyState segment_end_state_, wpp_state_;
  int wpp_state_ctb_ = -1;  // raster address of the CTB after which wpp_state_ was stored
  bool has_segment_end_state_ = false;
  int ctbs_parsed_ = 0;

  // of the CTU
  int ctb_x_ = 0, ctb_y_ = 0;  // luma samples
  bool left_available_ = false, up_available_ = false;
  std::size_t for_ctu_ = 0;                                  // bits that leave_to_ctu() has seen
  std::size_t spread_ = 0;                                   // bits of it that spread_bits() gave to blocks inside it
  std::array<std::uint8_t, 16> left_modes_{}, top_modes_{};  // IntraPredModeY beside the current block, by 4 samples

  // of the quantization group
  bool cu_qp_delta_coded_ = false, cu_chroma_qp_offset_coded_ = false;
  int cu_qp_delta_ = 0;
  int qp_prediction_ = 0;
  int qp_ = 0;       // QpY of the current coding unit
  int last_qp_ = 0;  // QpY of the previous coding unit in decoding order

  CoefficientBlock coefficients_;
};

}  // namespace ove::hevc
