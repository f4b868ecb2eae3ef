// Intake: the memory between whoever reads the checkpointer's pipes and a thread that
// looks at the pages. The job stands still while its pipes are read, so reading does
// nothing else; with the policy `fast` the memory is as large as the policy's buffer,
// and the looking waits until the job goes on.
#pragma once

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
  // looking thread; `pages` is lent until it returns. After an error it is not called again.
  using Take = std::function<Result<void>(StreamState& stream, Bytes pages)>;

  // Borrows `pool`. `hurry` runs (in the reading thread) when yielding ends.
  static Result<std::unique_ptr<Intake>> Make(BufferPool& pool, const Options& options, Take take,
                                              std::function<void()> hurry);
  // Stops after what is being looked at; wipes what was here.
  ~Intake();

  // The calls below: one thread.
  // Memory for what is read next: whole pages, at least one. Blocks while all is in use.
  // Errors: what `take` said.
  Result<MutableBytes> Room();
  // The room's first `pages` pages are filled, for `stream`, which lives until Drain.
  void Submit(StreamState& stream, size_t pages);
  // Waits until everything has been looked at, and ends the thread.
  Result<void> Drain();

 private:
  struct Run {
    StreamState* stream;
    uint64_t start;
    size_t size_bytes;
  };
  struct Shared {
    std::deque<Run> runs;
    uint64_t filled = 0;  // positions; the ring holds what lies between taken and filled
    uint64_t taken = 0;
    bool full = false;  // the reading thread waits for room
    bool draining = false;
    bool abandoned = false;
    std::optional<Error> failed;
  };

  Intake(const Options& options, Take take, std::function<void()> hurry, Buffer ring);
  void LookLoop();
  void Hurry();
  void Stop();

  const Options options_;
  const Take take_;
  const std::function<void()> hurry_;
  Buffer ring_;
  uint64_t ring_bytes_;
  uint64_t most_filled_ = 0;  // of the ring, from its start: what there is to wipe
  bool hurried_ = false;      // the reading thread's
  Yielding yielding_;
  Guarded<Shared> shared_;
  std::condition_variable room_;  // for Room
  std::condition_variable work_;  // for the looking thread
  std::thread looker_;
};

}  // namespace ckptfs
