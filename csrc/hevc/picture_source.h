// Where the decoder finds what a picture needs beside its own slices: in the stream before it, or in an index of it.
#pragma once

#include <array>
#include <cstdint>
#include <exception>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "bitstream/nal.h"
#include "codec/decoder.h"
#include "hevc/dpb.h"
#include "hevc/nal_unit_type.h"
#include "hevc/picture.h"
#include "hevc/slice_header.h"

namespace ove::hevc {

constexpr std::size_t kNalHeaderSize = 2;

struct NalContext {
  NalUnitType type;
  int temporal_id;
  codec::AccessUnitTag tag;
  std::int64_t position;
};

class PictureSource {
 public:
  virtual ~PictureSource() = default;

  virtual void take_parameter_set(const NalUnit& unit, NalUnitType type, std::int64_t position) = 0;
  virtual void end_sequence() = 0;

  // Whether the picture of this slice segment is decoded, which the first one of a picture decides.
  virtual bool accepts(const NalContext& nal, bool first_slice_segment) = 0;
  // The parameter sets of a picture that begins. An SPS takes effect where a coded video sequence starts.
  virtual std::shared_ptr<const ActiveSets> activate(int pps_id, const NalContext& nal) = 0;
  // Sets the picture's order count and detail; `header` is that of its first slice segment.
  virtual void begin(const SliceHeader& header, const NalContext& nal, const ActiveSets& sets,
                     CodecPicture& picture) = 0;
  // RefPicList0 and RefPicList1 of a slice, counted within the picture.
  virtual codec::RefLists ref_lists(const SliceHeader& header, std::size_t slice, CodecPicture& picture) = 0;
  // The picture of a list, for temporal prediction; null where all of it is intra.
  virtual std::shared_ptr<const CodecPicture> collocated(const RefEntry& entry) = 0;
  // Takes in a picture whose slices are complete.
  virtual void complete(const std::shared_ptr<CodecPicture>& picture, const Sps& sps, bool needed_for_output) = 0;

  virtual bool started() const = 0;
  // At the end of a stream that has not started: throws what may be the reason, if anything.
  virtual void explain() const {}
  // Everything that waits goes to output.
  virtual void flush() = 0;
  // Next picture in output order, null if none is due.
  virtual std::shared_ptr<CodecPicture> pop_output() = 0;
};

// A stream that is read from its beginning on: parameter sets in it, order counts (8.3.1), reference picture sets and
// output order by the decoded picture buffer.
class StreamSource final : public PictureSource {
 public:
  explicit StreamSource(const codec::DecoderOptions& options) : options_(options) {}

  void take_parameter_set(const NalUnit& unit, NalUnitType type, std::int64_t position) override;
  void end_sequence() override { expect_sequence_ = true; }
  bool accepts(const NalContext& nal, bool first_slice_segment) override;
  std::shared_ptr<const ActiveSets> activate(int pps_id, const NalContext& nal) override;
  void begin(const SliceHeader& header, const NalContext& nal, const ActiveSets& sets, CodecPicture& picture) override;
  codec::RefLists ref_lists(const SliceHeader& header, std::size_t slice, CodecPicture& picture) override;
  std::shared_ptr<const CodecPicture> collocated(const RefEntry& entry) override;
  void complete(const std::shared_ptr<CodecPicture>& picture, const Sps& sps, bool needed_for_output) override;
  bool started() const override { return active_sps_ != nullptr; }
  void explain() const override {
    if (broken_) std::rethrow_exception(broken_);
  }
  void flush() override { dpb_.flush(); }
  std::shared_ptr<CodecPicture> pop_output() override { return dpb_.pop_output(); }

 private:
  bool starts_sequence(NalUnitType type) const;
  bool is_joint(const SliceHeader& header, const NalContext& nal, const Sps& sps) const;
  int picture_order_count(const SliceHeader& header, const NalContext& nal, const Sps& sps, bool new_sequence);

  const codec::DecoderOptions& options_;
  std::array<std::shared_ptr<const codec::Bytes>, 16> vps_;
  std::array<std::shared_ptr<const Sps>, 16> sps_;
  std::array<std::shared_ptr<const Pps>, 64> pps_;
  std::exception_ptr broken_;  // of an SPS or PPS that cannot be read, as long as no picture needs it
  std::shared_ptr<const Sps> active_sps_;
  // those in use last, kept while the parameter sets stay the same objects
  std::shared_ptr<const ActiveSets> sets_;
  std::shared_ptr<const codec::Bytes> sets_vps_;
  Dpb dpb_;
  ReferencePictureSet rps_;      // of the current picture
  bool expect_sequence_ = true;  // at the start and after an end of sequence
  bool skip_rasl_ = false;       // NoRaslOutputFlag of the last IRAP picture
  bool sps_changes_ = false;     // at the CRA picture that begins
  int prev_tid0_poc_ = 0;        // PicOrderCntVal of prevTid0Pic
};

// Some pictures of a stream that was indexed before, in decoding order. Parameter sets in the stream are not looked at.
class IndexSource final : public PictureSource {
 public:
  explicit IndexSource(const codec::DecoderOptions& options) : options_(options) {}

  void take_parameter_set(const NalUnit&, NalUnitType, std::int64_t) override {}
  void end_sequence() override {}
  bool accepts(const NalContext& nal, bool first_slice_segment) override;
  std::shared_ptr<const ActiveSets> activate(int pps_id, const NalContext& nal) override;
  void begin(const SliceHeader& header, const NalContext& nal, const ActiveSets& sets, CodecPicture& picture) override;
  codec::RefLists ref_lists(const SliceHeader& header, std::size_t slice, CodecPicture& picture) override;
  std::shared_ptr<const CodecPicture> collocated(const RefEntry& entry) override;
  void complete(const std::shared_ptr<CodecPicture>& picture, const Sps& sps, bool needed_for_output) override;
  bool started() const override { return true; }
  void flush() override {}
  std::shared_ptr<CodecPicture> pop_output() override { return nullptr; }

 private:
  struct Kept {
    std::shared_ptr<CodecPicture> picture;
    std::int64_t last_use;
  };

  const codec::DecoderOptions& options_;
  std::optional<codec::WantedPicture> wanted_;  // the current one
  std::map<std::int64_t, Kept> kept_;           // by decode_index of the index: collocated pictures of later ones
};

}  // namespace ove::hevc
