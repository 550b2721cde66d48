#include "media/demuxer.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <filesystem>
#include <string_view>
#include <system_error>
#include <utility>

#include "common/error.h"
#include "media/containers.h"
#include "media/demuxer_impl.h"
#include "media/iso_boxes.h"
#include "media/matroska.h"
#include "media/stream_info.h"
#include "media/transport_stream.h"

namespace ove::media {

namespace {

constexpr const char* kEncrypted = ": is encrypted (DRM); decrypt it first, or give a copy that is not";
constexpr int kScrambledHead = 1 << 18;  // bytes of a transport stream that tell whether it is scrambled
constexpr const char* kCutShort = "; it was cut short, copy it again";
constexpr int kIoBuffer = 1 << 16;
constexpr int kSniffed = 1 << 14;  // below kIoBuffer, so that stepping back needs no seekable source

int read_source(void* opaque, std::uint8_t* buffer, int size) {
  auto& self = *static_cast<Demuxer::Impl*>(opaque);
  if (self.source_error) return AVERROR_EXTERNAL;
  try {
    const std::size_t n = self.source->read({buffer, static_cast<std::size_t>(size)});
    return n == 0 ? AVERROR_EOF : static_cast<int>(n);
  } catch (...) {
    self.source_error = std::current_exception();
    return AVERROR_EXTERNAL;
  }
}

std::int64_t seek_source(void* opaque, std::int64_t offset, int whence) {
  auto& self = *static_cast<Demuxer::Impl*>(opaque);
  if (self.source_error) return AVERROR_EXTERNAL;
  try {
    const std::int64_t size = self.source->size();
    if (whence & AVSEEK_SIZE) return size >= 0 ? size : AVERROR(ENOSYS);
    if ((whence & ~AVSEEK_FORCE) != SEEK_SET) return AVERROR(EINVAL);
    const std::int64_t at = self.source->seek(offset);
    return at >= 0 ? at : AVERROR(EINVAL);
  } catch (...) {
    self.source_error = std::current_exception();
    return AVERROR_EXTERNAL;
  }
}

// Playlists and references to other files lead nowhere.
int refuse_open(AVFormatContext*, AVIOContext**, const char*, int, AVDictionary**) { return AVERROR(EACCES); }

// Whether this reads like scheme://host, of which pathlib leaves one slash.
bool is_address(const std::string& path) {
  const std::size_t scheme = path.find(":/");
  return scheme != std::string::npos && scheme >= 2 &&
         std::all_of(path.begin(), path.begin() + static_cast<std::ptrdiff_t>(scheme),
                     [](unsigned char c) { return std::isalnum(c) || c == '+' || c == '-' || c == '.'; });
}

// Some muxers write a configurationVersion of 0 into avcC and hvcC, which then pass for Annex B.
void restore_version(AVCodecParameters& par) {
  if (par.codec_id != AV_CODEC_ID_H264 && par.codec_id != AV_CODEC_ID_HEVC) return;
  constexpr int kShortest = 7;
  std::uint8_t* const bytes = par.extradata;
  if (!bytes || par.extradata_size < kShortest || bytes[0] != 0) return;
  const bool annex_b = bytes[1] == 0 && (bytes[2] == 1 || (bytes[2] == 0 && bytes[3] == 1));
  if (!annex_b) bytes[0] = 1;
}

}  // namespace

void Demuxer::Impl::rethrow() {
  if (source_error) std::rethrow_exception(std::exchange(source_error, nullptr));
}

void Demuxer::Impl::fail(const std::string& what, int code, std::int64_t position) {
  rethrow();
  throw DecodeError(name + ": " + what + (code ? " (" + error_text(code) + ")" : ""), position);
}

Demuxer::Impl::Impl(std::string source_name, Sniffer sniffer, int wanted, std::shared_ptr<const StreamProbe> known)
    : name(std::move(source_name)), sniff(sniffer), wanted_stream(wanted), probe(std::move(known)) {
  if (!packet) throw std::bad_alloc();
}

void Demuxer::Impl::open_stream() {
  open_input();
  find_stream();
  info = describe_stream(*input, *stream);
  // So that encrypted tracks are refused when they are opened.
  if (info.container.find("mp4") != std::string::npos) held = next_packet();
}

void Demuxer::Impl::open_file(const std::string& path) {
  std::error_code ignored;
  const std::filesystem::file_status status = std::filesystem::status(path, ignored);
  if (!std::filesystem::exists(status)) {
    if (is_address(path)) {
      fail(
          "is an address, but nothing is read from the network: download the file, or pass a binary file object, such "
          "as fsspec.open(address).open()");
    }
    fail("no such file; check the path");
  }
  if (std::filesystem::is_directory(status)) fail("is a directory; give one video file");
  AVIOContext* opened = nullptr;
  // The prefix keeps names with a colon from being taken for the address of another protocol.
  AVDictionary* options = nullptr;
  av_dict_set(&options, "protocol_whitelist", "file", 0);
  const int code = avio_open2(&opened, ("file:" + path).c_str(), AVIO_FLAG_READ, nullptr, &options);
  av_dict_free(&options);
  if (code < 0) fail("cannot be opened", code);
  file_io.reset(opened);
}

void Demuxer::Impl::open_source() {
  auto* buffer = static_cast<unsigned char*>(av_malloc(kIoBuffer));
  if (!buffer) throw std::bad_alloc();
  const bool seekable = source->seekable();
  callback_io.reset(
      avio_alloc_context(buffer, kIoBuffer, 0, this, read_source, nullptr, seekable ? seek_source : nullptr));
  if (!callback_io) {
    av_free(buffer);
    throw std::bad_alloc();
  }
}

void Demuxer::Impl::open_input() {
  std::array<std::uint8_t, kSniffed> head{};
  const int filled = avio_read(io(), head.data(), static_cast<int>(head.size()));
  if (filled == 0 || filled == AVERROR_EOF) fail("is empty; copy or record it again", 0, 0);
  if (filled < 0) fail("cannot be read", filled, 0);
  if (avio_seek(io(), 0, SEEK_SET) < 0) fail("cannot be read from its beginning");

  const std::string sniffed = sniff({head.data(), static_cast<std::size_t>(filled)});
  const InputFormat format = sniffed.empty() ? nullptr : av_find_input_format(sniffed.c_str());
  if (!sniffed.empty() && !format) {
    throw UnsupportedStreamError(name + ": its codec is " + sniffed +
                                 ", which this libavformat does not know; convert it to HEVC with a newer FFmpeg");
  }
  raw = format != nullptr;
  segment_end = matroska_end({head.data(), static_cast<std::size_t>(filled)});

  AVFormatContext* context = avformat_alloc_context();
  if (!context) throw std::bad_alloc();
  context->pb = io();
  context->io_open = refuse_open;
  // Some demuxers open what a file refers to without asking io_open: none of these is started.
  AVDictionary* options = nullptr;
  av_dict_set(&options, "format_whitelist", kSelfContainedFormats, 0);
  av_dict_set(&options, "protocol_whitelist", "none", 0);
  const int code = avformat_open_input(&context, "", format, &options);  // frees the context where it fails
  av_dict_free(&options);
  if (code < 0) {
    const bool readable = !source_error;
    if (const std::string missing = readable ? missing_index(*io()) : ""; !missing.empty()) fail(missing, 0, 0);
    fail("is not a video that libavformat can read", code, 0);
  }
  input.reset(context);
  rethrow();
}

void Demuxer::Impl::probe_streams() {
  // The codecs that libavformat opens to look into the first packets may have threads of their own.
  std::vector<AVDictionary*> options(input->nb_streams, nullptr);
  for (AVDictionary*& o : options) {
    av_dict_set_int(&o, "log_level_offset", kSilent, 0);
    av_dict_set(&o, "skip_loop_filter", "all", 0);  // nobody sees these pictures
  }
  probe = std::make_shared<const StreamProbe>(*input, options.data());
  for (AVDictionary*& o : options) av_dict_free(&o);
  rethrow();
  if (probe->code() < 0) {
    check_encryption();
    fail("its streams cannot be read", probe->code());
  }
}

void Demuxer::Impl::find_stream() {
  for (unsigned i = 0; i < input->nb_streams; ++i) restore_version(*input->streams[i]->codecpar);
  if (!probe || !probe->apply(*input)) probe_streams();
  const int found = av_find_best_stream(input.get(), AVMEDIA_TYPE_VIDEO, wanted_stream, -1, nullptr, 0);
  if (found < 0 && wanted_stream != kBestStream) fail(there_is_no_stream());
  const bool picture = found >= 0 && (input->streams[found]->disposition & AV_DISPOSITION_ATTACHED_PIC);
  if (found < 0 || picture) {
    bool audio = false;
    for (unsigned i = 0; i < input->nb_streams; ++i) {
      audio |= input->streams[i]->codecpar->codec_type == AVMEDIA_TYPE_AUDIO;
    }
    check_encryption();
    fail(audio ? "has sound only; give a file with a video stream" : "has no video stream");
  }
  stream = input->streams[found];
  check_encryption();
  for (unsigned i = 0; i < input->nb_streams; ++i) {
    if (static_cast<int>(i) != found) input->streams[i]->discard = AVDISCARD_ALL;
  }
}

// What to say where `wanted_stream` is no video stream.
std::string Demuxer::Impl::there_is_no_stream() const {
  std::string text = "stream " + std::to_string(wanted_stream) + " is not a video stream; video streams are ";
  const char* separator = "";
  for (unsigned i = 0; i < input->nb_streams; ++i) {
    const AVCodecParameters& par = *input->streams[i]->codecpar;
    if (par.codec_type != AVMEDIA_TYPE_VIDEO) continue;
    text += std::exchange(separator, ", ") + std::to_string(i) + " (" + avcodec_get_name(par.codec_id) + " " +
            std::to_string(par.width) + "x" + std::to_string(par.height) + ")";
  }
  return text + (*separator ? "" : "missing");
}

// Throws where what was found of the streams, or was not, comes of encryption.
void Demuxer::Impl::check_encryption() {
  // Matroska: ContentEncKeyID (RFC 9559, 5.1.4.1.31.10)
  bool encrypted = stream && av_dict_get(stream->metadata, "enc_key_id", nullptr, 0);
  if (std::string_view(input->iformat->name) == "mpegts" && (!stream || stream->codecpar->width == 0)) {
    std::vector<std::uint8_t> head(kScrambledHead);
    const std::int64_t at = avio_tell(io());
    if (avio_seek(io(), 0, SEEK_SET) >= 0) {
      head.resize(static_cast<std::size_t>(std::max(0, avio_read(io(), head.data(), kScrambledHead))));
      encrypted = is_scrambled(head);
      avio_seek(io(), at, SEEK_SET);
    }
  }
  if (encrypted) throw UnsupportedStreamError(name + kEncrypted);
}

// At the end of the file: whether there should have been more.
void Demuxer::Impl::check_end() {
  rethrow();
  const AVIOContext& bytes = *io();
  if (bytes.error < 0 && bytes.error != AVERROR_EOF) fail("cannot be read further", bytes.error, avio_tell(io()));
  if (truncated) fail("ends in the middle of picture " + std::to_string(next_index - 1), 0, avio_size(io()));
  if (const std::int64_t size = avio_size(io()); size >= 0 && size < segment_end) {
    fail("ends after " + std::to_string(size) + " of " + std::to_string(segment_end) + " bytes" + kCutShort, 0, size);
  }
  // In these containers the index has every picture.
  if (info.container.find("mp4") == std::string::npos) return;
  if (const std::int64_t samples = indexed_samples(*stream); samples > next_index) {
    fail("ends after picture " + std::to_string(next_index - 1) + " of " + std::to_string(samples) + kCutShort, 0,
         avio_size(io()));
  }
}

Demuxer::Demuxer(const std::string& path, const std::string& name, Sniffer sniff, int stream,
                 std::shared_ptr<const StreamProbe> known)
    : impl_(std::make_unique<Impl>(name, sniff, stream, std::move(known))) {
  const Silence quiet;
  impl_->open_file(path);
  impl_->open_stream();
}

Demuxer::Demuxer(std::unique_ptr<ByteSource> source, const std::string& name, Sniffer sniff, int stream,
                 std::shared_ptr<const StreamProbe> known)
    : impl_(std::make_unique<Impl>(name, sniff, stream, std::move(known))) {
  const Silence quiet;
  impl_->source = std::move(source);
  impl_->open_source();
  impl_->open_stream();
}

Demuxer::~Demuxer() = default;
Demuxer::Demuxer(Demuxer&&) noexcept = default;
Demuxer& Demuxer::operator=(Demuxer&&) noexcept = default;

const StreamInfo& Demuxer::info() const { return impl_->info; }
const std::string& Demuxer::name() const { return impl_->name; }
std::shared_ptr<const StreamProbe> Demuxer::probe() const { return impl_->probe; }

// Takes a packet of the video stream, without counting it; false at the end.
bool Demuxer::Impl::next_packet() {
  if (!input) fail("cannot be read again");  // where rewind() has failed
  for (;;) {
    av_packet_unref(packet.get());
    const int code = av_read_frame(input.get(), packet.get());
    rethrow();
    if (code == AVERROR(EAGAIN)) continue;
    if (code == AVERROR_EOF) return false;
    if (code < 0) fail("cannot be read after picture " + std::to_string(next_index - 1), code, avio_tell(io()));
    if (packet->stream_index != stream->index) continue;
    if (const auto changed = side_data(*packet, AV_PKT_DATA_NEW_EXTRADATA); !changed.empty()) {
      extradata = std::make_shared<const std::vector<std::uint8_t>>(changed.begin(), changed.end());
    }
    if (!side_data(*packet, AV_PKT_DATA_ENCRYPTION_INFO).empty()) {
      throw UnsupportedStreamError(name + kEncrypted, packet->pos);
    }
    if (packet->size > 0) return true;
  }
}

// MP4: libavformat tells of another sample description where that differs from the one it read last, which may lie
// ahead of what it gave. From the first packet on both agree.
void Demuxer::Impl::forget_ahead() {
  if (!std::exchange(ahead, false) || info.container.find("mp4") == std::string::npos) return;
  extradata = nullptr;
  if (av_seek_frame(input.get(), stream->index, 0, AVSEEK_FLAG_BACKWARD | AVSEEK_FLAG_ANY) >= 0) next_packet();
}

bool Demuxer::read(Packet& packet) {
  const Silence quiet;
  Impl& self = *impl_;
  if (!std::exchange(self.held, false) && !self.next_packet()) {
    self.check_end();
    return false;
  }
  const AVPacket& p = *self.packet;
  packet.data = {p.data, static_cast<std::size_t>(p.size)};
  packet.index = self.next_index++;
  packet.pts = p.pts;
  packet.dts = p.dts;
  packet.duration = p.duration;
  packet.position = self.raw ? self.next_position : p.pos;
  packet.key = p.flags & AV_PKT_FLAG_KEY;
  packet.discard = p.flags & AV_PKT_FLAG_DISCARD;
  packet.extradata = self.extradata;
  self.truncated = p.flags & AV_PKT_FLAG_CORRUPT;
  // In transport streams the flag stands for a jump of the continuity counter too, as where two files were joined.
  packet.corrupt = self.truncated && self.info.container != "mpegts";
  self.next_position += p.size;
  return true;
}

bool Demuxer::seekable() const { return impl_->io()->seekable & AVIO_SEEKABLE_NORMAL; }

std::int64_t Demuxer::next_index() const { return impl_->next_index; }

void Demuxer::seek(const PacketPlace& place) {
  Impl& self = *impl_;
  if (place.index == self.next_index || (self.jumps && seekable() && jump(place))) return;
  if (place.index < self.next_index) rewind();
  for (Packet packet; self.next_index < place.index && read(packet);) {
  }
}

// By byte offset where packets follow one another in the file, else by time stamp. Containers count that by pts or dts,
// so whatever libavformat does, the packet is known by its place. Where all fails one reads from the beginning.
bool Demuxer::jump(const PacketPlace& place) {
  const Silence quiet;
  Impl& self = *impl_;
  const bool by_bytes = self.raw || self.info.container == "mpegts";
  const AVPacket& p = *self.packet;
  self.forget_ahead();
  for (const std::int64_t at : {by_bytes ? place.position : place.pts, by_bytes ? kNoTimestamp : place.dts}) {
    if (at == kNoTimestamp || place.position < 0) continue;
    const int flags = by_bytes ? AVSEEK_FLAG_BYTE : AVSEEK_FLAG_BACKWARD;
    const int code = av_seek_frame(self.input.get(), self.stream->index, at, flags);
    self.rethrow();
    bool more = code >= 0 && self.next_packet();
    while (more && !self.raw && p.pos >= 0 && p.pos < place.position) more = self.next_packet();
    // Transport streams: the first zero of a start code belongs to the packet before, if that was read.
    if (!more || !(self.raw ? p.size == place.size : p.pos == place.position && p.pts == place.pts)) continue;
    self.held = true;
    self.next_index = place.index;
    self.next_position = place.position;
    self.truncated = false;
    return true;
  }
  self.jumps = false;
  rewind();
  return false;
}

// Anew from the first byte.
void Demuxer::rewind() {
  const Silence quiet;
  Impl& self = *impl_;
  if (!seekable()) self.fail("cannot be read again: the source cannot seek");
  self.input.reset();
  if (avio_seek(self.io(), 0, SEEK_SET) < 0) self.fail("cannot be read again");
  self.open_input();
  self.find_stream();
  self.next_index = self.next_position = 0;
  self.truncated = self.held = false;
  self.ahead = true;
  self.extradata = nullptr;
}

}  // namespace ove::media
