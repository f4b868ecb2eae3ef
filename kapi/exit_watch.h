// How a process ended that need not be our child.
#pragma once

#include <optional>

#include "base/child.h"
#include "base/process.h"

namespace ckptfs {

// Watches one process. `fd()` becomes readable when it has ended.
class ExitWatch {
 public:
  // kGone if it has ended already.
  static Result<ExitWatch> Open(const ProcessId& id);

  int fd() const { return pidfd_.get(); }
  // Once fd() is readable. Reaps the process if it is our child; else asks the
  // kernel (6.15 and later), which knows once its parent has reaped it: waits for
  // that, `limit_ms` at most. nullopt: it cannot be known.
  std::optional<ExitStatus> Status(int limit_ms = 1000);

 private:
  ExitWatch(ProcessId id, Fd pidfd) : id_(id), pidfd_(std::move(pidfd)) {}
  ProcessId id_;
  Fd pidfd_;
};

}  // namespace ckptfs
