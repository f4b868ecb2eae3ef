#include "agent/store/frame_pipeline.h"

#include <zstd.h>

#include <algorithm>
#include <cstring>

namespace ckptfs {
namespace {
// Frames that wait to be compressed.
constexpr size_t kPlainFrames = 16;
}  // namespace

struct FramePipeline::ZstdContext {
  ZSTD_CCtx* context = ZSTD_createCCtx();
  ~ZstdContext() { ZSTD_freeCCtx(context); }
};

Result<std::unique_ptr<FramePipeline>> FramePipeline::Make(PackFile& pack,
                                                           const FrameCipher& cipher,
                                                           BufferPool& pool,
                                                           const Options& options) {
  Buffer plain;
  if (options.compress) {
    auto taken = pool.Take(kPlainFrames * kFrameBytes);
    if (!taken) return taken.error();
    plain = std::move(*taken);
  }
  return std::unique_ptr<FramePipeline>(new FramePipeline(pack, cipher, options, std::move(plain)));
}

FramePipeline::FramePipeline(PackFile& pack, const FrameCipher& cipher, const Options& options,
                             Buffer plain)
    : pack_(pack),
      cipher_(cipher),
      options_(options),
      plain_(std::move(plain)),
      plain_frames_(plain_.size_bytes() / kFrameBytes),
      offset_(pack.size_bytes()) {
  shared_.Lock()->free_plain = plain_frames_;
  if (options_.compress) zstd_ = std::make_unique<ZstdContext>();
  sealer_ = std::thread([this] { SealLoop(); });
}

FramePipeline::~FramePipeline() {
  if (!sealer_.joinable()) return;
  {
    auto shared = shared_.Lock();
    shared->ending = true;
    shared->tasks.clear();
  }
  changed_.notify_all();
  sealer_.join();
}

Result<uint8_t*> FramePipeline::NextFrame() {
  if (!options_.compress) {
    auto room = pack_.Reserve(kMaxStoredFrameBytes);
    if (!room) return room.error();
    current_ = *room;
    return current_;
  }
  auto shared = shared_.Lock();
  shared.Wait(changed_, [&] { return shared->failed || shared->free_plain > 0; });
  if (shared->failed) return *shared->failed;
  --shared->free_plain;
  current_ = plain_.data() + next_plain_ * kFrameBytes;
  next_plain_ = (next_plain_ + 1) % plain_frames_;
  return current_;
}

void FramePipeline::Push(const Task& task) {
  shared_.Lock()->tasks.push_back(task);
  changed_.notify_all();
}

Result<std::vector<FrameEntry>> FramePipeline::Drain() {
  Hurry();
  shared_.Lock()->ending = true;
  changed_.notify_all();
  sealer_.join();
  if (auto shared = shared_.Lock(); shared->failed) return *shared->failed;
  pack_.TrimReserved();
  return std::move(entries_);
}

void FramePipeline::SealLoop() {
  if (options_.yield_to_reading) yielding_.Begin();
  while (SealNext()) {
  }
  yielding_.Leave();
}

bool FramePipeline::SealNext() {
  Task task;
  bool sound;
  {
    auto shared = shared_.Lock();
    shared.Wait(changed_, [&] { return !shared->tasks.empty() || shared->ending; });
    if (shared->tasks.empty()) return false;
    task = shared->tasks.front();
    shared->tasks.pop_front();
    sound = !shared->failed;
  }
  // After a failure the rest is only let go.
  Result<void> sealed;
  if (sound) sealed = Seal(task);
  if (task.plain != task.room) options_.let_go();
  if (!options_.compress && sealed) return true;
  {
    auto shared = shared_.Lock();
    ++shared->free_plain;
    if (!sealed) shared->failed = sealed.error();
  }
  changed_.notify_all();
  return true;
}

Result<void> FramePipeline::Seal(const Task& task) {
  FrameEntry entry;
  uint8_t* stored = task.room;
  Bytes plain = task.bytes();
  if (options_.compress) {
    auto room = pack_.Reserve(kMaxStoredFrameBytes);
    if (!room) return room.error();
    stored = *room;
    plain = {stored, Compress(plain, stored, &entry.compressed)};
  }
  MutableBytes frame(stored, plain.size() + kTagBytes);
  entry.number = static_cast<uint32_t>(entries_.size());
  entry.offset = offset_;
  entry.stored_bytes = static_cast<uint32_t>(frame.size());
  entry.pages = static_cast<uint16_t>(task.pages);
  cipher_.Seal(FrameKind::kPages, {options_.pack, entry.number}, plain, frame);
  entry.hash = Hash(cipher_.suite(), frame);
  offset_ += frame.size();
  entries_.push_back(entry);
  pack_.Publish(frame.size());
  if (options_.compress) pack_.TrimReserved();
  return {};
}

size_t FramePipeline::Compress(Bytes plain, uint8_t* out, bool* compressed) {
  // Level 1: memory images are wide and the disk is fast. A frame that shrinks by
  // less than a page is kept as it is, which makes reading it cheaper.
  size_t size = ZSTD_compressCCtx(zstd_->context, out, plain.size() - kPageBytes / 2, plain.data(),
                                  plain.size(), 1);
  *compressed = !ZSTD_isError(size);
  if (*compressed) return size;
  std::memcpy(out, plain.data(), plain.size());
  return plain.size();
}

}  // namespace ckptfs
