#include "pipeline/live_decoder.h"

#include <algorithm>
#include <utility>

#include "reader/codecs.h"

namespace ove::pipeline {

namespace {

// Packets that wait for a decision, and decisions that are kept: more than any decoder reorders.
constexpr std::size_t kMostWaiting = 64, kMostDecided = 1024;

}  // namespace

LiveDecoder::LiveDecoder(Options options)
    : reader_(
          options.codec, options.extradata,
          {.detail = options.detail, .limits = options.limits, .observe = [this](const codec::CodecPicture& picture) {
             const auto found = std::find_if(waiting_.rbegin(), waiting_.rend(), [&](const Waiting& packet) {
               return packet.number == picture.tag.packet;
             });
             if (found == waiting_.rend()) return;
             found->epoch = reader_.restarts();
             found->referable |= picture.referable;
           }}) {
  if (!options.pixels) return;
  pixels_.emplace(media::PacketDecoder::Options{options.codec, options.extradata,
                                                reader::make_packet_filter(options.codec, options.extradata),
                                                options.threads, options.limits.max_luma_samples});
}

void LiveDecoder::push(std::span<const std::uint8_t> packet, double pts, bool corrupt) {
  const std::int64_t number = pushed_++;
  flushed_ = false;
  if (pixels_) waiting_.push_back({number, {packet.begin(), packet.end()}, std::nullopt, false});
  reader_.push(packet, pts, corrupt);
  forget_lost();
}

void LiveDecoder::set_extradata(codec::Bytes extradata) {
  if (pixels_) pixels_->set_extradata(extradata);
  reader_.set_extradata(std::move(extradata));
}

void LiveDecoder::flush() {
  reader_.flush();
  forget_lost();
  flushed_ = true;
}

// Pictures that began in packets whose decoding has failed are not given.
void LiveDecoder::forget_lost() {
  if (std::exchange(epoch_, reader_.restarts()) == reader_.restarts()) return;
  for (Waiting& packet : waiting_) {
    if (packet.number >= reader_.lost_from() && packet.epoch && *packet.epoch < epoch_) packet.epoch.reset();
  }
}

void LiveDecoder::decide(std::int64_t packet, bool wanted) {
  if (!pixels_) return;
  if (const auto found = undecided_.find(packet); found != undecided_.end()) {
    if (wanted) out_.push_back(std::move(found->second));
    undecided_.erase(found);
    return;
  }
  decided_[packet] = wanted;
  if (decided_.size() > kMostDecided) decided_.erase(decided_.begin());
}

void LiveDecoder::decode_pixels() {
  for (; !waiting_.empty(); waiting_.pop_front()) {
    const Waiting& head = waiting_.front();
    const auto decided = decided_.find(head.number);
    if (!head.epoch) {
      if (head.number + 1 == pushed_ && !flushed_) break;  // its picture may be at work
      pixels_->skip(head.bytes);
      continue;
    }
    if (*head.epoch != sent_epoch_) pixels_->begin_anew();
    sent_epoch_ = *head.epoch;
    if (head.referable || (decided != decided_.end() && decided->second)) {
      pixels_->send(head.bytes, head.number);
      ++pixels_decoded_;
    } else if (decided != decided_.end() || flushed_ || waiting_.size() > kMostWaiting) {
      pixels_->skip(head.bytes);
    } else {
      break;
    }
  }
  if (flushed_ && waiting_.empty()) pixels_->begin_anew();
}

std::vector<media::KeptPicture> LiveDecoder::take_pixels() {
  if (!pixels_) return {};
  decode_pixels();
  for (media::KeptPicture& picture : pixels_->take()) {
    const auto decided = decided_.find(picture.packet);
    if (decided == decided_.end()) {
      undecided_[picture.packet] = std::move(picture);
      if (undecided_.size() > kMostWaiting) undecided_.erase(undecided_.begin());
    } else {
      if (decided->second) out_.push_back(std::move(picture));
      decided_.erase(decided);
    }
  }
  return std::exchange(out_, {});
}

}  // namespace ove::pipeline
