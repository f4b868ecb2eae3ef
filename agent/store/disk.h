// Disk: every step with which the store changes what is on the disk, in one
// place, so that tests can let each of them fail, or the process die there.
#pragma once

#include <sys/types.h>

#include <string>

#include "base/bytes.h"
#include "base/fd.h"
#include "base/result.h"

namespace ckptfs {

enum class DiskStep {
  kCreate,
  kWrite,
  kAllocate,
  kTruncate,
  kPunch,
  kSync,
  kMakeDir,
  kRename,
  kLink,
  kUnlink,
  kTransaction,
};

// For tests: asked before each step, from any thread. 0 lets it happen, an errno
// fails it instead.
class DiskFaults {
 public:
  virtual ~DiskFaults() = default;
  virtual int Before(DiskStep step, const std::string& what) = 0;
};

// Thread-safe; `name` is always one path component under an open folder.
class Disk {
 public:
  // Borrows `faults`, which may be null.
  explicit Disk(DiskFaults* faults = nullptr) : faults_(faults) {}

  Result<Fd> Create(int dir_fd, const std::string& name, int extra_flags = 0) const;
  Result<void> Write(int fd, Bytes bytes, uint64_t offset, const std::string& what) const;
  Result<void> Allocate(int fd, uint64_t offset, uint64_t size_bytes,
                        const std::string& what) const;
  Result<void> Truncate(int fd, uint64_t size_bytes, const std::string& what) const;
  Result<void> Punch(int fd, uint64_t offset, uint64_t size_bytes, const std::string& what) const;
  Result<void> Sync(int fd, const std::string& what) const;
  Result<void> SyncData(int fd, const std::string& what) const;
  Result<void> MakeDir(int dir_fd, const std::string& name) const;  // existing is success
  Result<void> Rename(int from_dir, const std::string& from, int to_dir,
                      const std::string& to) const;
  Result<void> Link(int from_dir, const std::string& from, int to_dir, const std::string& to) const;
  Result<void> Unlink(int dir_fd, const std::string& name) const;      // absence is success
  Result<void> RemoveTree(int dir_fd, const std::string& name) const;  // absence is success
  // A new file with `content`, not yet synced.
  Result<Fd> WriteFile(int dir_fd, const std::string& name, Bytes content) const;
  // Asks the faults only: for steps that a library takes.
  Result<void> Before(DiskStep step, const std::string& what) const;

 private:
  DiskFaults* faults_;
};

}  // namespace ckptfs
