#include "agent/store/pack_file.h"

#include <fcntl.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace ckptfs {
namespace {

constexpr uint64_t kBlock = 4096;
constexpr uint64_t kLeastPiece = 2 << 20;
constexpr uint64_t kMostPiece = 4 << 20;
// One is in the disk's hands while the other is made; more only cost wake-ups.
constexpr int kWriters = 2;
constexpr uint64_t kAllocateFrom = 8 << 20;
// ext4 keeps few extents of what is allocated in large steps, and writes into
// allocated room do not take the file's lock for its size.
constexpr uint64_t kAllocateStep = 256 << 20;

uint64_t RoundUp(uint64_t value, uint64_t step) { return (value + step - 1) / step * step; }

}  // namespace

Result<std::unique_ptr<PackFile>> PackFile::Create(const Disk& disk, BufferPool& pool,
                                                   const Options& options) {
  bool direct = true;
  auto fd = disk.Create(options.dir_fd, options.name, O_DIRECT);
  if (!fd && fd.error().code() == Errc::kInvalid) {
    // The file system has no O_DIRECT; some have made the file all the same.
    (void)disk.Unlink(options.dir_fd, options.name);
    direct = false;
    fd = disk.Create(options.dir_fd, options.name);
  }
  if (!fd) return fd.error();
  auto ring = pool.Take(RoundUp(std::max<uint64_t>(options.ring_bytes, 8 << 20), kMostPiece) +
                        RoundUp(kMaxStoredFrameBytes, kBlock));
  if (!ring) {
    (void)disk.Unlink(options.dir_fd, options.name);
    return ring.error();
  }
  return std::unique_ptr<PackFile>(
      new PackFile(disk, options, std::move(*fd), direct, std::move(*ring)));
}

PackFile::PackFile(const Disk& disk, const Options& options, Fd fd, bool direct, Buffer ring)
    : disk_(disk),
      options_(options),
      fd_(std::move(fd)),
      direct_(direct),
      ring_(std::move(ring)),
      ring_bytes_((ring_.size_bytes() - kMaxStoredFrameBytes) / kBlock * kBlock) {
  for (int i = 0; i < kWriters; ++i) writers_.emplace_back([this] { WriteLoop(); });
}

PackFile::~PackFile() {
  shared_.Lock()->abandoned = true;
  StopWriters();
  if (!keep_) (void)disk_.Unlink(options_.dir_fd, options_.name);
}

void PackFile::StopWriters() {
  work_.notify_all();
  for (std::thread& writer : writers_) writer.join();
  writers_.clear();
}

Result<uint8_t*> PackFile::Reserve(size_t size_bytes) {
  auto shared = shared_.Lock();
  // A block more than the frame: the last piece is padded to a whole block.
  shared.Wait(room_, [&] {
    return shared->failed ||
           shared->reserved + size_bytes + kBlock <= shared->written + ring_bytes_;
  });
  if (shared->failed) return *shared->failed;
  uint8_t* room = At(shared->reserved);
  shared->reserved += size_bytes;
  return room;
}

void PackFile::TrimReserved() {
  auto shared = shared_.Lock();
  shared->reserved = shared->published;
}

void PackFile::Publish(size_t size_bytes) {
  uint64_t start = published_ % ring_bytes_;
  if (start + size_bytes > ring_bytes_)
    std::memcpy(ring_.data(), ring_.data() + ring_bytes_, start + size_bytes - ring_bytes_);
  published_ += size_bytes;
  bool worth_waking;
  {
    auto shared = shared_.Lock();
    shared->published = published_;
    worth_waking = published_ - shared->claimed >= kLeastPiece;
  }
  if (worth_waking) work_.notify_one();
}

Result<void> PackFile::Append(Bytes bytes) {
  while (!bytes.empty()) {
    size_t size = std::min(bytes.size(), kMaxStoredFrameBytes);
    auto room = Reserve(size);
    if (!room) return room.error();
    std::memcpy(*room, bytes.data(), size);
    Publish(size);
    bytes = bytes.subspan(size);
  }
  return {};
}

Result<void> PackFile::Finish() {
  shared_.Lock()->finishing = true;
  StopWriters();
  if (auto shared = shared_.Lock(); shared->failed) return *shared->failed;
  if (auto cut = disk_.Truncate(fd_.get(), published_, options_.name); !cut) return cut;
  auto synced = disk_.SyncData(fd_.get(), options_.name);
  if (synced && !direct_) ::posix_fadvise(fd_.get(), 0, 0, POSIX_FADV_DONTNEED);
  return synced;
}

void PackFile::WriteLoop() {
  for (;;) {
    uint64_t from, to;
    {
      auto shared = shared_.Lock();
      shared.Wait(work_, [&] {
        return shared->abandoned || shared->finishing || shared->failed ||
               shared->published - shared->claimed >= kLeastPiece;
      });
      if (shared->abandoned || shared->failed) return;
      from = shared->claimed;
      to = shared->published;
      if (!shared->finishing) to -= to % kBlock;
      // Not over the ring's end, and not so much that room comes free in large bites only.
      to = std::min({to, from + kMostPiece, from - from % ring_bytes_ + ring_bytes_});
      if (from == to) return;
      shared->claimed = to;
    }
    auto written = WritePiece(from, to);
    {
      auto shared = shared_.Lock();
      if (written) {
        shared->early.emplace(from, to);
        while (!shared->early.empty() && shared->early.begin()->first == shared->written) {
          shared->written = shared->early.begin()->second;
          shared->early.erase(shared->early.begin());
        }
      } else if (!shared->failed) {
        shared->failed = written.error().Add("pack {}", options_.name);
      }
    }
    if (!written) work_.notify_all();
    room_.notify_one();
  }
}

Result<void> PackFile::WritePiece(uint64_t from, uint64_t to) {
  AllocateAhead(to);
  // Only the last piece is not of whole blocks; nothing follows it in the ring.
  uint64_t padded = RoundUp(to, kBlock);
  if (padded != to) std::memset(At(to), 0, padded - to);
  auto written = disk_.Write(fd_.get(), {At(from), padded - from}, from, options_.name);
  if (written && !direct_) {
    // Start this piece's way to the disk, and drop the one before, which is there.
    ::sync_file_range(fd_.get(), static_cast<off_t>(from), static_cast<off_t>(padded - from),
                      SYNC_FILE_RANGE_WRITE);
    if (from >= 2 * kMostPiece)
      ::posix_fadvise(fd_.get(), 0, static_cast<off_t>(from - 2 * kMostPiece), POSIX_FADV_DONTNEED);
  }
  return written;
}

void PackFile::AllocateAhead(uint64_t to) {
  uint64_t from;
  {
    auto shared = shared_.Lock();
    // Small packs are written as they are.
    if (!shared->may_allocate || to <= shared->allocated || to < kAllocateFrom) return;
    from = shared->allocated;
    shared->allocated += kAllocateStep;
  }
  // Without room for a whole step the writes themselves find out how far it goes.
  if (!disk_.Allocate(fd_.get(), from, kAllocateStep, options_.name))
    shared_.Lock()->may_allocate = false;
}

}  // namespace ckptfs
