// The inverse transform of 8x8 blocks, for vectors of any width.
#pragma once

namespace ove::h264 {

// One dimension of 8.5.13.2, of as many rows or columns at a time as a vector has elements
template <class Vector>
[[gnu::always_inline]] inline void transform8(Vector* x) {
  const Vector a0 = x[0] + x[4], a2 = x[0] - x[4], a4 = (x[2] >> 1) - x[6], a6 = x[2] + (x[6] >> 1);
  const Vector b0 = a0 + a6, b2 = a2 + a4, b4 = a2 - a4, b6 = a0 - a6;
  const Vector a1 = x[5] - x[3] - x[7] - (x[7] >> 1), a3 = x[1] + x[7] - x[3] - (x[3] >> 1);
  const Vector a5 = x[7] - x[1] + x[5] + (x[5] >> 1), a7 = x[3] + x[5] + x[1] + (x[1] >> 1);
  const Vector b1 = a1 + (a7 >> 2), b7 = a7 - (a1 >> 2), b3 = a3 + (a5 >> 2), b5 = (a3 >> 2) - a5;
  x[0] = b0 + b7;
  x[1] = b2 + b5;
  x[2] = b4 + b3;
  x[3] = b6 + b1;
  x[4] = b6 - b1;
  x[5] = b4 - b3;
  x[6] = b2 - b5;
  x[7] = b0 - b7;
}

}  // namespace ove::h264
