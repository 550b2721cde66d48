// The variance of a map in a window of k x k samples about each sample (k odd), borders repeated.
#pragma once

#include <span>

namespace ove::saliency {

// Maps are row after row, `width` samples wide; `out` is as large as `map`.
void local_variance(std::span<const float> map, int width, int k, std::span<float> out);

// The same from integral images in single precision without a leading row and column of zeros: `out` is one row and one
// column smaller, out(y, x) being the variance about (y + 1, x + 1). Sums of the whole picture swallow small
// differences, so the order of operations belongs to the definition.
void reference_local_variance(std::span<const float> map, int width, int k, std::span<float> out);

}  // namespace ove::saliency
