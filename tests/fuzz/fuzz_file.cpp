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
#include "reader/video_reader.h"

namespace ove::fuzz {

namespace {

media::Demuxer open(std::span<const std::uint8_t> file) {
  // Its own memory, so that a read past its end is seen.
  const auto bytes = std::make_shared<const std::vector<std::uint8_t>>(file.begin(), file.end());
  return {std::make_unique<media::MemorySource>(*bytes, bytes), "file"};
}

// Hashes of pictures by decode_index; those before the error, if there is one.
std::map<std::int64_t, std::size_t> read(std::span<const std::uint8_t> file, reader::ReaderOptions options,
                                         bool& complete) {
  std::map<std::int64_t, std::size_t> pictures;
  complete = false;
  try {
    reader::VideoReader reader(open(file), std::move(options));
    for (reader::VideoPicture picture; reader.next(picture);) {
      pictures[picture.codec->decode_index] = check_picture(*picture.codec);
    }
    complete = true;
  } catch (const Error& error) {
    if (*error.what() == '\0') finding("an error without a message");
  }
  return pictures;
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
  options.order = flags & 2 ? hevc::Order::kDecoding : hevc::Order::kDisplay;
  options.limits.max_luma_samples = kMaxLumaSamples;
  options.limits.max_slice_segments = 256;
  bool complete = false;
  const auto pictures = read(file, options, complete);
  if (pictures.empty() || options.order == hevc::Order::kDecoding) return 0;

  try {
    options.index = std::make_shared<const reader::VideoIndex>(reader::index_video(open(file)));
  } catch (const Error&) {
    if (complete) finding("a video that reads whole has no index");
    return 0;
  }
  const std::int64_t count = std::ssize(options.index->pictures);
  if (complete && count != std::ssize(pictures)) finding("the index has another number of pictures");
  for (std::int64_t i = flags >> 5; i < count; i += 1 + (flags >> 2 & 7)) options.frame_ids.push_back(i);
  options.index->droppable_packets(options.frame_ids);
  bool chosen_complete = false;
  const auto chosen = read(file, options, chosen_complete);
  if (complete && !chosen_complete) finding("chosen pictures of a sound video fail");
  for (const auto& [index, hash] : chosen) {
    if (const auto at = pictures.find(index); at != pictures.end() && at->second != hash) {
      finding("a picture read by its index differs");
    }
  }
  return 0;
}
