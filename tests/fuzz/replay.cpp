// Stands in for libFuzzer where the compiler has none: runs a target on files, then on mutations of them.
//   fuzz_TARGET [-runs=N] [-seed=N] [-max_len=N] [-exact_artifact_path=FILE] FILE_OR_FOLDER...
// The same arguments always run the same inputs. The input at work when the process dies is written to FILE.

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#include <sanitizer/common_interface_defs.h>
#define OVE_SANITIZED
#endif

#include "mutator.h"

extern "C" __attribute__((weak)) int LLVMFuzzerInitialize(int* argc, char*** argv);

namespace {

using Bytes = std::vector<std::uint8_t>;

Bytes input_at_work;
std::string artifact;
std::minstd_rand mutations;

void save_input() {
  if (artifact.empty()) return;
  std::ofstream(artifact, std::ios::binary)
      .write(reinterpret_cast<const char*>(input_at_work.data()), std::ssize(input_at_work));
  std::fprintf(stderr, "the input was written to %s\n", artifact.c_str());
}

void run(Bytes input) {
  input_at_work = std::move(input);
  LLVMFuzzerTestOneInput(input_at_work.data(), input_at_work.size());
}

Bytes load(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

// Whether `argument` is -NAME=N.
bool take_number(std::string_view argument, std::string_view name, std::size_t& value) {
  if (!argument.starts_with(name)) return false;
  argument.remove_prefix(name.size());
  return std::from_chars(argument.data(), argument.data() + argument.size(), value).ec == std::errc();
}

}  // namespace

// Bytes set, inserted and removed at random.
extern "C" std::size_t LLVMFuzzerMutate(std::uint8_t* data, std::size_t size, std::size_t max_size) {
  const std::size_t at = mutations() % (size + 1);
  if (const auto choice = mutations() % 4; choice == 0 && size < max_size) {
    std::copy_backward(data + at, data + size, data + size + 1);
    data[at] = static_cast<std::uint8_t>(mutations());
    return size + 1;
  } else if (choice == 1 && at < size && size > 1) {
    std::copy(data + at + 1, data + size, data + at);
    return size - 1;
  } else if (at < size) {
    data[at] = choice == 2 ? static_cast<std::uint8_t>(mutations())
                           : data[at] ^ static_cast<std::uint8_t>(1U << mutations() % 8);
  }
  return size;
}

int main(int argc, char** argv) {
  std::size_t runs = 0, seed = 1, max_size = std::size_t{1} << 16;
  std::vector<std::filesystem::path> paths;
  for (int i = 1; i < argc; ++i) {
    const std::string_view argument = argv[i];
    constexpr std::string_view kArtifact = "-exact_artifact_path=";
    if (take_number(argument, "-runs=", runs) || take_number(argument, "-seed=", seed) ||
        take_number(argument, "-max_len=", max_size)) {
      continue;
    }
    if (argument.starts_with(kArtifact)) {
      artifact = argument.substr(kArtifact.size());
    } else if (std::filesystem::is_directory(argument)) {
      for (const auto& entry : std::filesystem::directory_iterator(argument)) paths.push_back(entry.path());
    } else if (std::filesystem::exists(argument)) {
      paths.emplace_back(argument);
    } else {
      std::fprintf(stderr, "%s is neither a file nor an option\n", argv[i]);
      return 2;
    }
  }
  std::sort(paths.begin(), paths.end());
  if (LLVMFuzzerInitialize) LLVMFuzzerInitialize(&argc, &argv);
#ifdef OVE_SANITIZED
  __sanitizer_set_death_callback(save_input);
#endif

  std::vector<Bytes> corpus;
  for (const auto& path : paths) corpus.push_back(load(path));
  try {
    for (const Bytes& input : corpus) run(input);
    std::minstd_rand random(static_cast<unsigned>(seed));
    mutations.seed(static_cast<unsigned>(seed));
    for (std::size_t i = 0; i < runs && !corpus.empty(); ++i) {
      Bytes input = corpus[random() % corpus.size()];
      std::size_t size = std::min(input.size(), max_size);
      input.resize(max_size);
      for (auto n = 1 + random() % 3; n > 0; --n) {
        const auto mutation_seed = static_cast<unsigned>(random());
        size = LLVMFuzzerCustomMutator(input.data(), size, max_size, mutation_seed);
      }
      input.resize(size);
      run(std::move(input));
    }
  } catch (const std::exception& error) {
    std::fprintf(stderr, "finding: %s\n", error.what());
    save_input();
    return 1;
  }
  std::printf("%zu inputs and %zu mutations\n", corpus.size(), runs);
  return 0;
}
