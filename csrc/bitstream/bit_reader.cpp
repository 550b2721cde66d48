#include "bitstream/bit_reader.h"

#include <string>

namespace ove {

bool BitReader::more_rbsp_data() const {
  std::size_t last = data_.size();
  while (last > 0 && data_[last - 1] == 0) --last;
  if (last == 0) return false;
  const std::size_t stop_bit = (last - 1) * 8 + 7 - static_cast<std::size_t>(std::countr_zero(data_[last - 1]));
  return position_ < stop_bit;
}

void BitReader::throw_end() { throw InvalidBitstreamError("a header ends before its last syntax element"); }

void BitReader::throw_range(const char* name, std::int64_t value, std::int64_t limit) {
  throw InvalidBitstreamError(std::string(name) + " is " + std::to_string(value) + ", beyond its limit of " +
                              std::to_string(limit));
}

}  // namespace ove
