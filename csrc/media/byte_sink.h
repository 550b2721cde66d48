// Where the bytes of a written video go.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace ove::media {

// Called from one thread at a time. May throw: the exception leaves the call that caused it.
class ByteSink {
 public:
  virtual ~ByteSink() = default;
  // Writes all of `bytes` at the position, and moves it behind them.
  virtual void write(std::span<const std::uint8_t> bytes) = 0;
  // Moves to a byte offset from the beginning, at most the size.
  virtual void seek(std::int64_t offset) = 0;
  virtual std::int64_t size() const = 0;
  // Everything is written. Nothing may be called afterwards.
  virtual void close() = 0;
};

class MemorySink final : public ByteSink {
 public:
  void write(std::span<const std::uint8_t> bytes) override;
  void seek(std::int64_t offset) override;
  std::int64_t size() const override { return static_cast<std::int64_t>(bytes_.size()); }
  void close() override {}
  const std::vector<std::uint8_t>& bytes() const { return bytes_; }

 private:
  std::vector<std::uint8_t> bytes_;
  std::size_t position_ = 0;
};

// A file of the local system, made anew. Throws std::system_error where the system refuses, a full disk included.
class FileSink final : public ByteSink {
 public:
  explicit FileSink(std::string path);
  ~FileSink() override;
  FileSink(const FileSink&) = delete;
  FileSink& operator=(const FileSink&) = delete;

  void write(std::span<const std::uint8_t> bytes) override;
  void seek(std::int64_t offset) override;
  std::int64_t size() const override { return size_; }
  // Waits until the bytes have reached the disk, where the file lies on one.
  void close() override;

 private:
  [[noreturn]] void fail() const;

  std::string path_;
  int file_;
  std::int64_t position_ = 0, size_ = 0;
};

}  // namespace ove::media
