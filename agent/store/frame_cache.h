// FrameCache: the open frames of a unit that is being read. Threads of its own read,
// verify and open frames ahead of those who ask for them: two, so that one computes
// while the other waits for the disk.
#pragma once

#include <condition_variable>
#include <deque>
#include <memory>
#include <thread>
#include <vector>

#include "agent/store/buffers.h"
#include "agent/store/unit_image.h"

namespace ckptfs {

// Reads single frames. One thread at a time.
class FrameReader {
 public:
  // Borrows `cipher`.
  FrameReader(std::shared_ptr<const UnitImage> image, const FrameCipher& cipher);
  ~FrameReader();
  // Verifies the frame's hash and tag and opens it into `plain` (kFrameBytes).
  // Errors name the frame and where it lies.
  Result<void> Read(size_t frame, uint8_t* plain);

 private:
  struct Scratch;
  std::shared_ptr<const UnitImage> image_;
  const FrameCipher& cipher_;
  std::unique_ptr<Scratch> scratch_;
};

class FrameCache {
 public:
  static constexpr size_t kFrames = 64;
  static constexpr int kLoaders = 2;

  static Result<std::unique_ptr<FrameCache>> Make(std::shared_ptr<const UnitImage> image,
                                                  const FrameCipher& cipher, BufferPool& pool);
  ~FrameCache();

  // Keeps a frame's pages in place while it lives.
  class Pin {
   public:
    Pin() = default;
    Pin(Pin&& other) noexcept;
    Pin& operator=(Pin&& other) noexcept;
    ~Pin();
    const uint8_t* pages() const { return pages_; }
    explicit operator bool() const { return cache_ != nullptr; }

   private:
    friend class FrameCache;
    Pin(FrameCache* cache, size_t slot, const uint8_t* pages)
        : cache_(cache), slot_(slot), pages_(pages) {}
    FrameCache* cache_ = nullptr;
    size_t slot_ = 0;
    const uint8_t* pages_ = nullptr;
  };

  // Waits until the frame is open. At most kFrames - 1 may be pinned at once.
  Result<Pin> Get(uint32_t frame);
  // Will be asked for soon, in this order.
  void Prefetch(const std::vector<uint32_t>& frames);
  // Frames that were verified at some time.
  std::vector<bool> verified() const;

 private:
  enum class State { kEmpty, kLoading, kReady };
  struct Slot {
    State state = State::kEmpty;
    uint32_t frame = 0;
    int pins = 0;
    uint64_t used = 0;
  };
  struct Shared {
    std::vector<Slot> slots{kFrames};
    std::vector<uint32_t> slot_of;  // frame -> slot + 1; 0: none
    std::vector<bool> wanted;       // frame is in `queue`
    std::deque<uint32_t> queue;
    std::vector<bool> verified;
    std::map<uint32_t, Error> failed;
    uint64_t clock = 0;
    bool ending = false;
  };

  FrameCache(std::shared_ptr<const UnitImage> image, const FrameCipher& cipher, Buffer pages);
  void LoadLoop();
  void Enqueue(Shared& shared, uint32_t frame, bool first);
  static size_t Oldest(const Shared& shared);

  std::shared_ptr<const UnitImage> image_;
  const FrameCipher& cipher_;
  Buffer pages_;
  Guarded<Shared> shared_;
  std::condition_variable changed_;
  std::vector<std::thread> loaders_;
};

}  // namespace ckptfs
