// The work that one picture is: parsing its slices, then deriving its motion.
#pragma once

#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "codec/buffers.h"
#include "codec/picture_task.h"
#include "h264/macroblock.h"
#include "h264/slice_context.h"

namespace ove::h264 {

// A frame that is shown, and the coded pictures that it is made of.
struct ShownFrame {
  std::shared_ptr<CodecPicture> frame;
  std::shared_ptr<CodedPicture> first, second;  // `second` is null unless both fields were coded apart
};

class PictureTask final : public codec::PictureTask {
 public:
  // `header` is that of the first slice. `pools` give the picture its buffers when parsing begins.
  PictureTask(std::shared_ptr<CodedPicture> picture, std::shared_ptr<const ActiveSets> sets, SliceHeader header,
              codec::BufferPools pools)
      : codec::PictureTask(picture),
        coded_(std::move(picture)),
        sets_(std::move(sets)),
        header_(std::move(header)),
        pools_(std::move(pools)) {}

  const std::shared_ptr<CodedPicture>& coded() const { return coded_; }
  const std::shared_ptr<const ActiveSets>& sets() const { return sets_; }
  const SliceHeader& header() const { return header_; }
  const SliceHeader& last_header() const { return slices_.back().header; }
  std::size_t num_slices() const { return slices_.size(); }

  void add(SliceContext slice) { slices_.push_back(std::move(slice)); }

  // The frame to show once this picture is complete. Its `frame` may be the picture itself, or null where the second
  // field is to come.
  void set_shown(ShownFrame shown);

  void parse() override;
  const std::vector<std::int64_t>& waits_for() const override { return waits_for_; }
  void derive_motion() override;
  std::shared_ptr<CodecPicture> shown() override { return shown_.frame; }

 private:
  std::shared_ptr<CodedPicture> coded_;
  std::shared_ptr<const ActiveSets> sets_;
  SliceHeader header_;
  codec::BufferPools pools_;
  std::vector<SliceContext> slices_;
  std::vector<SliceMotion> motion_;  // by slice
  ShownFrame shown_;
  std::vector<std::int64_t> waits_for_;
};

}  // namespace ove::h264
