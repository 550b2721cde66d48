#include "hevc/contexts.h"

namespace ove::hevc {

namespace {

constexpr int kUnused = 154;  // elements that do not occur with an initType

// initValue by initType (0: I, 1 and 2: P and B), in the order of enum Context
constexpr std::array<std::array<std::uint8_t, kNumContexts>, 3> kInitValues = {{
    {153,                                          // sao_merge
     200,                                          // sao_type_idx
     139,     141,     157,                        // split_cu_flag
     154,                                          // cu_transquant_bypass
     kUnused, kUnused, kUnused,                    // cu_skip_flag
     kUnused,                                      // pred_mode_flag
     184,     kUnused, kUnused, kUnused,           // part_mode
     184,                                          // prev_intra_luma_pred
     63,                                           // intra_chroma_pred_mode
     kUnused,                                      // rqt_root_cbf
     kUnused,                                      // merge_flag
     kUnused,                                      // merge_idx
     kUnused, kUnused, kUnused, kUnused, kUnused,  // inter_pred_idc
     kUnused, kUnused,                             // ref_idx
     kUnused,                                      // mvp_flag
     153,     138,     138,                        // split_transform_flag
     111,     141,                                 // cbf_luma
     94,      138,     182,     154,     154,      // cbf_chroma
     kUnused,                                      // abs_mvd_greater0
     kUnused,                                      // abs_mvd_greater1
     154,     154,                                 // cu_qp_delta_abs
     139,     139,                                 // transform_skip_flag
     110,     110,     124,     125,     140,     153, 125, 127, 140, 109, 111, 143, 127, 111, 79,  108,
     123,     63,  // last x
     110,     110,     124,     125,     140,     153, 125, 127, 140, 109, 111, 143, 127, 111, 79,  108,
     123,     63,                     // last y
     91,      171,     134,     141,  // coded_sub_block_flag
     111,     111,     125,     110,     110,     94,  124, 108, 124, 107, 125, 141, 179, 153, 125,  // sig_coeff_flag
     107,     125,     141,     179,     153,     125, 107, 125, 141, 179, 153, 125,                 //
     140,     139,     182,     182,     152,     136, 152, 136, 153, 136, 139, 111, 136, 139, 111,  //
     141,     111,                                                                                   //
     140,     92,      137,     138,     140,     152, 138, 139, 153, 74,  149, 92,  139, 107, 122, 152,  // greater1
     140,     179,     166,     182,     140,     227, 122, 197,                                          //
     138,     153,     136,     167,     152,     152,                                                    // greater2
     139,     139,                                                // explicit_rdpcm
     139,     139,                                                // explicit_rdpcm_dir
     154,     154,     154,     154,     154,     154, 154, 154,  // log2_res_scale_abs
     154,     154,                                                // res_scale_sign
     154,     154},                                               // cu_chroma_qp_offset
    {153, 185, 107, 139, 126, 154, 197, 185, 201, 149, 154, 139, 154, 154, 154, 152, 79,  110, 122, 95,  79,  63,
     31,  31,  153, 153, 168, 124, 138, 94,  153, 111, 149, 107, 167, 154, 154, 140, 198, 154, 154, 139, 139, 125,
     110, 94,  110, 95,  79,  125, 111, 110, 78,  110, 111, 111, 95,  94,  108, 123, 108, 125, 110, 94,  110, 95,
     79,  125, 111, 110, 78,  110, 111, 111, 95,  94,  108, 123, 108, 121, 140, 61,  154, 155, 154, 139, 153, 139,
     123, 123, 63,  153, 166, 183, 140, 136, 153, 154, 166, 183, 140, 136, 153, 154, 166, 183, 140, 136, 153, 154,
     170, 153, 123, 123, 107, 121, 107, 121, 167, 151, 183, 140, 151, 183, 140, 140, 140, 154, 196, 196, 167, 154,
     152, 167, 182, 182, 134, 149, 136, 153, 121, 136, 137, 169, 194, 166, 167, 154, 167, 137, 182, 107, 167, 91,
     122, 107, 167, 139, 139, 139, 139, 154, 154, 154, 154, 154, 154, 154, 154, 154, 154, 154, 154},
    {153, 160, 107, 139, 126, 154, 197, 185, 201, 134, 154, 139, 154, 154, 183, 152, 79,  154, 137, 95,  79,  63,
     31,  31,  153, 153, 168, 224, 167, 122, 153, 111, 149, 92,  167, 154, 154, 169, 198, 154, 154, 139, 139, 125,
     110, 124, 110, 95,  94,  125, 111, 111, 79,  125, 126, 111, 111, 79,  108, 123, 93,  125, 110, 124, 110, 95,
     94,  125, 111, 111, 79,  125, 126, 111, 111, 79,  108, 123, 93,  121, 140, 61,  154, 170, 154, 139, 153, 139,
     123, 123, 63,  124, 166, 183, 140, 136, 153, 154, 166, 183, 140, 136, 153, 154, 166, 183, 140, 136, 153, 154,
     170, 153, 138, 138, 122, 121, 122, 121, 167, 151, 183, 140, 151, 183, 140, 140, 140, 154, 196, 167, 167, 154,
     152, 167, 182, 182, 134, 149, 136, 153, 121, 136, 122, 169, 208, 166, 167, 154, 152, 167, 182, 107, 167, 91,
     107, 107, 167, 139, 139, 139, 139, 154, 154, 154, 154, 154, 154, 154, 154, 154, 154, 154, 154},
}};

}  // namespace

EntropyState initial_entropy_state(SliceType type, bool cabac_init, int slice_qp) {
  // 9-7
  const std::size_t init_type = type == SliceType::kI ? 0 : (type == SliceType::kP) != cabac_init ? 1 : 2;
  EntropyState state{};
  for (std::size_t i = 0; i < kNumContexts; ++i) state.contexts[i] = init_context(kInitValues[init_type][i], slice_qp);
  return state;
}

}  // namespace ove::hevc
