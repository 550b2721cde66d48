// Where the decoder finds what a picture needs beside its own slices: in the stream before it, or in an index of it.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <utility>
#include <vector>

#include "bitstream/nal.h"
#include "codec/decoder.h"
#include "h264/dpb.h"
#include "h264/poc.h"
#include "h264/ref_pic_lists.h"
#include "h264/references.h"
#include "h264/slice_context.h"

namespace ove::h264 {

class PictureSource {
 public:
  virtual ~PictureSource() = default;

  virtual void take_parameter_set(const NalUnit& unit, NalUnitType type) = 0;
  virtual void take_sei(const NalUnit& unit) = 0;
  virtual void end_sequence() = 0;

  // The parameter sets of a slice, null where it is not decoded. `may_begin`: it may be the first of a picture.
  virtual std::shared_ptr<const ActiveSets> activate(int pps_id, NalHeader nal, const codec::AccessUnitTag& tag,
                                                     bool may_begin) = 0;
  // Whether the picture that begins with this slice is decoded.
  virtual bool accepts(const SliceHeader& header) = 0;
  // Sets the picture's order counts and detail. `second`: it is the second field of the frame of the picture before it.
  virtual void begin(const SliceHeader& header, const ActiveSets& sets, bool second, CodedPicture& picture,
                     const codec::AccessUnitTag& tag) = 0;
  // Sets the reference lists of a slice, and what temporal and spatial direct prediction read.
  virtual void add_slice(SliceContext& context, const Sps& sps, Slice& slice, CodedPicture& picture) = 0;
  // All slices of a picture are there.
  virtual void headers_read(CodedPicture&) {}
  // Takes in a picture whose slices are complete.
  virtual void complete(const std::shared_ptr<CodedPicture>& picture, const SliceHeader& header, const Sps& sps) = 0;
  // The frame of the last picture is complete; `shown` waits for its turn, unless it is null.
  virtual void complete_frame(std::shared_ptr<CodecPicture> shown, const Sps& sps) = 0;

  // Whether the picture that begins with the slice at hand comes right after the one at work.
  virtual bool follows() const = 0;
  virtual bool started() const = 0;
  // Everything that waits goes to output.
  virtual void flush() = 0;
  // Next frame in output order, null if none is due.
  virtual std::shared_ptr<Frame> pop_output() = 0;
};

// A stream that is read from its beginning on.
class StreamSource final : public PictureSource {
 public:
  explicit StreamSource(const codec::DecoderOptions& options) : options_(options) {}

  void take_parameter_set(const NalUnit& unit, NalUnitType type) override;
  void take_sei(const NalUnit& unit) override;
  void end_sequence() override { recovery_frames_.reset(); }
  std::shared_ptr<const ActiveSets> activate(int pps_id, NalHeader nal, const codec::AccessUnitTag& tag,
                                             bool may_begin) override;
  bool accepts(const SliceHeader& header) override;
  void begin(const SliceHeader& header, const ActiveSets& sets, bool second, CodedPicture& picture,
             const codec::AccessUnitTag& tag) override;
  void add_slice(SliceContext& context, const Sps& sps, Slice& slice, CodedPicture& picture) override;
  void headers_read(CodedPicture& picture) override;
  void complete(const std::shared_ptr<CodedPicture>& picture, const SliceHeader& header, const Sps& sps) override;
  void complete_frame(std::shared_ptr<CodecPicture> shown, const Sps& sps) override;
  bool follows() const override { return true; }
  bool started() const override { return started_; }
  void flush() override { dpb_.flush(); }
  std::shared_ptr<Frame> pop_output() override { return dpb_.pop_output(); }

 private:
  struct PpsUnit {
    int sps_id;
    std::shared_ptr<const codec::Bytes> nal_unit;
  };

  std::shared_ptr<const ActiveSets> make_sets(int pps_id, bool idr, bool anew);
  bool is_joint(const SliceHeader& header, const Sps& sps) const;
  void read_x264_build(std::span<const std::uint8_t> message);
  int missing_frames(const SliceHeader& header, const Sps& sps) const;
  void fill_gap(const SliceHeader& header, const Sps& sps);

  const codec::DecoderOptions& options_;
  std::array<std::shared_ptr<const Sps>, 32> sps_;
  std::map<int, PpsUnit> pps_;
  std::shared_ptr<const ActiveSets> sets_;  // those in use last
  bool sets_changed_ = false;
  std::shared_ptr<const codec::Bytes> early_x264_;  // of the next picture

  std::shared_ptr<const Sps> sps_in_use_;  // of the picture before
  OrderCounter order_;
  Dpb dpb_;
  std::shared_ptr<Frame> current_;
  int prev_ref_frame_num_ = 0;
  std::optional<std::uint32_t> recovery_frames_;  // of the SEI message before the next picture
  bool started_ = false;
  // Where decoding began without an IDR picture, until there is one, or joined streams meet
  struct Start {
    int poc, frame_num;
    std::uint32_t recovery_frames;  // until pictures are whole; kNever without a recovery point, unless it is all intra
    std::int64_t decode_index;
    bool at_recovery_point;

    static constexpr std::uint32_t kNever = UINT32_MAX;
  };
  std::optional<Start> start_;
  bool may_miss_references_ = false;   // of the current picture
  std::set<std::int64_t> incomplete_;  // decode_index of pictures since the start
};

// Some pictures of a stream that was indexed before, in decoding order. Parameter sets in the stream are not looked at.
class IndexSource final : public PictureSource {
 public:
  explicit IndexSource(const codec::DecoderOptions& options) : options_(options) {}

  void take_parameter_set(const NalUnit&, NalUnitType) override {}
  void take_sei(const NalUnit&) override {}
  void end_sequence() override {}
  std::shared_ptr<const ActiveSets> activate(int pps_id, NalHeader nal, const codec::AccessUnitTag& tag,
                                             bool may_begin) override;
  bool accepts(const SliceHeader& header) override;
  void begin(const SliceHeader& header, const ActiveSets& sets, bool second, CodedPicture& picture,
             const codec::AccessUnitTag& tag) override;
  void add_slice(SliceContext& context, const Sps& sps, Slice& slice, CodedPicture& picture) override;
  void complete(const std::shared_ptr<CodedPicture>& picture, const SliceHeader& header, const Sps& sps) override;
  void complete_frame(std::shared_ptr<CodecPicture>, const Sps&) override {}
  bool follows() const override;
  bool started() const override { return true; }
  void flush() override {}
  std::shared_ptr<Frame> pop_output() override { return nullptr; }

 private:
  struct Kept {
    std::shared_ptr<const CodecPicture> picture;
    std::int64_t last_use;
  };

  CodedFrame coded(const RefEntry& entry) const;
  std::array<int, 2> field_counts(const RefEntry& entry) const;
  std::array<RefLists, 2> field_lists(const RefLists& lists) const;

  const codec::DecoderOptions& options_;
  std::optional<codec::WantedPicture> wanted_;   // of the slice at hand
  std::optional<codec::WantedPicture> at_work_;  // the current one
  std::map<std::int64_t, Kept> kept_;            // by decode_index of the index: collocated pictures of later ones
};

}  // namespace ove::h264
