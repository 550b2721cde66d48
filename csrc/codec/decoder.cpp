#include "codec/decoder.h"

#include <utility>

namespace ove::codec {

namespace {

// Of a packet, before others are taken out: the picture before it ends in it, and so may both fields of its own.
constexpr std::int64_t kPicturesAtOnce = 3;

// The picture, whose residual goes when the last copy of the returned pointer does.
std::shared_ptr<const CodecPicture> hand_out(std::shared_ptr<CodecPicture> picture) {
  CodecPicture* const given = picture.get();
  return {given, [owner = std::move(picture)](const CodecPicture*) { owner->residual.reset(); }};
}

}  // namespace

void WantedPicture::describe(CodecPicture& picture) const {
  picture.poc = known->poc;
  picture.field_poc = known->field_poc;
  picture.random_access = known->random_access;
  picture.resets_order = known->resets_order;
  picture.starts_anew = known->starts_anew;
  picture.dropping = known->dropping;
  picture.detail = detail;
}

Decoder::Decoder(DecoderOptions options) : options_(std::move(options)), tasks_(options_.threads, options_.process) {
  options_.limits.validate();
}

template <class Step>
void Decoder::attempt(Step step) {
  std::int64_t at = position_;
  try {
    step(at);
  } catch (const Error& error) {
    try {
      rethrow_at(error, at);
    } catch (...) {
      fail(std::current_exception());
    }
  } catch (...) {
    fail(std::current_exception());
  }
}

void Decoder::decode_next_part() {
  attempt([&](std::int64_t& at) { decode_part(part_++, tag_, at); });
}

void Decoder::decode(std::span<const std::uint8_t> packet, const AccessUnitTag& tag, std::int64_t position) {
  while (has_parts()) decode_next_part();  // of a packet whose pictures were not taken
  if (failed_) return;
  packet_ = packet;
  tag_ = tag;
  position_ = position;
  part_ = parts_ = 0;
  attempt([&](std::int64_t& at) {
    options_.limits.check(&Limits::max_packet_bytes, std::ssize(packet), "the number of bytes of a packet");
    parts_ = begin_packet(at);
  });
  const std::int64_t most = submitted_ + kPicturesAtOnce;
  while (has_parts() && submitted_ <= most) decode_next_part();
  if (!has_parts()) return;
  packet_copy_.assign(packet.begin(), packet.end());
  packet_ = packet_copy_;
}

// Those before the picture at work come out.
void Decoder::fail(std::exception_ptr error) {
  failed_ = true;
  failure_ = error;
  abandon();
}

void Decoder::flush() {
  while (has_parts()) decode_next_part();
  if (failed_ || flushed_) return;
  flushed_ = true;
  try {
    finish();
  } catch (...) {
    fail(std::current_exception());
  }
}

void Decoder::settle() {
  while (has_parts()) decode_next_part();
  if (!failed_ && submitted_ > 0 && !tasks_.wait(submitted_ - 1)) fail(tasks_.failure());
}

void Decoder::submit(std::unique_ptr<PictureTask> task) {
  if (options_.observe) options_.observe(*task->picture());
  submitted_ = task->picture()->decode_index + 1;
  tasks_.submit(std::move(task));
}

std::shared_ptr<const CodecPicture> Decoder::pop() {
  while (!thrown_) {
    // While there is input, pictures still at work may stay there, so that all threads have some.
    const bool more = has_parts(), ended = failed_ || (flushed_ && !more);
    if (!ended && (output_.empty() || tasks_.hungry(output_.front().last))) {
      if (!more) return nullptr;
      decode_next_part();
      continue;
    }
    // At the end, pictures that are not for output may still have failed.
    Output next{nullptr, submitted_ - 1};
    if (!output_.empty()) {
      next = std::move(output_.front());
      output_.pop_front();
    }
    if (tasks_.wait(next.last)) {
      if (next.picture) return hand_out(std::move(next.picture));
      break;
    }
    fail(tasks_.failure());
    if (!next.picture) break;
  }
  if (!failure_) return nullptr;
  thrown_ = true;
  std::rethrow_exception(failure_);
}

void rethrow_at(const Error& error, std::int64_t position) {
  if (error.position() < 0) {
    if (dynamic_cast<const InvalidBitstreamError*>(&error)) throw InvalidBitstreamError(error.what(), position);
    if (dynamic_cast<const UnsupportedStreamError*>(&error)) throw UnsupportedStreamError(error.what(), position);
  }
  throw;
}

}  // namespace ove::codec
