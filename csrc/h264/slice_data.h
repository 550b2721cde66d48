// Slice data (7.3.4, 7.3.5): parsing of one picture. Nothing here depends on the value of a motion vector or on another
// picture, so pictures parse independently of each other.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <span>
#include <type_traits>
#include <vector>

#include "bitstream/cabac.h"
#include "h264/cavlc.h"
#include "h264/contexts.h"
#include "h264/macroblock.h"
#include "h264/slice_context.h"
#include "h264/transform.h"

namespace ove::h264 {

// What later macroblocks need of one for their contexts: its right and bottom edges.
struct alignas(64) MbRecord {
  static constexpr std::uint8_t kNotSkip = 1, kNotDirect = 2, kNotIntraNxN = 4, kTransform8x8 = 8, kField = 16,
                                kChromaMode = 32, kPcm = 64;

  struct alignas(2) AbsMvd {
    std::uint8_t x = 0, y = 0;  // up to kMax: larger ones make no difference
    static constexpr int kMax = 127;
  };
  struct Coefficients {
    std::array<std::uint8_t, 4> bottom, right;
  };

  // By plane: number of coefficients (CAVLC) or whether there are any (CABAC) of 4x4 blocks. Chroma blocks lie in the
  // lower right corner of the 4x4 grid.
  std::array<Coefficients, 3> coefficients{};
  std::array<std::array<AbsMvd, 4>, 2> mvd_bottom{}, mvd_right{};  // by list
  std::uint8_t flags = 0;
  std::uint8_t cbp = 0;                   // CodedBlockPatternLuma | CodedBlockPatternChroma << 4
  std::uint8_t coded_dc = 0;              // coded_block_flag of the DC block by plane
  std::array<std::uint8_t, 2> ref_idx{};  // by list: quadrants whose ref_idx is over 0, and over 1 from bit 4 on

  bool has(std::uint8_t flag) const { return (flags & flag) != 0; }
};
static_assert(sizeof(MbRecord) == 64);

// The slices of one picture, parsed in their order.
class SliceDataParser {
 public:
  // Writes everything but motion into `picture.buffers`, and the residual unless `picture.residual` is null.
  SliceDataParser(const ActiveSets& sets, CodedPicture& picture);

  // Appends to `motion`. Throws InvalidBitstreamError.
  void parse(const SliceContext& slice, SliceMotion& motion);

  bool covers_picture() const { return parsed_ == size_in_mbs_; }

 private:
  // A 4x4 grid of blocks, 8 a row, with the blocks above and to the left of the macroblock.
  static constexpr int kGridRow = 8, kGridOrigin = 12;
  template <class T>
  using Grid = std::array<T, 5 * kGridRow>;
  static constexpr std::size_t grid_at(int x4, int y4) {
    return static_cast<std::size_t>(kGridOrigin + y4 * kGridRow + x4);
  }

  // Lists that a partition uses: bit 0 list 0, bit 1 list 1
  struct Macroblock {
    MbType type = MbType::kSkip;
    bool transform_8x8 = false;
    int cbp = 0;  // as MbRecord::cbp
    int intra16x16_mode = 0;
    bool chroma_mode = false;  // intra_chroma_pred_mode is not 0
    std::array<SubMbType, 4> sub{};
    std::array<std::uint8_t, 4> lists{};  // by 8x8 quadrant
    bool ref_idx_is_0 = false;            // P_8x8ref0
    bool intra() const { return is_intra(type); }
    // Field by field, because a copy would wait for the parts that it is made of.
    void reset() {
      transform_8x8 = chroma_mode = ref_idx_is_0 = false;
      cbp = 0;
      sub.fill(SubMbType::kSub8x8);
    }
  };
  // mb_type of Tables 7-11, 7-13 or 7-14, and the table
  struct CodedType {
    int value;
    bool intra;
  };

  // slice_data.cpp: the order of macroblocks, and what begins and ends each
  void parse_cabac();
  void parse_cavlc();
  void start_row();
  void start_macroblock();
  void find_neighbours();
  void find_neighbours_mbaff();
  void start_pair();
  void set_field(bool field);
  void next_macroblock();
  void skip_macroblock();
  void finish_macroblock(std::size_t position);
  void finish_slice(std::size_t bits);

  // macroblock.cpp: 7.3.5
  template <class Reader>
  void macroblock_layer();
  void set_type(CodedType coded);
  void set_inter_type(int value);
  template <bool kCabac>
  void pcm_samples();
  template <class Reader>
  void intra_prediction(Reader& reader);
  template <class Reader>
  void sub_mb_types(Reader& reader);
  template <class Reader>
  void inter_prediction();
  template <class Reader, int kWidth, int kHeight>
  void partitions(InterMacroblock& out);
  InterMacroblock& append_macroblock();
  void change_qp(int delta);
  bool may_be_transform_8x8() const;
  void keep_record();
  void gather_motion();

  // intra_modes.cpp: 8.3.1.1, 8.3.2.1, for lossless macroblocks alone
  void derive_intra_mode(int block, int size4, int coded);
  int intra_mode_at(int x4, int y4) const;

  // Where the coefficients of a block go
  struct Target {
    std::int32_t* out;          // null: parsed and dropped
    const std::uint8_t* scan;   // position by index
    const std::int32_t* scale;  // LevelScale by position, null for levels as they are
    int qp_per;                 // QP'Y / 6
    int shift;                  // of the scaled value, after rounding

    // `index` in the scan of the block
    [[gnu::always_inline]] void put(int index, std::int32_t level) const {
      const std::size_t at = scan[index];
      if (scale == nullptr) {
        out[at] = level;
        return;
      }
      const std::int64_t scaled = ((std::int64_t{level} * scale[at] << qp_per) + (1 << shift >> 1)) >> shift;
      out[at] = static_cast<std::int32_t>(scaled);
      if (scaled < -kMaxCoefficient || scaled > kMaxCoefficient) [[unlikely]]
        out[at] = static_cast<std::int32_t>(std::clamp(scaled, -kMaxCoefficient, kMaxCoefficient));
    }
  };
  // ctxBlockCat of Table 9-42; those of Cb and Cr in 4:4:4 are those of luma with another plane
  enum Category : int { kLumaDc, kLumaAc, kLuma4x4, kChromaDc, kChromaAc, kLuma8x8 };

  // residual.cpp: 7.3.5.3
  template <bool kCabac>
  void residual();
  template <bool kCabac>
  void residual_luma(int plane);
  template <bool kCabac>
  void residual_16x16(int plane);
  template <bool kCabac>
  void residual_chroma();
  template <bool kCabac, Category kCategory>
  int residual_block(int plane, int x4, int y4, int first, int count, const Target& target);
  void gather_coefficients(int first_plane, int end_plane);
  void keep_coefficients(int first_plane, int end_plane);
  bool has_coded_dc(const MbRecord& record, int plane) const { return (record.coded_dc >> plane & 1) != 0; }
  void reconstruct_16x16();
  void reconstruct_block(int x4, int y4, int size4, std::int32_t* coefficients, bool only_dc = false);
  void prepare_scaling();

  // The syntax elements, from either entropy decoder: mb_cabac.h (9.3.2, 9.3.3) and mb_cavlc.cpp (9.1, 9.2)
  bool read_mb_skip_flag(Cabac& cabac);
  bool read_mb_field_decoding_flag(Cabac& cabac);
  CodedType read_mb_type(Cabac& cabac);
  CodedType read_mb_type(CavlcReader& reader);
  int read_mb_type_intra(Cabac& cabac, int context);
  int read_sub_mb_type(Cabac& cabac);
  int read_sub_mb_type(CavlcReader& reader);
  bool read_transform_size_8x8_flag(Cabac& cabac);
  bool read_transform_size_8x8_flag(CavlcReader& reader);
  int read_coded_block_pattern(Cabac& cabac);
  int read_coded_block_pattern(CavlcReader& reader);
  int read_mb_qp_delta(Cabac& cabac);
  int read_mb_qp_delta(CavlcReader& reader);
  int read_intra_pred_mode(Cabac& cabac);  // -1: the predicted one, else rem_intra_pred_mode
  int read_intra_pred_mode(CavlcReader& reader);
  int read_intra_chroma_pred_mode(Cabac& cabac);
  int read_intra_chroma_pred_mode(CavlcReader& reader);
  int read_ref_idx(Cabac& cabac, int list, int quadrant, int count);
  int read_ref_idx(CavlcReader& reader, int list, int quadrant, int count);
  Mv read_mvd(Cabac& cabac, int list, int x4, int y4);
  Mv read_mvd(CavlcReader& reader, int list, int x4, int y4);
  int read_mvd_component(Cabac& cabac, int context, int sum);

  // residual_cabac.cpp, residual_cavlc.cpp: one block; returns 0 where it has no coefficients, else their number
  // (CAVLC) or that up to the last one of the scan, zeros too (CABAC). `first` and `count`: index in the scan of the
  // first coefficient, number of coefficients. `coded_increment`: of the context of coded_block_flag, negative where it
  // does not come. (x4, y4): place in the grid of the plane.
  template <Category kCategory>
  int cabac_residual_block(int plane, int coded_increment, int first, int count, const Target& target);
  int cavlc_residual_block(int nc, int first, int count, const Target& target);
  int cavlc_nc(int plane, int x4, int y4) const;  // 9.2.1: of a block of the grid

  [[gnu::always_inline]] int decision(Cabac& cabac, int context) {
    return cabac.decision(contexts_[static_cast<std::size_t>(context)]);
  }
  // The entropy decoder between functions, each of which works on a copy, so that it stays in registers.
  template <class Reader>
  Reader& reader() {
    if constexpr (std::is_same_v<Reader, Cabac>) {
      return cabac_;
    } else {
      return cavlc_;
    }
  }
  int num_ref_idx(std::size_t list) const { return header_->num_ref_idx_active[list] << (mbaff_ && field_ ? 1 : 0); }
  bool lossless() const { return sps_.qpprime_y_zero_transform_bypass && qp_ + qp_bd_offset_ == 0; }

  const Sps& sps_;
  CodedPicture& picture_;
  PictureBuffers& out_;
  ResidualBuffer* const residual_;
  const bool mbaff_;
  const int field_kind_;  // PictureBuffers::field of a frame macroblock: 0, or 1 or 2 in field pictures
  const int width_in_mbs_, size_in_mbs_;
  const int qp_bd_offset_;
  std::vector<MbRecord> records_;         // of two rows of macroblocks (MBAFF: of pairs), by turns; pairs side by side
  std::vector<std::int8_t> intra_modes_;  // Intra4x4PredMode by macroblock and block in raster order; only lossless SPS
  int parsed_ = 0;

  // of the slice
  const Pps* pps_ = nullptr;
  const SliceContext* slice_ = nullptr;
  const SliceHeader* header_ = nullptr;
  SliceMotion* motion_ = nullptr;
  std::span<const std::uint8_t> cabac_data_;
  Cabac cabac_;
  std::size_t cabac_begin_ = 0;  // bit of cabac_data_ where cabac_ started
  Contexts contexts_;
  CavlcReader cavlc_{{}, 0};
  const Pps* scaling_pps_ = nullptr;  // that level_scales_ are of
  LevelScales level_scales_;
  int qp_ = 0;                // QPY, running
  int last_qp_delta_ = 0;     // mb_qp_delta of the previous macroblock
  std::size_t mb_begin_ = 0;  // bit where the current macroblock began

  // of the macroblock
  int mb_addr_ = 0, mb_x_ = 0, mb_y_ = 0;  // as stored
  std::size_t mb_index_ = 0;
  bool field_ = false;   // field macroblock of an MBAFF frame
  bool bottom_ = false;  // of its pair
  bool field_scan_ = false;
  MbRecord* record_ = nullptr;
  MbRecord none_;                          // stands for a neighbour that is not available
  std::array<const MbRecord*, 4> left_{};  // beside each row of 4x4 blocks
  std::array<std::uint8_t, 4> left_row_{0, 1, 2, 3};
  const MbRecord* above_ = nullptr;
  // of the same, for intra modes: index of the macroblock, negative where it is not available
  std::array<std::ptrdiff_t, 4> left_index_{};
  std::ptrdiff_t above_index_ = -1;
  Macroblock mb_;
  std::array<Grid<std::uint8_t>, 3> coefficient_grid_{};
  std::array<Grid<MbRecord::AbsMvd>, 2> mvd_grid_{};
  std::array<std::array<std::uint8_t, 12>, 2> ref_idx_grid_{};  // 2x2 quadrants, 4 a row, likewise: over 0 or not
  alignas(64) std::array<std::int32_t, 256> coefficients_{};    // all zero between blocks
  std::array<std::int32_t, 16> dc_{};
  const InverseTransform transform_8x8_ = fastest_transform_8x8();
};

}  // namespace ove::h264
