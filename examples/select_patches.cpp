// The patches of a video that carry the most motion and residual, without Python: one line "picture row column" a
// patch.
//
//   select_patches VIDEO [BUDGET [PICTURES]]

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <memory>
#include <utility>
#include <vector>

#include "common/geometry.h"
#include "pipeline/score_video.h"
#include "reader/codecs.h"
#include "reader/video_index.h"
#include "saliency/ranking.h"

namespace {

// `count` display indices, spread evenly over `total` pictures.
std::vector<std::int64_t> spread(std::int64_t total, std::int64_t count) {
  std::vector<std::int64_t> ids;
  count = std::min(total, count);
  for (std::int64_t i = 0; i < count; ++i) ids.push_back((2 * i + 1) * total / (2 * count));
  return ids;
}

void select_patches(const char* path, std::int64_t budget, std::int64_t pictures) {
  using namespace ove;
  const auto open = [&] { return media::Demuxer(path, path, reader::sniff_byte_stream); };

  reader::ReaderOptions options;
  options.threads = 0;
  const auto index = std::make_shared<const reader::VideoIndex>(reader::index_video(open(), options.limits));
  options.index = index;
  options.frame_ids = spread(std::ssize(index->pictures), pictures);
  if (options.frame_ids.empty()) return;

  media::Demuxer demuxer = open();
  const codec::Window& shown = index->decoded.front().format->window;
  pipeline::Scoring scoring;
  scoring.window = {shown.x, shown.y, shown.width, shown.height, demuxer.info().orientation};
  scoring.geometry =
      make_geometry(scoring.window.display_width(), scoring.window.display_height(), Resize::kCrop, 224, 14);
  const int rows = scoring.geometry.rows, columns = scoring.geometry.columns;
  const auto patches = static_cast<std::size_t>(rows * columns);
  const std::size_t frames = options.frame_ids.size();
  const std::vector<std::int64_t> ids = options.frame_ids;
  std::vector<float> scores(frames * patches);
  pipeline::score_video(std::move(demuxer), std::move(options), scoring, scores);

  std::vector<std::uint8_t> valid(patches);
  for (int row = 0; row < rows; ++row) {
    for (int column = 0; column < columns; ++column) {
      valid[static_cast<std::size_t>(row * columns + column)] = scoring.geometry.covers(row, column);
    }
  }
  const std::vector<std::uint8_t> keep_whole(frames);
  saliency::RankingParams ranking;
  ranking.budget = budget;
  const saliency::Saliency saliency(scoring.params, scoring.window, scoring.geometry);
  const auto kept = saliency::keep_patches({.scores = scores,
                                            .frames = static_cast<int>(frames),
                                            .patches = static_cast<int>(patches),
                                            .full_score = saliency.full_score(),
                                            .valid = valid,
                                            .keep_whole = keep_whole},
                                           ranking);
  for (std::size_t i = 0; i < kept.size(); ++i) {
    const auto patch = static_cast<int>(i % patches);
    if (kept[i])
      std::printf("%lld %d %d\n", static_cast<long long>(ids[i / patches]), patch / columns, patch % columns);
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) {
    std::fprintf(stderr, "usage: select_patches VIDEO [BUDGET [PICTURES]]\n");
    return 2;
  }
  try {
    select_patches(argv[1], argc > 2 ? std::atoll(argv[2]) : 256, argc > 3 ? std::atoll(argv[3]) : 16);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
  return 0;
}
