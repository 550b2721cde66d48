// A syntax decoder: packets in, pictures with motion and residual out.
#pragma once

#include <cstdint>
#include <deque>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "codec/access_unit.h"
#include "codec/detail.h"
#include "codec/limits.h"
#include "codec/picture.h"
#include "codec/picture_task.h"
#include "codec/task_queue.h"
#include "common/error.h"

namespace ove::codec {

enum class Order : std::uint8_t { kDisplay, kDecoding };

// A picture that a plan wants of a stream whose index is known.
struct WantedPicture {
  const KnownPicture* known = nullptr;
  std::span<const KnownPicture> all;  // of the stream, by decode_index
  Detail detail;
  std::int64_t last_use = -1;  // decode_index of the last picture whose motion is derived from its

  // Gives the picture what the index tells of it: order, and how decoding may begin or go on there; and its detail.
  void describe(CodecPicture& picture) const;
};

struct DecoderOptions {
  Order order = Order::kDisplay;
  // In kDecoding order: coded pictures as they are stored, fields apart. Else frames as they are shown.
  bool as_coded = false;
  int threads = 1;
  // How much of the picture of an access unit is wanted. Where a picture's motion is derived from another's, that one
  // needs motion too.
  std::function<Detail(const AccessUnitTag&)> detail = [](const AccessUnitTag&) { return Detail(); };
  // If set, only some pictures of the stream are decoded: those that it gives for the access unit in which they begin,
  // one call a coded picture; nothing where that picture is not wanted. It stands for `detail` and for parameter sets,
  // which are not looked at. Packets may be left out that hold no such picture. In kDecoding order only, because output
  // order needs every picture.
  std::function<std::optional<WantedPicture>(const AccessUnitTag&)> wanted;
  // Sees every coded picture, in decoding order, when its headers are read.
  std::function<void(const CodecPicture&)> observe;
  // Sees every shown picture with more than headers when it is decoded, in any order and on several threads at a time.
  TaskQueue::Process process;
  Limits limits;
};

class Decoder {
 public:
  virtual ~Decoder() = default;

  // Out-of-band parameter sets, which may also say how packets are framed.
  virtual void set_extradata(std::span<const std::uint8_t> extradata) = 0;

  // One packet; `position` is its byte offset in the source. Errors come out of pop(). Of a packet of many pictures the
  // first are decoded, and pop() goes on with a copy of the packet, so that no more pictures are held at a time.
  void decode(std::span<const std::uint8_t> packet, const AccessUnitTag& tag, std::int64_t position);

  // End of the stream: completes the last picture and releases every picture that waits.
  void flush();

  // Next picture, null if more input is wanted first. Its residual stays as long as what is returned, even where the
  // decoder keeps the picture for others. After damage, or anything else that was thrown, the pictures that
  // precede it in decoding order come out, then the exception, at every call.
  std::shared_ptr<const CodecPicture> pop();

  // Finishes every picture whose headers are complete, so that pop() tells of damage in any of them at once, not when
  // the picture is due.
  void settle();

  // Nothing more can be decoded.
  bool failed() const { return failed_; }

  // Whether a picture was found from which decoding could start.
  virtual bool started() const = 0;

 protected:
  explicit Decoder(DecoderOptions options);

  // Both throw Error, which gets the position in the source that `at` then has unless it has one of its own; it is -1
  // where positions are not known.
  // Begins packet(), of which nothing is decoded yet, and gives the number of its parts.
  virtual std::size_t begin_packet(std::int64_t& at) = 0;
  virtual void decode_part(std::size_t part, const AccessUnitTag& tag, std::int64_t& at) = 0;
  // End of the stream: submits the picture at work and shows every picture that waits.
  virtual void finish() = 0;
  // The picture at work is lost: drops it, and shows every picture that waits.
  virtual void abandon() = 0;

  const DecoderOptions& options() const { return options_; }
  const BufferPools& pools() const { return pools_; }
  // The packet at work. Its parts may lie elsewhere from one call to the next.
  std::span<const std::uint8_t> packet() const { return packet_; }

  // A picture whose headers are complete. It is decoded from here on. Pictures come in decoding order and are numbered
  // by decode_index, without gaps.
  void submit(std::unique_ptr<PictureTask> task);
  // Gives a picture out: behind those given before, once it and the pictures before `end` in decoding order are
  // decoded.
  struct Output {
    std::shared_ptr<CodecPicture> picture;
    std::int64_t last;  // decode_index of its last coded picture
  };
  void show(Output output) { output_.push_back(std::move(output)); }

 private:
  void fail(std::exception_ptr error);
  bool has_parts() const { return part_ < parts_ && !failed_; }
  void decode_next_part();
  // Calls step(at), whose exceptions end the decoder.
  template <class Step>
  void attempt(Step step);

  const DecoderOptions options_;
  BufferPools pools_;
  TaskQueue tasks_;
  std::deque<Output> output_;
  std::int64_t submitted_ = 0;  // pictures given to tasks_
  std::span<const std::uint8_t> packet_;
  std::vector<std::uint8_t> packet_copy_;
  AccessUnitTag tag_;
  std::int64_t position_ = -1;
  std::size_t part_ = 0, parts_ = 0;  // of the packet: the next one
  bool failed_ = false, flushed_ = false;
  std::exception_ptr failure_;
  bool thrown_ = false;  // failure_ was, and nothing else comes
};

// Throws `error`, which is being handled, again with a position, unless it has one.
[[noreturn]] void rethrow_at(const Error& error, std::int64_t position);

}  // namespace ove::codec
