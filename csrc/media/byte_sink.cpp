#include "media/byte_sink.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <system_error>
#include <utility>

namespace ove::media {

void MemorySink::write(std::span<const std::uint8_t> bytes) {
  if (bytes_.size() < position_ + bytes.size()) bytes_.resize(position_ + bytes.size());
  std::copy(bytes.begin(), bytes.end(), bytes_.begin() + static_cast<std::ptrdiff_t>(position_));
  position_ += bytes.size();
}

void MemorySink::seek(std::int64_t offset) {
  position_ = static_cast<std::size_t>(std::clamp<std::int64_t>(offset, 0, size()));
}

FileSink::FileSink(std::string path)
    : path_(std::move(path)), file_(::open(path_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666)) {
  if (file_ < 0) fail();
}

FileSink::~FileSink() {
  if (file_ >= 0) ::close(file_);
}

void FileSink::fail() const { throw std::system_error(errno, std::generic_category(), path_); }

void FileSink::write(std::span<const std::uint8_t> bytes) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(file_, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) fail();
    bytes = bytes.subspan(static_cast<std::size_t>(written));
    position_ += written;
    size_ = std::max(size_, position_);
  }
}

void FileSink::seek(std::int64_t offset) {
  if (::lseek(file_, offset, SEEK_SET) < 0) fail();
  position_ = offset;
}

void FileSink::close() {
  // Devices and pipes have nothing to wait for.
  if (::fsync(file_) < 0 && errno != EINVAL && errno != EROFS && errno != ENOTSUP) fail();
  if (::close(std::exchange(file_, -1)) < 0) fail();
}

}  // namespace ove::media
