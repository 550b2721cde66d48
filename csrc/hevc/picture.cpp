#include "hevc/picture.h"

#include <string>
#include <utility>

#include "hevc/nal_unit_type.h"

namespace ove::hevc {

namespace {

// What a PPS may say only of the SPS it is used with.
void check_compatible(const Sps& sps, const Pps& pps) {
  const int depth = sps.log2_ctb - sps.log2_min_cb;
  if (pps.diff_cu_qp_delta_depth > depth || pps.diff_cu_chroma_qp_offset_depth > depth ||
      pps.log2_parallel_merge_level > sps.log2_ctb || pps.init_qp < -6 * (sps.bit_depth_luma - 8)) {
    throw InvalidBitstreamError("picture parameter set " + std::to_string(pps.id) +
                                " does not fit its sequence parameter set");
  }
}

}  // namespace

std::shared_ptr<const ActiveSets> make_active_sets(std::shared_ptr<const Sps> sps, std::shared_ptr<const Pps> pps,
                                                   std::shared_ptr<const codec::Bytes> vps) {
  check_compatible(*sps, *pps);
  auto sets = std::make_shared<ActiveSets>();
  sets->tiles = make_tile_layout(*sps, *pps);
  sets->format = std::make_shared<const codec::PictureFormat>(codec::PictureFormat{.width = sps->width,
                                                                                   .height = sps->height,
                                                                                   .window = sps->window,
                                                                                   .bit_depth = sps->bit_depth_luma,
                                                                                   .log2_unit = sps->log2_min_cb,
                                                                                   .log2_bits = sps->log2_ctb,
                                                                                   .log2_slice = sps->log2_ctb});
  const auto add = [&](NalUnitType type, int id, std::shared_ptr<const codec::Bytes> nal_unit) {
    sets->units.push_back({static_cast<int>(type) << 8 | id, std::move(nal_unit)});
  };
  if (vps) add(NalUnitType::kVps, sps->vps_id, std::move(vps));
  add(NalUnitType::kSps, sps->id, {sps, &sps->nal_unit});
  add(NalUnitType::kPps, pps->id, {pps, &pps->nal_unit});
  sets->sps = std::move(sps);
  sets->pps = std::move(pps);
  return sets;
}

}  // namespace ove::hevc
