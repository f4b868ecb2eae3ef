#include "agent/store/frame_cache.h"

#include <sys/mman.h>
#include <unistd.h>
#include <zstd.h>

#include <algorithm>
#include <cerrno>

namespace ckptfs {
namespace {
constexpr uint64_t kBlock = 4096;
constexpr size_t kNoSlot = SIZE_MAX;
}  // namespace

struct FrameReader::Scratch {
  alignas(kBlock) std::array<uint8_t, kMaxStoredFrameBytes + 2 * kBlock> stored;
  std::array<uint8_t, kFrameBytes> compressed;
  ZSTD_DCtx* zstd = nullptr;
  ~Scratch() { ZSTD_freeDCtx(zstd); }
};

FrameReader::FrameReader(std::shared_ptr<const UnitImage> image, const FrameCipher& cipher)
    : image_(std::move(image)), cipher_(cipher), scratch_(new Scratch) {}

FrameReader::~FrameReader() = default;

Result<void> FrameReader::Read(size_t frame, uint8_t* plain) {
  const FrameEntry& entry = image_->head().frames[frame];
  const UnitImage::Place& place = image_->place(frame);
  const ContainerFile& file = *image_->files()[place.file];
  // Past the page cache whole blocks are read; the frame lies somewhere in them.
  uint64_t from = place.offset / kBlock * kBlock;
  uint64_t to = (place.offset + entry.stored_bytes + kBlock - 1) / kBlock * kBlock;
  uint64_t needed = place.offset + entry.stored_bytes - from;
  size_t got = 0;
  while (got < needed) {
    ssize_t n = ::pread(file.direct_fd(), scratch_->stored.data() + got, to - from - got,
                        static_cast<off_t>(from + got));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return Error::FromErrno(errno, "{}: {}", image_->shown(), image_->ShownFrame(frame));
    if (n == 0)
      return Fail(Errc::kCorrupt, "{}: {}: the file ends before it", image_->shown(),
                  image_->ShownFrame(frame))
          .WithRemedy("restart another version, or copy this one in again from elsewhere");
    got += static_cast<size_t>(n);
  }
  Bytes stored(scratch_->stored.data() + (place.offset - from), entry.stored_bytes);
  if (auto checked = image_->CheckFrame(frame, stored); !checked) return checked;

  size_t opened_bytes = entry.stored_bytes - kTagBytes;
  uint8_t* opened_at = entry.compressed ? scratch_->compressed.data() : plain;
  auto opened = cipher_.Open(FrameKind::kPages, {image_->head().packs[entry.pack], entry.number},
                             stored, {opened_at, opened_bytes});
  if (!opened) return opened.error().Add("{}: {}", image_->shown(), image_->ShownFrame(frame));
  if (!entry.compressed) return {};

  if (scratch_->zstd == nullptr) scratch_->zstd = ZSTD_createDCtx();
  size_t size = ZSTD_decompressDCtx(scratch_->zstd, plain, kFrameBytes, opened_at, opened_bytes);
  if (ZSTD_isError(size) || size != entry.pages * kPageBytes)
    return Fail(Errc::kCorrupt, "{}: {}: it does not decompress", image_->shown(),
                image_->ShownFrame(frame));
  return {};
}

FrameCache::Pin::Pin(Pin&& other) noexcept
    : cache_(std::exchange(other.cache_, nullptr)), slot_(other.slot_), pages_(other.pages_) {}

FrameCache::Pin& FrameCache::Pin::operator=(Pin&& other) noexcept {
  std::swap(cache_, other.cache_);
  std::swap(slot_, other.slot_);
  std::swap(pages_, other.pages_);
  return *this;
}

FrameCache::Pin::~Pin() {
  if (cache_ == nullptr) return;
  --cache_->shared_.Lock()->slots[slot_].pins;
  cache_->changed_.notify_all();
}

Result<std::unique_ptr<FrameCache>> FrameCache::Make(std::shared_ptr<const UnitImage> image,
                                                     const FrameCipher& cipher, BufferPool& pool) {
  auto pages = pool.Take(kFrames * kFrameBytes);
  if (!pages) return pages.error();
  return std::unique_ptr<FrameCache>(new FrameCache(std::move(image), cipher, std::move(*pages)));
}

FrameCache::FrameCache(std::shared_ptr<const UnitImage> image, const FrameCipher& cipher,
                       Buffer pages)
    : image_(std::move(image)), cipher_(cipher), pages_(std::move(pages)) {
  {
    auto shared = shared_.Lock();
    shared->slot_of.resize(image_->head().frames.size());
    shared->wanted.resize(image_->head().frames.size());
    shared->verified.resize(image_->head().frames.size());
  }
  for (int i = 0; i < kLoaders; ++i) loaders_.emplace_back([this] { LoadLoop(); });
}

FrameCache::~FrameCache() {
  shared_.Lock()->ending = true;
  changed_.notify_all();
  for (std::thread& loader : loaders_) loader.join();
}

void FrameCache::Enqueue(Shared& shared, uint32_t frame, bool first) {
  if (first) {
    if (shared.wanted[frame]) std::erase(shared.queue, frame);
    shared.queue.push_front(frame);
  } else if (!shared.wanted[frame]) {
    shared.queue.push_back(frame);
  }
  shared.wanted[frame] = true;
}

Result<FrameCache::Pin> FrameCache::Get(uint32_t frame) {
  auto shared = shared_.Lock();
  for (;;) {
    if (auto failed = shared->failed.find(frame); failed != shared->failed.end())
      return failed->second;
    if (uint32_t slot = shared->slot_of[frame]; slot != 0) {
      Slot& there = shared->slots[slot - 1];
      if (there.state == State::kReady) {
        ++there.pins;
        there.used = ++shared->clock;
        return Pin(this, slot - 1, pages_.data() + (slot - 1) * kFrameBytes);
      }
    } else if (shared->queue.empty() || shared->queue.front() != frame) {
      Enqueue(*shared, frame, /*first=*/true);
      changed_.notify_all();
    }
    uint64_t before = shared->clock;
    shared.Wait(changed_,
                [&] { return shared->clock != before || shared->failed.contains(frame); });
  }
}

void FrameCache::Prefetch(const std::vector<uint32_t>& frames) {
  {
    auto shared = shared_.Lock();
    for (uint32_t frame : frames)
      if (shared->slot_of[frame] == 0 && !shared->failed.contains(frame))
        Enqueue(*shared, frame, /*first=*/false);
  }
  changed_.notify_all();
}

std::vector<bool> FrameCache::verified() const { return shared_.Lock()->verified; }

size_t FrameCache::Oldest(const Shared& shared) {
  size_t oldest = kNoSlot;
  for (size_t i = 0; i < kFrames; ++i) {
    const Slot& slot = shared.slots[i];
    if (slot.state == State::kEmpty) return i;
    if (slot.state == State::kLoading || slot.pins > 0) continue;
    if (oldest == kNoSlot || slot.used < shared.slots[oldest].used) oldest = i;
  }
  return oldest;
}

void FrameCache::LoadLoop() {
  FrameReader reader(image_, cipher_);
  for (;;) {
    uint32_t frame;
    size_t slot = kNoSlot;
    {
      auto shared = shared_.Lock();
      shared.Wait(changed_, [&] {
        return shared->ending || (!shared->queue.empty() && (slot = Oldest(*shared)) != kNoSlot);
      });
      if (shared->ending) return;
      frame = shared->queue.front();
      shared->queue.pop_front();
      shared->wanted[frame] = false;
      if (shared->slot_of[frame] != 0) continue;
      Slot& taken = shared->slots[slot];
      if (taken.state == State::kReady) shared->slot_of[taken.frame] = 0;
      taken = {State::kLoading, frame, 0, 0};
      shared->slot_of[frame] = static_cast<uint32_t>(slot + 1);
    }
    auto read = reader.Read(frame, pages_.data() + slot * kFrameBytes);
    {
      auto shared = shared_.Lock();
      Slot& taken = shared->slots[slot];
      taken.used = ++shared->clock;
      if (read) {
        taken.state = State::kReady;
        shared->verified[frame] = true;
      } else {
        taken.state = State::kEmpty;
        shared->slot_of[frame] = 0;
        shared->failed.insert_or_assign(frame, read.error());
      }
    }
    changed_.notify_all();
  }
}

}  // namespace ckptfs
