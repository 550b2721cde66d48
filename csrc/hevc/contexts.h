// Context variables of the CABAC syntax elements (Tables 9-4 to 9-37).
#pragma once

#include <array>
#include <cstdint>

#include "bitstream/cabac.h"
#include "hevc/slice_header.h"

namespace ove::hevc {

// First context of each syntax element.
enum Context : int {
  kCtxSaoMerge = 0,
  kCtxSaoTypeIdx = kCtxSaoMerge + 1,
  kCtxSplitCuFlag = kCtxSaoTypeIdx + 1,
  kCtxCuTransquantBypass = kCtxSplitCuFlag + 3,
  kCtxCuSkip = kCtxCuTransquantBypass + 1,
  kCtxPredMode = kCtxCuSkip + 3,
  kCtxPartMode = kCtxPredMode + 1,
  kCtxPrevIntraLumaPred = kCtxPartMode + 4,
  kCtxIntraChromaPredMode = kCtxPrevIntraLumaPred + 1,
  kCtxRqtRootCbf = kCtxIntraChromaPredMode + 1,
  kCtxMergeFlag = kCtxRqtRootCbf + 1,
  kCtxMergeIdx = kCtxMergeFlag + 1,
  kCtxInterPredIdc = kCtxMergeIdx + 1,
  kCtxRefIdx = kCtxInterPredIdc + 5,
  kCtxMvpFlag = kCtxRefIdx + 2,
  kCtxSplitTransform = kCtxMvpFlag + 1,
  kCtxCbfLuma = kCtxSplitTransform + 3,
  kCtxCbfChroma = kCtxCbfLuma + 2,
  kCtxAbsMvdGreater0 = kCtxCbfChroma + 5,
  kCtxAbsMvdGreater1 = kCtxAbsMvdGreater0 + 1,
  kCtxCuQpDeltaAbs = kCtxAbsMvdGreater1 + 1,
  kCtxTransformSkip = kCtxCuQpDeltaAbs + 2,  // luma, chroma
  kCtxLastSigCoeffX = kCtxTransformSkip + 2,
  kCtxLastSigCoeffY = kCtxLastSigCoeffX + 18,
  kCtxCodedSubBlock = kCtxLastSigCoeffY + 18,      // luma 2, chroma 2
  kCtxSigCoeff = kCtxCodedSubBlock + 4,            // luma 27, chroma 15, transform skip luma, chroma
  kCtxGreater1 = kCtxSigCoeff + 44,                // luma 16, chroma 8
  kCtxGreater2 = kCtxGreater1 + 24,                // luma 4, chroma 2
  kCtxExplicitRdpcm = kCtxGreater2 + 6,            // luma, chroma
  kCtxExplicitRdpcmDir = kCtxExplicitRdpcm + 2,    // luma, chroma
  kCtxLog2ResScaleAbs = kCtxExplicitRdpcmDir + 2,  // Cb 4, Cr 4
  kCtxResScaleSign = kCtxLog2ResScaleAbs + 8,      // Cb, Cr
  kCtxCuChromaQpOffsetFlag = kCtxResScaleSign + 2,
  kCtxCuChromaQpOffsetIdx = kCtxCuChromaQpOffsetFlag + 1,
  kNumContexts = kCtxCuChromaQpOffsetIdx + 1,
};

// Everything the entropy decoder keeps from one CTU to the next, and that is stored and synchronised
// (9.3.2.3, 9.3.2.4).
struct EntropyState {
  std::array<ContextState, kNumContexts> contexts;
  std::array<std::uint8_t, 4> stat_coeff;  // StatCoeff
};

// 9.3.2.2
EntropyState initial_entropy_state(SliceType type, bool cabac_init, int slice_qp);

}  // namespace ove::hevc
