#include "agent/store/stream_writer.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace ckptfs {
namespace {
constexpr size_t kGatherBytes = 64 << 10;
constexpr size_t kBytesACall = 1 << 20;
}  // namespace

void StreamWriter::Count(size_t bytes) {
  state_.size_bytes += bytes;
  if (Progress* progress = unit_.options_.unit.progress)
    progress->bytes_done.fetch_add(bytes, std::memory_order_relaxed);
}

size_t StreamWriter::MovePending(MutableBytes room) {
  size_t size = pending_.size();
  if (size > 0) std::memcpy(room.data(), pending_.data(), size);
  pending_.clear();
  return size;
}

void StreamWriter::TakeFilled(MutableBytes room, size_t filled_bytes) {
  size_t pages = filled_bytes / kPageBytes;
  pending_.assign(room.begin() + static_cast<ptrdiff_t>(pages * kPageBytes),
                  room.begin() + static_cast<ptrdiff_t>(filled_bytes));
  unit_.intake_->Submit(state_, pages);
}

Result<void> StreamWriter::StopGathering() {
  gathering_ = false;
  std::vector<uint8_t> gathered = std::move(pending_);
  pending_ = {};
  Bytes left = gathered;
  while (!left.empty()) {
    auto room = unit_.intake_->Room();
    if (!room) return room.error();
    size_t count = std::min(room->size(), left.size());
    std::memcpy(room->data(), left.data(), count);
    left = left.subspan(count);
    TakeFilled(*room, count);
  }
  return {};
}

Result<ImageSink::Read> StreamWriter::ReadFrom(int fd) {
  for (size_t total = 0; total < kBytesACall;) {
    if (gathering_ && pending_.size() == kGatherBytes)
      if (auto stopped = StopGathering(); !stopped) return stopped.error();
    ssize_t n;
    if (gathering_) {
      size_t had = pending_.size();
      pending_.resize(kGatherBytes);
      n = ::read(fd, pending_.data() + had, kGatherBytes - had);
      int failed = errno;
      pending_.resize(had + static_cast<size_t>(std::max<ssize_t>(n, 0)));
      errno = failed;
    } else {
      auto room = unit_.intake_->Room();
      if (!room) return room.error();
      // What is pending stays here until something follows it: another stream may
      // fill the same room before.
      size_t had = pending_.size();
      n = ::read(fd, room->data() + had, room->size() - had);
      if (n > 0) {
        (void)MovePending(*room);
        TakeFilled(*room, had + static_cast<size_t>(n));
      }
    }
    if (n < 0) {
      if (errno == EINTR) continue;
      if (errno == EAGAIN) return ImageSink::Read::kWouldBlock;
      return Error::FromErrno(errno, "read the checkpointer's pipe");
    }
    if (n == 0) return ImageSink::Read::kEnd;
    Count(static_cast<size_t>(n));
    total += static_cast<size_t>(n);
  }
  return ImageSink::Read::kMore;
}

Result<void> StreamWriter::Append(Bytes bytes) {
  Count(bytes.size());
  while (!bytes.empty()) {
    if (gathering_ && pending_.size() + bytes.size() <= kGatherBytes) {
      pending_.insert(pending_.end(), bytes.begin(), bytes.end());
      return {};
    }
    if (gathering_)
      if (auto stopped = StopGathering(); !stopped) return stopped;
    auto room = unit_.intake_->Room();
    if (!room) return room.error();
    size_t had = MovePending(*room);
    size_t count = std::min(room->size() - had, bytes.size());
    std::memcpy(room->data() + had, bytes.data(), count);
    bytes = bytes.subspan(count);
    TakeFilled(*room, had + count);
  }
  return {};
}

Result<void> StreamWriter::End() {
  if (ended_) return Fail(Errc::kInternal, "a stream of the image ended twice");
  if (gathering_)
    if (auto stopped = StopGathering(); !stopped) return stopped;
  if (!pending_.empty()) {
    auto room = unit_.intake_->Room();
    if (!room) return room.error();
    size_t had = MovePending(*room);
    std::memset(room->data() + had, 0, kPageBytes - had);
    TakeFilled(*room, kPageBytes);
  }
  ended_ = true;
  --unit_.open_streams_;
  return {};
}

}  // namespace ckptfs
