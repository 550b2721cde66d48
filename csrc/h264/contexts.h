// Context variables of CABAC (9.3.1.1), numbered by ctxIdx of Table 9-34.
#pragma once

#include <array>
#include <cstdint>

#include "bitstream/cabac.h"
#include "codec/picture.h"

namespace ove::h264 {

// First context of each syntax element.
enum Context : int {
  kCtxMbTypeI = 3,
  kCtxMbSkipP = 11,
  kCtxMbTypeP = 14,
  kCtxMbTypeIntraInP = 17,
  kCtxSubMbTypeP = 21,
  kCtxMbSkipB = 24,
  kCtxMbTypeB = 27,
  kCtxMbTypeIntraInB = 32,
  kCtxSubMbTypeB = 36,
  kCtxMvdX = 40,
  kCtxMvdY = 47,
  kCtxRefIdx = 54,
  kCtxMbQpDelta = 60,
  kCtxIntraChromaPredMode = 64,
  kCtxPrevIntraPredMode = 68,
  kCtxRemIntraPredMode = 69,
  kCtxMbFieldDecoding = 70,
  kCtxCodedBlockPatternLuma = 73,
  kCtxCodedBlockPatternChroma = 77,
  kCtxCodedBlock = 85,
  kCtxSignificantFrame = 105,
  kCtxLastFrame = 166,
  kCtxCoeffAbsLevel = 227,
  kCtxSignificantField = 277,
  kCtxLastField = 338,
  kCtxTransformSize8x8 = 399,
  kCtxSignificant8x8Frame = 402,
  kCtxLast8x8Frame = 417,
  kCtxCoeffAbsLevel8x8 = 426,
  kCtxSignificant8x8Field = 436,
  kCtxLast8x8Field = 451,
  kCtxCodedBlock8x8 = 460,  // ctxIdx 1012
  kNumContexts = 464,
};

// The contexts of Cb and Cr blocks of 4:4:4 (ctxIdx 460 to 1011 and 1016 to 1023) begin as those of luma and lie
// kNumContexts and twice as many behind them.
using Contexts = std::array<ContextState, 3 * kNumContexts>;

// 9.3.1.1. Those of Cb and Cr only with `chroma_444`.
void init_contexts(codec::SliceType type, int cabac_init_idc, int slice_qp, bool chroma_444, Contexts& contexts);

}  // namespace ove::h264
