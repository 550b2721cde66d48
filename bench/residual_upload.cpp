// What goes up to a GPU of the residual, and what that costs the CPU: the levels of coded blocks, or scaled
// coefficients, of which the GPU makes the residual. `residual_upload RUNS CLIP...` prints means a picture, the least
// of RUNS runs of each in turn: parsing on one thread, and packing the record that goes up.
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <exception>
#include <limits>
#include <memory>
#include <vector>

#include "common/geometry.h"
#include "cuda/heat_tables.h"
#include "reader/video_reader.h"

namespace {

struct Result {
  double milliseconds = std::numeric_limits<double>::max();  // of the CPU, a picture
  double bytes = 0, coded_bits = 0;                          // a picture, and a luma sample of the stream
};

double cpu_milliseconds() { return 1000.0 * static_cast<double>(std::clock()) / CLOCKS_PER_SEC; }

Result read(const char* path, ove::hevc::Detail detail) {
  Result result;
  double pictures = 0, coded_bytes = 0, samples = 0;
  std::vector<std::byte> record;
  std::vector<ove::saliency::CodedSquare> coded;
  std::unique_ptr<ove::cuda::HeatPlan> plan;
  const double begin = cpu_milliseconds();
  ove::reader::ReaderOptions options;
  options.detail = detail;
  ove::reader::VideoReader reader(ove::media::Demuxer(path), options);
  ove::reader::VideoPicture picture;
  while (reader.next(picture)) {
    const ove::hevc::CodecPicture& codec = *picture.codec;
    const int width = codec.width(), height = codec.height();
    if (!plan) {
      ove::saliency::HeatParams params;
      params.mv_weight = 0;
      plan = std::make_unique<ove::cuda::HeatPlan>(params, ove::DisplayWindow{0, 0, width, height, 0},
                                                   ove::make_geometry(width, height, ove::Resize::kCrop, 224, 14), 64,
                                                   std::int64_t{width} * height);
    }
    const auto* sparse = detail == ove::hevc::Detail::kCoefficients ? &codec.residual->sparse : nullptr;
    ove::saliency::PictureView view;
    view.width = width;
    view.height = height;
    view.bit_depth = codec.sps->bit_depth_luma;
    if (sparse == nullptr) {
      coded.clear();
      for (const auto& block : codec.residual->coded) coded.push_back({block.x4, block.y4, block.size4});
      view.residual = codec.residual->samples.data();
      view.coded = coded;
    }
    record.resize(std::max(record.size(), static_cast<std::size_t>(plan->record_bytes(sparse))));
    result.bytes += static_cast<double>(plan->pack(view, sparse, record.data()).bytes);
    pictures += 1;
    coded_bytes += static_cast<double>(codec.tag.size);
    samples += static_cast<double>(width) * height;
  }
  result.milliseconds = (cpu_milliseconds() - begin) / pictures;
  result.bytes /= pictures;
  result.coded_bits = 8 * coded_bytes / samples;
  return result;
}

}  // namespace

int main(int argc, char** argv) {
  const int runs = argc > 2 ? std::atoi(argv[1]) : 0;
  if (runs < 1) {
    std::fprintf(stderr, "usage: residual_upload RUNS CLIP...\n");
    return 2;
  }
  std::printf("| clip | bits a sample | levels: kB, CPU ms | coefficients: kB, CPU ms | CPU saved | us at 25 GB/s |\n");
  std::printf("| --- | --- | --- | --- | --- | --- |\n");
  for (int i = 2; i < argc; ++i) {
    Result best[2];
    try {
      for (int run = 0; run < 2 * runs; ++run) {
        const Result result =
            read(argv[i], run % 2 == 0 ? ove::hevc::Detail::kResidual : ove::hevc::Detail::kCoefficients);
        if (result.milliseconds < best[run % 2].milliseconds) best[run % 2] = result;
      }
    } catch (const std::exception& error) {
      std::fprintf(stderr, "%s: %s\n", argv[i], error.what());
      return 1;
    }
    const auto& [levels, sparse] = best;
    std::printf("| %s | %.2f | %.1f, %.3f | %.1f, %.3f | %.1f %% | %.1f, %.1f |\n", argv[i], levels.coded_bits,
                levels.bytes / 1e3, levels.milliseconds, sparse.bytes / 1e3, sparse.milliseconds,
                100 * (1 - sparse.milliseconds / levels.milliseconds), levels.bytes / 25e3, sparse.bytes / 25e3);
  }
  return 0;
}
