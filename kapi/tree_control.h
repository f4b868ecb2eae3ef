// Stopping, continuing and ending a whole process tree that may be forking.
#pragma once

#include <chrono>
#include <optional>
#include <vector>

#include "base/process.h"
#include "base/result.h"

namespace ckptfs {

// SIGSTOPs `root` and everything below it, parents first, until a whole pass
// finds nothing that runs. Gives the processes that were stopped already.
// Errors: kTimedOut after 10 s, and everything is continued again.
Result<std::vector<ProcessId>> StopTree(const ProcessId& root);
// Whether every process of the tree that has not ended is stopped; true if it is gone.
Result<bool> IsTreeStopped(const ProcessId& root);
// SIGCONTs the tree but for `leave`, children first.
Result<void> ContinueTree(const ProcessId& root, const std::vector<ProcessId>& leave);
// SIGKILLs the tree until nothing of it is left but zombies; reaps those that
// are our own children. Success if it was gone. Errors: kTimedOut after 60 s.
Result<void> KillTree(const ProcessId& root);
// Waits until each has ended (a zombie has); false when the time ran out.
Result<bool> WaitUntilEnded(const std::vector<ProcessInfo>& processes, int limit_ms);
// One of `processes` that is alive, if there is one. Those that were killed and still
// give back what they hold are waited for, all together for `patience` at most.
Result<std::optional<ProcessId>> FindLiving(const std::vector<ProcessId>& processes,
                                            std::chrono::milliseconds patience);

}  // namespace ckptfs
