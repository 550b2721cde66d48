// The variance of a map in a window of k x k samples about each sample (k odd), borders repeated, row by row.
#pragma once

#include <functional>
#include <memory>

namespace ove::saliency {

class LocalVariance {
 public:
  // Row y of the map. Rows are asked for in ascending order, each once, as long as those of the variance are.
  using Source = std::function<const float*(int y)>;

  virtual ~LocalVariance() = default;

  int columns() const { return columns_; }
  int rows() const { return rows_; }

  // Row y of the variance, valid until the next call. Whatever lies between the last row asked for and this one is
  // computed too; an earlier row, and any first row of another map, begins anew with `source`.
  const float* row(int y, const Source& source);
  void begin() { next_ = -1; }

 protected:
  LocalVariance(int columns, int rows) : columns_(columns), rows_(rows) {}

 private:
  virtual void restart(const Source& source) = 0;
  virtual const float* advance(const Source& source) = 0;  // the next row

  int columns_, rows_;
  int next_ = -1;  // row that advance() gives, -1 before restart()
  const float* last_ = nullptr;
};

// Exact to double precision; as large as the map.
std::unique_ptr<LocalVariance> make_local_variance(int width, int height, int k);

// From integral images in single precision without a leading row and column of zeros: one row and one column smaller
// than the map, (y, x) being the variance about (y + 1, x + 1). Sums of the whole picture swallow small differences, so
// the order of operations belongs to the definition.
std::unique_ptr<LocalVariance> make_reference_local_variance(int width, int height, int k);

}  // namespace ove::saliency
