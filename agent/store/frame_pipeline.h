// FramePipeline: from pages to a pack. The caller fills a frame's pages; a thread
// of the pipeline compresses (if asked to), seals and hashes it; the pack writes
// it. Pages that lie in one piece elsewhere are sealed from there.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <thread>
#include <vector>

#include "agent/store/pack_file.h"
#include "agent/store/yielding.h"
#include "crypto/frames.h"

namespace ckptfs {

class FramePipeline {
 public:
  struct Options {
    PackId pack{};
    bool compress = false;
    // Sealing stays out of the way of others until Hurry.
    bool yield_to_reading = false;
    // Called in the sealing thread when a frame that was lent is no longer needed.
    std::function<void()> let_go;
  };
  // Borrows `pack`, `cipher` and `pool` until destruction.
  static Result<std::unique_ptr<FramePipeline>> Make(PackFile& pack, const FrameCipher& cipher,
                                                     BufferPool& pool, const Options& options);
  ~FramePipeline();

  // Memory for the next frame's pages (kFrameBytes). Blocks while all is in use.
  // One thread, which also calls Submit and Drain.
  Result<uint8_t*> NextFrame();
  // The frame given last holds `pages` pages. Only the last frame may be partial.
  void Submit(size_t pages) { Push({.pages = pages, .room = current_, .plain = current_}); }
  // The frame given last was not filled: its pages are these, lent until `let_go`.
  void SubmitLent(Bytes pages) {
    Push({.pages = pages.size() / kPageBytes, .room = current_, .plain = pages.data()});
  }
  // No more yielding. Any thread.
  void Hurry() { yielding_.Hurry(); }
  // Waits until all frames are sealed; their entries (with pack 0), in order.
  Result<std::vector<FrameEntry>> Drain();

 private:
  struct Task {
    size_t pages = 0;
    uint8_t* room = nullptr;         // that NextFrame gave
    const uint8_t* plain = nullptr;  // there, or lent
    Bytes bytes() const { return {plain, pages * kPageBytes}; }
  };
  struct Shared {
    std::deque<Task> tasks;
    size_t free_plain = 0;  // frames of plain_ that may be filled
    bool ending = false;
    std::optional<Error> failed;
  };

  FramePipeline(PackFile& pack, const FrameCipher& cipher, const Options& options, Buffer plain);
  void Push(const Task& task);
  void SealLoop();
  // False when there is nothing more to do.
  bool SealNext();
  Result<void> Seal(const Task& task);
  // The stored bytes without tag at `out`, which has room for kMaxStoredFrameBytes.
  size_t Compress(Bytes plain, uint8_t* out, bool* compressed);

  PackFile& pack_;
  const FrameCipher& cipher_;
  const Options options_;
  Buffer plain_;  // with compression only
  size_t plain_frames_ = 0;
  size_t next_plain_ = 0;
  uint8_t* current_ = nullptr;
  struct ZstdContext;
  std::unique_ptr<ZstdContext> zstd_;
  std::vector<FrameEntry> entries_;  // the sealing thread's until it is joined
  uint64_t offset_;                  // of the next frame in the pack
  Guarded<Shared> shared_;
  std::condition_variable changed_;
  Yielding yielding_;
  std::thread sealer_;
};

}  // namespace ckptfs
