// Fuzz target: a whole file of any container, through the public C++ entry.
//
// Input: the file, then a byte of flags.
//   flags & 1    two threads
//   flags & 2    decoding order
//   flags >> 2   which pictures are read again by their index: every n-th (3 bits), from the m-th on (3 bits)

extern "C" {
#include <libavutil/mem.h>
}

#include <cstdint>
#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "check.h"
#include "common/error.h"
#include "mutator.h"
#include "reader/codecs.h"
#include "reader/picture_table.h"
#include "reader/video_reader.h"

namespace ove::fuzz {

namespace {

media::Demuxer open(std::span<const std::uint8_t> file) {
  // Its own memory, so that a read past its end is seen.
  const auto bytes = std::make_shared<const std::vector<std::uint8_t>>(file.begin(), file.end());
  return {std::make_unique<media::MemorySource>(*bytes, bytes), "file", reader::sniff_byte_stream};
}

struct Reading {
  struct Given {
    std::int64_t index;
    std::size_t hash;
    int times = 1;
  };
  // By packet and order count, which name a picture in any reading, unless a packet holds it twice.
  std::map<std::pair<std::int64_t, int>, Given> pictures;
  bool complete = false;  // no error
};

Reading read(std::span<const std::uint8_t> file, reader::ReaderOptions options) {
  Reading reading;
  try {
    reader::VideoReader reader(open(file), std::move(options));
    for (reader::VideoPicture picture; reader.next(picture);) {
      const std::pair key(picture.codec->tag.packet, picture.codec->poc);
      const auto [at, is_new] =
          reading.pictures.try_emplace(key, Reading::Given{picture.index, check_picture(*picture.codec)});
      if (!is_new) ++at->second.times;
    }
    reading.complete = true;
  } catch (const Error& error) {
    if (*error.what() == '\0') finding("an error without a message");
  }
  return reading;
}

// What tables claim may not be so: then errors are all that comes of it.
void read_by_tables(std::span<const std::uint8_t> file, reader::ReaderOptions options) {
  try {
    media::Demuxer demuxer = open(file);
    const auto table = reader::PictureTable::read(demuxer);
    if (!table) return;
    std::erase_if(options.frame_ids, [&](std::int64_t id) { return id >= std::ssize(table->pictures()); });
    media::Demuxer again = open(file);
    auto index = table->index(again, options.limits, options.frame_ids);
    if (!index) return;
    options.index = std::make_shared<const reader::VideoIndex>(std::move(*index));
    read(file, options);
  } catch (const Error&) {
  }
}

}  // namespace

std::size_t annex_b_begin(std::span<const std::uint8_t> input) {
  const bool annex_b =
      input.size() > 4 && input[0] == 0 && input[1] == 0 && (input[2] == 1 || (input[2] | input[3]) == 1);
  return annex_b ? 0 : input.size();
}

}  // namespace ove::fuzz

extern "C" int LLVMFuzzerInitialize(int*, char***) {
  av_max_alloc(std::size_t{1} << 26);  // what libavformat allocates on the word of a file is its own matter
  return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace ove;
  using namespace ove::fuzz;
  if (size == 0) return -1;
  const int flags = data[size - 1];
  const std::span file(data, size - 1);

  reader::ReaderOptions options;
  options.threads = flags & 1 ? 2 : 1;
  options.order = flags & 2 ? codec::Order::kDecoding : codec::Order::kDisplay;
  options.limits.max_luma_samples = kMaxLumaSamples;
  options.limits.max_slice_segments = 256;
  const Reading all = read(file, options);
  if (all.pictures.empty() || options.order == codec::Order::kDecoding) return 0;

  try {
    options.index = std::make_shared<const reader::VideoIndex>(reader::index_video(open(file), options.limits));
  } catch (const Error&) {
    if (all.complete) finding("a video that reads whole has no index");
    return 0;
  }
  const std::int64_t count = std::ssize(options.index->pictures);
  for (std::int64_t i = flags >> 5; i < count; i += 1 + (flags >> 2 & 7)) options.frame_ids.push_back(i);
  const Reading chosen = read(file, options);
  if (all.complete && (!chosen.complete || chosen.pictures.size() > options.frame_ids.size())) {
    finding("chosen pictures of a sound video do not read");
  }
  for (const auto& [key, given] : chosen.pictures) {
    const auto at = all.pictures.find(key);
    if (at == all.pictures.end() || at->second.times > 1 || given.times > 1) continue;
    if (at->second.hash != given.hash) finding("a picture read by its index differs");
    if (all.complete && at->second.index != given.index) finding("a picture read by its index has another one");
  }
  read_by_tables(file, options);
  return 0;
}
