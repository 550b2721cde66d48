#include "h264/display_picture.h"

#include <algorithm>
#include <limits>
#include <string>
#include <utility>

namespace ove::h264 {

namespace {

void append(std::vector<std::int64_t>& to, const std::vector<std::int64_t>& from, std::int64_t but) {
  for (const std::int64_t index : from) {
    if (index != but && std::find(to.begin(), to.end(), index) == to.end()) to.push_back(index);
  }
}

std::int16_t doubled(std::int16_t v) {
  using Range = std::numeric_limits<std::int16_t>;
  return static_cast<std::int16_t>(std::clamp<int>(2 * v, Range::min(), Range::max()));
}

// Where the rows of 4x4 blocks of a coded picture lie in the frame.
class Placement {
 public:
  explicit Placement(const CodedPicture& coded)
      : coded_(coded), offset_(static_cast<int>(parity(coded.structure))), mbaff_(!is_field(coded.structure)) {}

  // 0 frame macroblock, 1 top field, 2 bottom field
  int field(int x4, int y4) const { return mbaff_ ? coded_.field_at(x4, y4) : offset_ + 1; }
  // Row of 4x4 blocks in the frame
  int row4(int x4, int y4) const {
    if (!mbaff_) return 2 * y4 + offset_;
    const int field = coded_.field_at(x4, y4);
    return field == 0 ? y4 : (y4 & ~7) + 2 * (y4 & 3) + field - 1;
  }
  // First luma row in the frame, and the distance of one row to the next
  std::pair<int, int> rows(int x4, int y4) const {
    if (!mbaff_) return {8 * y4 + offset_, 2};
    const int field = coded_.field_at(x4, y4);
    return field == 0 ? std::pair(4 * y4, 1) : std::pair(4 * (y4 & ~7) + 8 * (y4 & 3) + field - 1, 2);
  }
  // Row of macroblocks in the bits grid of the frame
  int macroblock_row(int row) const { return mbaff_ ? row : 2 * row + offset_; }

 private:
  const CodedPicture& coded_;
  const int offset_;
  const bool mbaff_;
};

void place_blocks(const CodedPicture& coded, std::uint16_t first_slice, CodecPicture& shown) {
  const Placement placement(coded);
  const PictureBuffers& in = *coded.buffers;
  PictureBuffers& out = *shown.buffers;
  const int width = coded.width4(), height = coded.height4();
  for (int y4 = 0; y4 < height; ++y4) {
    for (int x4 = 0; x4 < width; ++x4) {
      const auto from = static_cast<std::size_t>(y4 * width + x4);
      const auto to = static_cast<std::size_t>(placement.row4(x4, y4) * width + x4);
      const auto macroblock = static_cast<std::size_t>((y4 >> 2) * (width >> 2) + (x4 >> 2));
      const int field = placement.field(x4, y4);
      out.mv[to] = in.mv[from];
      if (field != 0) {
        for (Mv& mv : out.mv[to]) mv.y = doubled(mv.y);
      }
      out.ref_idx[to] = in.ref_idx[from];
      out.qp[to] = in.qp[macroblock];
      out.log2_size[to] = in.log2_size[macroblock];
      out.skip[to] = in.skip[macroblock];
      out.field[to] = static_cast<std::uint8_t>(field);
      out.slice_idx[to] = static_cast<std::uint16_t>(in.slice_idx[macroblock] + first_slice);
    }
  }
  for (int row = 0; row < height / 4; ++row) {
    const auto columns = static_cast<std::ptrdiff_t>(width / 4);
    std::copy_n(in.bits.begin() + row * columns, columns, out.bits.begin() + placement.macroblock_row(row) * columns);
  }
}

// The blocks of a field that was not coded: intra, without bits, in the first slice.
void place_missing_field(std::size_t p, CodecPicture& shown) {
  PictureBuffers& out = *shown.buffers;
  const auto width = static_cast<std::ptrdiff_t>(shown.width4());
  const auto fill_rows = [&](auto& grid, std::ptrdiff_t columns, auto value) {
    for (auto at = static_cast<std::ptrdiff_t>(p) * columns; at < std::ssize(grid); at += 2 * columns) {
      std::fill_n(grid.begin() + at, columns, value);
    }
  };
  fill_rows(out.mv, width, std::array<Mv, 2>{});
  fill_rows(out.ref_idx, width, std::array<std::int8_t, 2>{-1, -1});
  fill_rows(out.qp, width, std::int8_t{0});
  fill_rows(out.log2_size, width, std::uint8_t{4});
  fill_rows(out.skip, width, std::uint8_t{0});
  fill_rows(out.field, width, static_cast<std::uint8_t>(p + 1));
  fill_rows(out.slice_idx, width, std::uint16_t{0});
  fill_rows(out.bits, width / 4, std::int32_t{0});
}

// Samples of the packed residual of a coded picture, and the 4x4 blocks of the frame that they touch.
void place_residual(const CodedPicture& coded, ResidualBuffer& plane, std::vector<bool>& touched) {
  const Placement placement(coded);
  const ResidualBuffer& in = *coded.residual;
  const std::int16_t* samples = in.samples.data();
  const int width4 = coded.width4();
  for (const CodedBlock& block : in.coded) {
    const int size = block.size4 * 4;
    // A block lies within a macroblock.
    const auto [first, step] = placement.rows(block.x4, block.y4);
    for (int y = 0; y < size; ++y) {
      const int row = first + y * step;
      std::copy_n(samples, size, plane.samples.begin() + std::ptrdiff_t{row} * plane.width + block.x4 * 4);
      samples += size;
      for (int x = 0; x < block.size4; ++x)
        touched[static_cast<std::size_t>((row >> 2) * width4 + block.x4 + x)] = true;
    }
  }
}

void pack(const ResidualBuffer& plane, ResidualBuffer& packed) {
  std::int16_t* out = packed.samples.data();
  for (const CodedBlock& block : plane.coded) {
    const std::int16_t* in = plane.samples.data() + std::ptrdiff_t{block.y4} * 4 * plane.width + block.x4 * 4;
    for (int y = 0; y < 4; ++y, out += 4) std::copy_n(in + std::ptrdiff_t{y} * plane.width, 4, out);
  }
  packed.coded = plane.coded;
  packed.packed = static_cast<std::size_t>(out - packed.samples.data());
}

}  // namespace

std::shared_ptr<CodecPicture> make_shown_frame(const CodedPicture& first, const CodedPicture* second,
                                               const ActiveSets& sets) {
  // Of the first field, a thread may be at work on slices and arrays.
  auto shown = std::make_shared<CodecPicture>();
  static_cast<codec::PictureHeaders&>(*shown) = first;
  shown->tag = first.tag;
  shown->duration = first.duration;
  shown->structure = Structure::kFieldPair;
  shown->format = sets.shown_format;
  if (is_field(first.structure)) shown->duration *= 2;
  if (!second) return shown;
  shown->num_coded = 2;
  shown->type = std::min(first.type, second->type);
  shown->field_poc[parity(first.structure)] = first.poc;
  shown->field_poc[parity(second->structure)] = second->poc;
  shown->poc = std::min(first.poc, second->poc);
  shown->resets_order = first.resets_order || second->resets_order;
  shown->dropping = std::max(first.dropping, second->dropping);
  append(shown->references, second->references, first.decode_index);
  append(shown->collocated, second->collocated, first.decode_index);
  return shown;
}

void fill_shown_frame(CodedPicture& first, CodedPicture* second, const codec::BufferPools& pools, CodecPicture& shown) {
  shown.slices = first.slices;
  if (second) shown.slices.insert(shown.slices.end(), second->slices.begin(), second->slices.end());
  if (shown.slices.size() >= PictureBuffers::kNoSlice) {
    throw UnsupportedStreamError("the two fields of a frame have " + std::to_string(shown.slices.size()) +
                                 " slices together, which are too many");
  }
  // From the rows of macroblocks of a field to those of the frame
  const int columns = shown.format->columns(shown.format->log2_bits);
  const auto place_addresses = [&](const CodedPicture& coded, std::size_t begin) {
    const Placement placement(coded);
    for (std::size_t i = begin; i < begin + coded.slices.size(); ++i) {
      int& address = shown.slices[i].address;
      address = placement.macroblock_row(address / columns) * columns + address % columns;
    }
  };
  place_addresses(first, 0);
  if (second) place_addresses(*second, first.slices.size());

  shown.buffers = pools.pictures->take(*shown.format);
  place_blocks(first, 0, shown);
  if (second) {
    place_blocks(*second, static_cast<std::uint16_t>(first.slices.size()), shown);
  } else if (is_field(first.structure)) {
    place_missing_field(1 - parity(first.structure), shown);
  }
  if (!shown.detail.has_residual()) return;
  const auto plane = pools.residuals->take(*shown.format, ResidualForm::kPlane);
  plane->clear_above();
  std::vector<bool> touched(static_cast<std::size_t>(shown.width4()) * static_cast<std::size_t>(shown.height4()));
  place_residual(first, *plane, touched);
  if (second) place_residual(*second, *plane, touched);
  for (std::size_t i = 0; i < touched.size(); ++i) {
    const auto width4 = static_cast<std::size_t>(shown.width4());
    if (touched[i]) {
      plane->coded.push_back({static_cast<std::uint16_t>(i % width4), static_cast<std::uint16_t>(i / width4), 1});
    }
  }
  if (shown.detail.form == ResidualForm::kPlane) {
    shown.residual = plane;
  } else {
    shown.residual = pools.residuals->take(*shown.format, ResidualForm::kPacked);
    pack(*plane, *shown.residual);
  }
  first.residual.reset();
  if (second) second->residual.reset();
}

}  // namespace ove::h264
