#include "media/packet_decoder.h"

#include <algorithm>
#include <new>
#include <utility>

#include "common/error.h"
#include "media/ffmpeg.h"
#include "media/frame_decoder.h"
#include "media/frame_memory.h"
#include "media/pixel_format.h"

namespace ove::media {

namespace {

constexpr const char* kName = "the stream";  // in messages

struct FreeParameters {
  void operator()(AVCodecParameters* parameters) const { avcodec_parameters_free(&parameters); }
};

}  // namespace

struct PacketDecoder::Impl {
  std::shared_ptr<PacketFilter> filter;
  FrameMemory memory;
  CodecPtr codec;
  PacketPtr packet{av_packet_alloc()};
  FramePtr frame{av_frame_alloc()};
  PlanarConverter converter;
  std::vector<std::uint8_t> ahead;  // for the packet sent next
  std::vector<std::uint8_t> extradata;
  bool extradata_due = false;
  std::vector<KeptPicture> out;

  void receive();
};

PacketDecoder::PacketDecoder(Options options) : impl_(std::make_unique<Impl>()) {
  Impl& self = *impl_;
  const std::unique_ptr<AVCodecParameters, FreeParameters> parameters(avcodec_parameters_alloc());
  if (!self.packet || !self.frame || !parameters) throw std::bad_alloc();
  self.filter = std::move(options.filter);
  const AVCodecDescriptor* described = avcodec_descriptor_get_by_name(options.codec.c_str());
  parameters->codec_type = AVMEDIA_TYPE_VIDEO;
  parameters->codec_id = described ? described->id : AV_CODEC_ID_NONE;
  if (!options.extradata.empty()) {
    const std::size_t size = options.extradata.size();
    parameters->extradata = static_cast<std::uint8_t*>(av_mallocz(size + AV_INPUT_BUFFER_PADDING_SIZE));
    if (!parameters->extradata) throw std::bad_alloc();
    std::copy(options.extradata.begin(), options.extradata.end(), parameters->extradata);
    parameters->extradata_size = static_cast<int>(size);
  }
  StreamInfo info;
  info.codec = options.codec;
  self.codec = make_decoder(*parameters, info, kName, options.max_luma_samples, self.filter.get());
  share_work(*self.codec, options.threads, Slices::kChecked);
  // What precedes a random access point may be missing: a picture that needs it does not come out.
  self.codec->err_recognition &= ~AV_EF_EXPLODE;
  self.codec->flags |= AV_CODEC_FLAG_OUTPUT_CORRUPT;
  self.memory.serve(*self.codec);
  open_decoder(*self.codec, kName);
}

PacketDecoder::~PacketDecoder() = default;
PacketDecoder::PacketDecoder(PacketDecoder&&) noexcept = default;
PacketDecoder& PacketDecoder::operator=(PacketDecoder&&) noexcept = default;

void PacketDecoder::Impl::receive() {
  while (true) {
    const int code = avcodec_receive_frame(codec.get(), frame.get());
    if (code == AVERROR_INVALIDDATA) continue;
    if (code < 0) return;
    if (frame->decode_error_flags) continue;
    const AVFrame& planar = converter.planar(*frame, kName);
    AVFrame* const kept = av_frame_clone(&planar);
    if (!kept) throw std::bad_alloc();
    std::shared_ptr<AVFrame> owner(kept, FreeFrame());
    if (&planar != frame.get() && av_frame_make_writable(kept) < 0) throw std::bad_alloc();  // the converter's own
    out.push_back({frame->pts, view(*kept, kName), std::move(owner)});
  }
}

void PacketDecoder::send(std::span<const std::uint8_t> bytes, std::int64_t number) {
  const Silence quiet;
  Impl& self = *impl_;
  AVPacket& packet = *self.packet;
  av_packet_unref(&packet);
  if (av_new_packet(&packet, static_cast<int>(bytes.size())) < 0) throw std::bad_alloc();
  std::copy(bytes.begin(), bytes.end(), packet.data);
  if (std::exchange(self.extradata_due, false)) {
    const auto kept = self.filter ? self.filter->extradata_for_pixels(self.extradata) : std::nullopt;
    set_side_data(packet, AV_PKT_DATA_NEW_EXTRADATA, kept ? *kept : self.extradata);
  }
  packet.pts = number;
  packet.dts = AV_NOPTS_VALUE;
  filter_for_pixels(self.filter.get(), packet);
  if (packet.size == 0) return;  // the decoder takes an empty packet for the end
  prepend(self.filter.get(), self.ahead, packet);
  avcodec_send_packet(self.codec.get(), &packet);  // what it refuses gives no picture
  self.receive();
}

void PacketDecoder::skip(std::span<const std::uint8_t> bytes) {
  if (!impl_->filter) return;
  try {
    const std::vector<std::uint8_t> rest = impl_->filter->without_picture(bytes);
    impl_->ahead.insert(impl_->ahead.end(), rest.begin(), rest.end());
  } catch (const Error&) {
    return;  // of a damaged packet nothing is needed
  }
}

void PacketDecoder::begin_anew() {
  const Silence quiet;
  avcodec_send_packet(impl_->codec.get(), nullptr);
  impl_->receive();
  avcodec_flush_buffers(impl_->codec.get());
}

void PacketDecoder::set_extradata(std::vector<std::uint8_t> extradata) {
  impl_->extradata = std::move(extradata);
  impl_->extradata_due = true;
  impl_->ahead.clear();
}

std::vector<KeptPicture> PacketDecoder::take() { return std::exchange(impl_->out, {}); }

}  // namespace ove::media
