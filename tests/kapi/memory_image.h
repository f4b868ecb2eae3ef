// An image in memory, as strict as ImageSink and ImageSource promise to be, with
// faults on demand.
#pragma once

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "kapi/image.h"

namespace ckptfs {

struct MemoryImage {
  std::vector<std::string> order;
  std::map<std::string, std::string> streams;
  uint64_t TotalBytes() const {
    uint64_t total = 0;
    for (const auto& [name, bytes] : streams) total += bytes.size();
    return total;
  }
};

class MemorySink : public ImageSink {
 public:
  explicit MemorySink(MemoryImage* image) : image_(image) {}
  // Fails the operation when that many have been done; -1: never.
  int fail_after = -1;
  bool drop_bytes = false;            // keeps nothing: for measuring
  std::function<void()> before_each;  // runs before each operation
  uint64_t bytes = 0;
  int operations = 0;
  int open_streams = 0;

  Result<std::unique_ptr<Stream>> Open(std::string_view name) override {
    if (auto fine = Step(); !fine) return fine.error();
    std::string key(name);
    if (key.empty() || key.size() > 255 || image_->streams.contains(key))
      return Fail(Errc::kInternal, "stream name '{}' is bad or used twice", key);
    image_->order.push_back(key);
    return std::make_unique<MemoryStream>(this, &image_->streams[key]);
  }

 private:
  class MemoryStream : public Stream {
   public:
    MemoryStream(MemorySink* sink, std::string* out) : sink_(sink), out_(out) {
      ++sink_->open_streams;
    }
    ~MemoryStream() override { --sink_->open_streams; }
    Result<Read> ReadFrom(int fd) override {
      if (auto fine = sink_->Step(); !fine) return fine.error();
      if (ended_) return Fail(Errc::kInternal, "ReadFrom after the end");
      static thread_local std::vector<char> chunk(1 << 20);
      ssize_t n = ::read(fd, chunk.data(), chunk.size());
      if (n < 0 && (errno == EAGAIN || errno == EINTR)) return Read::kWouldBlock;
      if (n < 0) return Error::FromErrno(errno, "read");
      if (n == 0) return Read::kEnd;
      sink_->bytes += static_cast<size_t>(n);
      if (!sink_->drop_bytes) out_->append(chunk.data(), static_cast<size_t>(n));
      return Read::kMore;
    }
    Result<void> Append(Bytes appended) override {
      if (auto fine = sink_->Step(); !fine) return fine.error();
      out_->append(AsText(appended));
      return {};
    }
    Result<void> End() override {
      if (ended_) return Fail(Errc::kInternal, "ended twice");
      ended_ = true;
      return sink_->Step();
    }

   private:
    MemorySink* sink_;
    std::string* out_;
    bool ended_ = false;
  };

  Result<void> Step() {
    if (before_each) before_each();
    if (fail_after >= 0 && operations++ >= fail_after)
      return Fail(Errc::kNoSpace, "the test's disk is full");
    return {};
  }

  MemoryImage* image_;
};

class MemorySource : public ImageSource {
 public:
  explicit MemorySource(const MemoryImage* image) : image_(image) {}
  // Bytes that may be given before a frame proves damaged; -1: all.
  int64_t corrupt_after_bytes = -1;
  bool rest_is_corrupt = false;
  bool rest_verified = false;
  std::function<void()> before_each;

  std::vector<std::string> Names() const override { return image_->order; }
  Result<std::unique_ptr<Stream>> Open(std::string_view name) override {
    if (before_each) before_each();
    auto it = image_->streams.find(std::string(name));
    if (it == image_->streams.end()) return Fail(Errc::kNotFound, "no stream {}", name);
    return std::make_unique<MemoryStream>(this, it->second);
  }
  Result<void> VerifyRest() override {
    rest_verified = true;
    if (rest_is_corrupt) return Fail(Errc::kCorrupt, "frame 99 is damaged");
    return {};
  }

 private:
  class MemoryStream : public Stream {
   public:
    MemoryStream(MemorySource* source, std::string_view rest)
        : source_(source), size_(rest.size()), rest_(rest) {}
    uint64_t size_bytes() const override { return size_; }
    Result<Fed> WriteTo(int fd) override {
      if (source_->before_each) source_->before_each();
      if (rest_.empty()) return Fed::kEnd;
      auto allowed = source_->Spend(std::min<size_t>(rest_.size(), 1 << 20));
      if (!allowed) return allowed.error();
      ssize_t n = ::write(fd, rest_.data(), *allowed);
      if (n < 0 && errno == EAGAIN) return Fed::kWouldBlock;
      if (n < 0 && errno == EPIPE) return Fail(Errc::kGone, "the reader is gone");
      if (n < 0) return Error::FromErrno(errno, "write");
      rest_.remove_prefix(static_cast<size_t>(n));
      return rest_.empty() ? Fed::kEnd : Fed::kMore;
    }
    Result<size_t> Read(MutableBytes out) override {
      auto allowed = source_->Spend(std::min(out.size(), rest_.size()));
      if (!allowed) return allowed.error();
      std::memcpy(out.data(), rest_.data(), *allowed);
      rest_.remove_prefix(*allowed);
      return *allowed;
    }

   private:
    MemorySource* source_;
    uint64_t size_;
    std::string_view rest_;
  };

  Result<size_t> Spend(size_t wanted) {
    if (corrupt_after_bytes < 0 || wanted == 0) return wanted;
    if (corrupt_after_bytes == 0) return Fail(Errc::kCorrupt, "frame 7 is damaged");
    size_t n = std::min(wanted, static_cast<size_t>(corrupt_after_bytes));
    corrupt_after_bytes -= static_cast<int64_t>(n);
    return n;
  }

  const MemoryImage* image_;
};

}  // namespace ckptfs
