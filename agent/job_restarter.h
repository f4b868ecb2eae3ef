// The job restarter: one version of a job's image becomes processes again.
//
//   verify, check → files put back → rebuild → [held: the rest verified] → resume
//
// A failure starts nothing: what had been built is ended.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "agent/operation.h"
#include "agent/store/store.h"

namespace ckptfs {

struct RestartedUnit {
  std::string name;
  std::string uses;
  bool suspended = false;  // when it was saved; it is let go at the end
  UnitProcesses processes;
  std::vector<ProcessId> members;
  std::vector<std::string> warnings;
};

struct RestartJob {
  std::string job;                   // whose processes these will be: the clone's name, for a clone
  VersionReader* version = nullptr;  // borrowed
  Credentials owner;
  FilesPolicy files = FilesPolicy::kRestore;
  Tcp tcp = Tcp::kClose;
  bool clone = false;     // a second instance, on purpose
  bool new_pids = false;  // a pid namespace from the start; else only if a pid is taken
  std::string work_parent;
  Operation* operation = nullptr;  // borrowed
  // The checkpointer of that name, ready for use, or why not.
  std::function<Result<Checkpointer*>(const std::string& name)> find_checkpointer;
  // Called once, when all processes are there and none has run: the time to write them down.
  std::function<void(const std::vector<RestartedUnit>& units)> built;
};

// Blocks until the processes run. After an error none of them is left. Errors: those of the store
// (nothing was started), kWouldRunTwice, kUnsupported (this node lacks what the version needs),
// kExists (policy `files fail`), kCancelled, the checkpointer's.
Result<void> RunRestart(const RestartJob& job);

// kUnsupported naming what of `needs` this node has not; warnings for what may matter.
Result<std::vector<std::string>> CheckNeeds(const Needs& needs);

}  // namespace ckptfs
