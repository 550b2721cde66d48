// Where the bytes of a video come from when it is not a plain file.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <utility>

namespace ove::media {

// Called from one thread at a time. May throw: the exception leaves the Demuxer's call that caused it.
class ByteSource {
 public:
  virtual ~ByteSource() = default;
  // Fills a part of `buffer` and returns how much; 0 only at the end.
  virtual std::size_t read(std::span<std::uint8_t> buffer) = 0;
  // Moves to a byte offset from the beginning and returns it, or -1 where the source cannot.
  virtual std::int64_t seek(std::int64_t offset) = 0;
  virtual bool seekable() const = 0;
  // Total number of bytes, or -1 where it is unknown.
  virtual std::int64_t size() const = 0;
};

// Bytes in memory; `owner` keeps them alive.
class MemorySource final : public ByteSource {
 public:
  MemorySource(std::span<const std::uint8_t> bytes, std::shared_ptr<const void> owner)
      : bytes_(bytes), owner_(std::move(owner)) {}

  std::size_t read(std::span<std::uint8_t> buffer) override {
    const std::size_t n = std::min(buffer.size(), bytes_.size() - offset_);
    std::copy_n(bytes_.begin() + static_cast<std::ptrdiff_t>(offset_), n, buffer.begin());
    offset_ += n;
    return n;
  }
  std::int64_t seek(std::int64_t offset) override {
    if (offset < 0 || static_cast<std::uint64_t>(offset) > bytes_.size()) return -1;
    offset_ = static_cast<std::size_t>(offset);
    return offset;
  }
  bool seekable() const override { return true; }
  std::int64_t size() const override { return static_cast<std::int64_t>(bytes_.size()); }

 private:
  std::span<const std::uint8_t> bytes_;
  std::shared_ptr<const void> owner_;
  std::size_t offset_ = 0;
};

}  // namespace ove::media
