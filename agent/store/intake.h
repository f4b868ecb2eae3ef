// Intake: the memory between whoever reads the checkpointer's pipes and a thread that
// looks at the pages. The job stands still while its pipes are read, so reading does
// nothing else; with the policy `fast` the memory is as large as the policy's buffer,
// and the looking waits until the job goes on. Pages that make a whole frame as they
// lie here are sealed from here, without a copy.
#pragma once

#include <algorithm>
#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <thread>

#include "agent/store/buffers.h"
#include "agent/store/yielding.h"
#include "base/bytes.h"

namespace ckptfs {

struct StreamState;

class Intake {
 public:
  struct Options {
    uint64_t size_bytes = 0;
    // The looking thread lets the reading one go first, until Drain or until there is
    // no room left.
    bool yield_to_reading = false;
  };
  // Whole pages of one stream, in the order in which they were submitted. Runs in the
  // looking thread; `pages` is lent until it returns, and what it held until it is let go.
  // After an error it is not called again.
  using Take = std::function<Result<void>(StreamState& stream, Bytes pages)>;

  // Borrows `pool`. `hurry` runs (in the reading thread) when yielding ends.
  static Result<std::unique_ptr<Intake>> Make(BufferPool& pool, const Options& options, Take take,
                                              std::function<void()> hurry);
  // Wipes what was here; nobody may still use what is held.
  ~Intake();

  // The calls below: one thread.
  // Memory for what is read next: whole pages, at least one. Blocks while all is in use.
  // Errors: what `take` said.
  Result<MutableBytes> Room();
  // The room's first `pages` pages are filled, for `stream`, which lives until Drain.
  void Submit(StreamState& stream, size_t pages);
  // Waits until everything has been looked at, and ends the thread.
  Result<void> Drain();
  // Ends the thread after what is being looked at.
  void Abandon();

  // What lies here from `page` on stays until it is let go. In `take`, for one of its
  // pages; what is held later lies behind.
  void Hold(const uint8_t* page);
  // What was held last need not stay. In `take`, or after Drain.
  void LetGoLast();
  // What was held first need not stay. Any thread.
  void LetGoFirst();

 private:
  struct Run {
    StreamState* stream;
    uint64_t start;
    size_t size_bytes;
  };
  struct Shared {
    std::deque<Run> runs;
    // Positions: what lies between taken and filled is to be looked at. `held` ascend,
    // and may lie on either side of taken.
    uint64_t filled = 0;
    uint64_t taken = 0;
    std::deque<uint64_t> held;
    // Never goes back, whatever is let go: what is being looked at counts as in use.
    uint64_t free_to() const { return held.empty() ? taken : std::min(taken, held.front()); }
    bool full = false;  // the reading thread waits for room
    bool draining = false;
    bool abandoned = false;
    std::optional<Error> failed;
  };

  Intake(const Options& options, Take take, std::function<void()> hurry, Buffer ring);
  void LookLoop();
  void Hurry();
  // Changes what is free, and wakes Room if it waits for that.
  template <typename Change>
  void Free(Change change);
  void Stop();

  const Options options_;
  const Take take_;
  const std::function<void()> hurry_;
  Buffer ring_;
  uint64_t ring_bytes_;
  uint64_t most_filled_ = 0;  // of the ring, from its start: what there is to wipe
  bool hurried_ = false;      // the reading thread's
  Run run_{};                 // the looking thread's
  Yielding yielding_;
  Guarded<Shared> shared_;
  std::condition_variable room_;  // for Room
  std::condition_variable work_;  // for the looking thread
  std::thread looker_;
};

}  // namespace ckptfs
