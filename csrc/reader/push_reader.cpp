#include "reader/push_reader.h"

#include <cmath>
#include <iterator>
#include <limits>
#include <stdexcept>
#include <utility>

#include "common/error.h"
#include "reader/codecs.h"

namespace ove::reader {

namespace {

constexpr double kNone = std::numeric_limits<double>::quiet_NaN();
// Packets behind which a picture has come out, if it ever does: more than any decoder reorders.
constexpr std::int64_t kLongestDelay = 1024;

}  // namespace

PushReader::PushReader(std::string codec, codec::Bytes extradata, Options options)
    : codec_(std::move(codec)), extradata_(std::move(extradata)), options_(std::move(options)) {
  if (!decodes(codec_)) throw std::invalid_argument("there is no syntax decoder for " + codec_);
  filter_ = make_packet_filter(codec_, extradata_);
  open();
}

void PushReader::open() {
  codec::DecoderOptions options;
  options.detail = [detail = options_.detail](const codec::AccessUnitTag&) { return detail; };
  options.limits = options_.limits;
  options.observe = [this](const codec::CodecPicture& picture) {
    sets_ = picture.parameter_sets;
    any_since_restart_ = true;
    if (!losses_.empty() && losses_.back().end < 0) losses_.back().end = picture.tag.packet;
    if (options_.observe) options_.observe(picture);
  };
  decoder_ = make_decoder(codec_, std::move(options));
  decoder_->set_extradata(extradata_);
}

// Begins anew with the parameter sets that are known; the decoder then waits for a random access point.
void PushReader::restart() {
  open();
  ++restarts_;
  any_since_restart_ = false;
  if (!sets_) return;
  std::vector<std::shared_ptr<const codec::Bytes>> units;
  for (const auto& unit : sets_->units) units.push_back(unit.nal_unit);
  decoder_->decode(filter_->packet_of(units), {}, -1);
}

void PushReader::set_extradata(codec::Bytes extradata) {
  if (extradata == extradata_) return;
  decoder_->set_extradata(extradata);
  filter_->set_extradata(extradata);
  extradata_ = std::move(extradata);
}

void PushReader::push(std::span<const std::uint8_t> packet, double pts, bool corrupt, codec::AccessUnitTag tag) {
  const std::int64_t number = tag.packet = packets_++;
  tag.size = std::ssize(packet);
  sent_[number] = {bytes_, pts};
  if (sent_.size() > kLongestDelay) sent_.erase(sent_.begin());
  bytes_ += std::ssize(packet);
  if (corrupt) {
    finish();
    lose(number, "the sender says that bytes of this packet are missing");
    restart();
  } else {
    feed(packet, tag);
  }
}

void PushReader::feed(std::span<const std::uint8_t> packet, const codec::AccessUnitTag& tag) {
  decoder_->decode(packet, tag, sent_.at(tag.packet).position);
  collect(packet, tag);
}

void PushReader::drain() {
  while (auto picture = decoder_->pop()) give(std::move(picture));
}

// Takes the finished pictures. Damage is told by the packet that it lies in, or by the one behind it.
void PushReader::collect(std::span<const std::uint8_t> packet, const codec::AccessUnitTag& tag) {
  try {
    drain();
    decoder_->settle();
    drain();
  } catch (const Error& error) {
    const std::int64_t damaged = error.position() < 0 ? tag.packet : packet_at(error.position());
    const bool again = !any_since_restart_ && restarts_ + pictures_ > 0;
    if (dynamic_cast<const UnsupportedStreamError*>(&error) && (pictures_ == 0 || again)) throw;
    lose(damaged, error.what());
    restart();
    // Behind the damage there may be a random access point; in the damaged packet, parameter sets.
    if (damaged < tag.packet) return feed(packet, tag);
    try {
      decoder_->decode(filter_->without_picture(packet), {}, -1);
      decoder_->settle();
      drain();
    } catch (const Error&) {
      restart();
    }
  }
}

void PushReader::lose(std::int64_t number, const std::string& reason) {
  if (!losses_.empty() && losses_.back().end < 0) return;  // the same loss goes on
  lost_from_ = number;
  const auto sent = sent_.find(number);
  losses_.push_back({number, -1, sent == sent_.end() ? kNone : sent->second.pts, reason});
}

std::int64_t PushReader::packet_at(std::int64_t position) const {
  for (auto sent = sent_.rbegin(); sent != sent_.rend(); ++sent) {
    if (sent->second.position <= position) return sent->first;
  }
  return packets_ - 1;
}

void PushReader::give(std::shared_ptr<const codec::CodecPicture> picture) {
  const auto sent = sent_.find(picture->tag.packet);
  double pts = sent == sent_.end() ? kNone : sent->second.pts;
  if (std::isnan(pts)) {
    constexpr double kUsual = 1.0 / 25;
    pts = pictures_ == 0 ? 0 : last_pts_ + (picture->duration > 0 ? picture->duration : kUsual);
  }
  last_pts_ = pts;
  ready_.push_back({std::move(picture), pictures_++, pts});
}

void PushReader::finish() {
  decoder_->flush();
  try {
    drain();
  } catch (const Error& error) {
    lose(error.position() < 0 ? packets_ - 1 : packet_at(error.position()), error.what());
  }
}

void PushReader::flush() {
  lost_from_ = packets_;
  finish();
  if (!losses_.empty() && losses_.back().end < 0) losses_.back().end = packets_;
  restart();
}

bool PushReader::next(VideoPicture& picture) {
  if (ready_.empty()) return false;
  picture = std::move(ready_.front());
  ready_.pop_front();
  return true;
}

std::vector<Loss> PushReader::take_losses() {
  std::vector<Loss> taken;
  std::vector<Loss> open;
  for (Loss& loss : losses_) (loss.end < 0 ? open : taken).push_back(std::move(loss));
  losses_ = std::move(open);
  return taken;
}

}  // namespace ove::reader
