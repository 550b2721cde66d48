#include "media/iso_boxes.h"

#include <cstdint>

namespace ove::media {

namespace {

constexpr int kMostBoxes = 10000;

constexpr std::uint32_t tag(const char (&name)[5]) {
  std::uint32_t value = 0;
  for (int i = 0; i < 4; ++i) value = value << 8 | static_cast<std::uint8_t>(name[i]);
  return value;
}

bool begins_a_file(std::uint32_t type) {
  return type == tag("ftyp") || type == tag("styp") || type == tag("mdat") || type == tag("free") ||
         type == tag("skip") || type == tag("wide") || type == tag("moov") || type == tag("moof") ||
         type == tag("sidx");
}

}  // namespace

std::string missing_index(AVIOContext& io) {
  const std::int64_t end = avio_size(&io);
  constexpr std::int64_t kHeader = 8;
  if (end < kHeader || !(io.seekable & AVIO_SEEKABLE_NORMAL)) return {};
  bool fragment = false;
  std::int64_t at = 0;
  for (int i = 0; i < kMostBoxes && at <= end - kHeader; ++i) {
    if (avio_seek(&io, at, SEEK_SET) < 0) return {};
    std::uint64_t size = avio_rb32(&io);
    const std::uint32_t type = avio_rb32(&io);
    if (i == 0 && !begins_a_file(type)) return {};
    if (size == 1) size = avio_rb64(&io);
    if (size == 0) size = static_cast<std::uint64_t>(end - at);
    if (size < static_cast<std::uint64_t>(kHeader)) break;
    const bool overruns = size > static_cast<std::uint64_t>(end - at);
    if (type == tag("moov")) {
      return overruns ? "its index (moov) is incomplete: a download or recording cut short; copy it again" : "";
    }
    fragment |= type == tag("moof");
    if (overruns) break;
    at += static_cast<std::int64_t>(size);
  }
  if (fragment) {
    return "the index (moov) is missing: this is a media segment; put its initialization segment before it, in one "
           "file";
  }
  return "the index (moov) is missing: a download or recording cut short; copy or record it again";
}

}  // namespace ove::media
