#include "h264/picture.h"

#include <utility>

#include "h264/nal_unit.h"

namespace ove::h264 {

std::shared_ptr<const ActiveSets> make_active_sets(std::shared_ptr<const Sps> sps,
                                                   std::map<int, std::shared_ptr<const Pps>> pps,
                                                   std::shared_ptr<const codec::Bytes> early_x264) {
  using Format = codec::PictureFormat;
  auto sets = std::make_shared<ActiveSets>();
  Format format{.width = sps->width(),
                .height = sps->height(),
                .window = sps->window,
                .bit_depth = sps->bit_depth_luma,
                .has_fields = false,
                .log2_unit = 4,
                .log2_bits = 4,
                .log2_slice = 4};
  sets->frame_format = std::make_shared<const Format>(format);
  format.has_fields = true;
  sets->mbaff_format = std::make_shared<const Format>(format);
  Format shown = format;
  shown.log2_unit = 2;
  shown.log2_slice = 2;
  sets->shown_format = std::make_shared<const Format>(shown);
  format.height /= 2;
  format.window.y /= 2;
  format.window.height /= 2;
  sets->field_format = std::make_shared<const Format>(format);
  const auto add = [&](NalUnitType type, int id, std::shared_ptr<const codec::Bytes> nal_unit) {
    sets->units.push_back({static_cast<int>(type) << 8 | id, std::move(nal_unit)});
  };
  add(NalUnitType::kSps, sps->id, {sps, &sps->nal_unit});
  for (const auto& [id, set] : pps) add(NalUnitType::kPps, id, {set, &set->nal_unit});
  if (early_x264) add(NalUnitType::kSei, 0, early_x264);
  sets->early_x264 = std::move(early_x264);
  sets->sps = std::move(sps);
  sets->pps = std::move(pps);
  return sets;
}

}  // namespace ove::h264
