#include "hevc/pixel_units.h"

#include <utility>

#include "bitstream/nal.h"
#include "codec/limits.h"
#include "common/error.h"
#include "hevc/configuration.h"
#include "hevc/parameter_sets.h"

namespace ove::hevc {

namespace {

using Bytes = std::vector<std::uint8_t>;

// Whether an SPS or PPS of the base layer can be read; of those of other layers libavcodec takes no note.
bool readable(std::span<const std::uint8_t> nal_unit, bool sps) {
  if (nal_unit.size() < 2 || (nal_unit[0] & 1) != 0 || nal_unit[1] >> 3 != 0) return true;
  try {
    const std::vector<std::uint8_t> rbsp = to_rbsp(nal_unit.subspan(2));
    if (sps) {
      parse_sps(rbsp, codec::Limits());
    } else {
      parse_pps(rbsp);
    }
  } catch (const InvalidBitstreamError&) {
    return false;
  } catch (const Error&) {
    // What this library does not support libavcodec may.
  }
  return true;
}

constexpr int kSps = 33, kPps = 34;

// libavcodec wants a VPS of the number that the SPS names, and takes nothing from it: one of a single layer of the Main
// profile stands for all, whatever the stream has. The same bytes always, as a changed VPS makes it forget the SPS.
Bytes plain_vps(int id) {
  Bytes vps = {0x40, 0x01, 0x0C, 0x01, 0xFF, 0xFF, 0x01, 0x60, 0x00, 0x00, 0x03, 0x00,
               0x90, 0x00, 0x00, 0x03, 0x00, 0x00, 0x03, 0x00, 0x5D, 0xF0, 0x24};
  vps[2] = static_cast<std::uint8_t>(vps[2] | id << 4);
  return vps;
}

}  // namespace

bool is_supplementary(std::span<const std::uint8_t> nal_unit) {
  const int type = nal_unit[0] >> 1 & 0x3F;
  return (type >= 32 && type <= 34) || type == 39 || type == 40;
}

std::vector<Bytes> for_pixels(std::span<const std::uint8_t> nal_unit) {
  const int type = nal_unit[0] >> 1 & 0x3F;
  if ((type != kSps && type != kPps) || !readable(nal_unit, type == kSps)) return {};
  std::vector<Bytes> units;
  if (type == kSps && nal_unit.size() > 2) units.push_back(plain_vps(nal_unit[2] >> 4));
  units.emplace_back(nal_unit.begin(), nal_unit.end());
  return units;
}

// ISO/IEC 14496-15, 8.3.3.1: an array for each unit.
std::optional<Bytes> record_for_pixels(std::span<const std::uint8_t> record) {
  std::vector<Bytes> units;
  try {
    for (const NalUnit& unit : parse_configuration(record).nal_units) {
      for (Bytes& other : for_pixels(unit.bytes)) units.push_back(std::move(other));
    }
  } catch (const InvalidBitstreamError&) {
    return std::nullopt;  // the decoder tells what is wrong
  }
  constexpr std::size_t kNumArrays = 22, kMostArrays = 255;
  if (record.size() <= kNumArrays || units.size() > kMostArrays) return std::nullopt;
  Bytes kept(record.begin(), record.begin() + kNumArrays);
  kept.push_back(static_cast<std::uint8_t>(units.size()));
  for (const auto& unit : units) {
    kept.insert(kept.end(), {static_cast<std::uint8_t>(unit[0] >> 1 & 0x3F), 0, 1,
                             static_cast<std::uint8_t>(unit.size() >> 8), static_cast<std::uint8_t>(unit.size())});
    kept.insert(kept.end(), unit.begin(), unit.end());
  }
  return kept;
}

}  // namespace ove::hevc
