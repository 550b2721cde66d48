#include "media/stream_probe.h"

#include <algorithm>
#include <new>
#include <string_view>

#include "media/first_picture.h"

namespace ove::media {

namespace {

bool same(AVRational a, AVRational b) { return a.num == b.num && a.den == b.den; }

std::span<const std::uint8_t> extradata(const AVCodecParameters& p) {
  return {p.extradata, static_cast<std::size_t>(p.extradata ? p.extradata_size : 0)};
}

}  // namespace

std::vector<StreamProbe::Stream> StreamProbe::describe(const AVFormatContext& input) {
  std::vector<Stream> out;
  for (unsigned i = 0; i < input.nb_streams; ++i) {
    const AVStream& s = *input.streams[i];
    Parameters parameters(avcodec_parameters_alloc());
    if (!parameters || avcodec_parameters_copy(parameters.get(), s.codecpar) < 0) throw std::bad_alloc();
    const Times times{s.start_time,     s.duration,     s.nb_frames,          s.time_base,
                      s.avg_frame_rate, s.r_frame_rate, s.sample_aspect_ratio};
    out.push_back({std::move(parameters), times, media::num_indexed(s)});
  }
  return out;
}

bool StreamProbe::same(const Stream& a, const Stream& b) {
  const AVCodecParameters &p = *a.parameters, &q = *b.parameters;
  const Times &s = a.times, &t = b.times;
  return p.codec_type == q.codec_type && p.codec_id == q.codec_id && p.codec_tag == q.codec_tag && p.width == q.width &&
         p.height == q.height && std::ranges::equal(extradata(p), extradata(q)) && s.start_time == t.start_time &&
         s.duration == t.duration && s.num_frames == t.num_frames && media::same(s.time_base, t.time_base) &&
         a.num_indexed == b.num_indexed;
}

StreamProbe::StreamProbe(AVFormatContext& input, AVDictionary** options) : opened_(describe(input)) {
  code_ = describe_first_picture(input) ? 0 : avformat_find_stream_info(&input, options);
  probed_ = describe(input);
  start_time_ = input.start_time;
  duration_ = input.duration;
  bit_rate_ = input.bit_rate;
}

bool StreamProbe::apply(AVFormatContext& input) const {
  if (code_ < 0 || opened_.size() != probed_.size()) return false;  // streams that come later are found by reading
  if (std::string_view(input.iformat->name).find("mp4") == std::string_view::npos) return false;
  // In fragments, which have no table of all pictures, libavformat counts durations on from what it has probed.
  if (!std::ranges::all_of(opened_, [](const Stream& s) {
        return s.parameters->codec_type != AVMEDIA_TYPE_VIDEO || s.times.num_frames > 0;
      })) {
    return false;
  }
  if (!std::ranges::equal(opened_, describe(input), same)) return false;
  for (std::size_t i = 0; i < probed_.size(); ++i) {
    AVStream& s = *input.streams[i];
    if (avcodec_parameters_copy(s.codecpar, probed_[i].parameters.get()) < 0) throw std::bad_alloc();
    const Times& times = probed_[i].times;
    s.start_time = times.start_time;
    s.duration = times.duration;
    s.nb_frames = times.num_frames;
    s.avg_frame_rate = times.frame_rate;
    s.r_frame_rate = times.guessed_frame_rate;
    s.sample_aspect_ratio = times.sample_aspect_ratio;
  }
  input.start_time = start_time_;
  input.duration = duration_;
  input.bit_rate = bit_rate_;
  return true;
}

}  // namespace ove::media
