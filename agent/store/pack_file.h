// PackFile: writes one pack, strictly in order, past the page cache.
//
// Bytes are made in place in a ring of memory: Reserve gives room for the next
// ones, Publish says that the oldest reserved bytes are final. Threads of the
// pack's own write what is published in large aligned pieces, a few at once so that
// the disk never waits for us (O_DIRECT; where a file system refuses that, through
// the page cache, dropping behind), and free the room. The memory ahead of the
// disk is the ring's, whatever the pack's size.
//
// What Reserve gives is always in one piece: past the ring's end lies room for
// one more frame, and Publish copies what landed there to the ring's start.
#pragma once

#include <condition_variable>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "agent/store/buffers.h"
#include "agent/store/disk.h"
#include "agent/store/head.h"

namespace ckptfs {

class PackFile {
 public:
  struct Options {
    int dir_fd = -1;   // of packs/; borrowed
    std::string name;  // made anew
    uint64_t ring_bytes = 0;
  };
  // Takes the ring from `pool`. Borrows all three until destruction.
  static Result<std::unique_ptr<PackFile>> Create(const Disk& disk, BufferPool& pool,
                                                  const Options& options);
  // Stops writing; unless Keep was called the file goes.
  ~PackFile();

  // Room for the next `size_bytes` (at most kMaxStoredFrameBytes). Blocks while the
  // ring is full; errors are those of the disk. One thread.
  Result<uint8_t*> Reserve(size_t size_bytes);
  // What is reserved beyond what is published is not needed.
  void TrimReserved();
  // The oldest `size_bytes` of what is reserved are final. One thread, which may
  // be another than Reserve's.
  void Publish(size_t size_bytes);
  // Reserve, copy and Publish; for callers that do nothing else meanwhile.
  Result<void> Append(Bytes bytes);
  // All that was published is on the disk: writes the rest, cuts the file to its
  // true size, fdatasync. Nothing can be added any more.
  Result<void> Finish();
  // The file stays after destruction.
  void Keep() { keep_ = true; }

  uint64_t size_bytes() const { return published_; }
  int fd() const { return fd_.get(); }

 private:
  struct Shared {
    // Positions in the file, in this order from the right.
    uint64_t reserved = 0;
    uint64_t published = 0;
    uint64_t claimed = 0;  // by some thread, for writing
    uint64_t written = 0;
    std::map<uint64_t, uint64_t> early;  // pieces beyond `written` that are written
    uint64_t allocated = 0;
    bool may_allocate = true;
    bool finishing = false;  // write also the last partial piece, then end
    bool abandoned = false;
    std::optional<Error> failed;
  };

  PackFile(const Disk& disk, const Options& options, Fd fd, bool direct, Buffer ring);
  uint8_t* At(uint64_t position) const { return ring_.data() + position % ring_bytes_; }
  void WriteLoop();
  Result<void> WritePiece(uint64_t from, uint64_t to);
  void AllocateAhead(uint64_t to);
  void StopWriters();

  const Disk& disk_;
  const Options options_;
  Fd fd_;
  const bool direct_;
  Buffer ring_;
  const uint64_t ring_bytes_;  // without the room past its end
  uint64_t published_ = 0;     // the publishing thread's copy
  bool keep_ = false;
  Guarded<Shared> shared_;
  std::condition_variable room_;  // for Reserve, which one thread calls
  std::condition_variable work_;  // for the writing threads
  std::vector<std::thread> writers_;
};

}  // namespace ckptfs
