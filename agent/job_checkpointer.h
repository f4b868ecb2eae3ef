// The job checkpointer: one checkpoint over all units of a job, in phases.
//
//   prepare → stop → checkpoint → commit → resume
//
// No unit goes on before every unit is saved: that is what makes connections
// between units consistent. The version exists only once all of it is committed.
// If one unit fails, all go on, nothing is kept, and the error names the unit.
//
//   durable      the units stand still until the version is committed
//   fast         they go on as soon as all of them are read; commit follows
//   independent  (two units or more, not with `stop`) each unit goes on as soon as
//                it is saved itself; units are not consistent with each other
//
// With `stop` the processes end only after the commit, whatever the policy says;
// if the commit fails they go on.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "agent/unit_checkpointer.h"

namespace ckptfs {

struct CheckpointJob {
  Store::BeginOptions begin;
  std::vector<UnitCheckpointer::Options> units;
  Policy policy;
  bool stop = false;
  Operation* operation = nullptr;       // borrowed
  std::function<void()> before_freeze;  // a caller inside of the job is answered here
  std::function<void()> before_end;     // committed; `stop` ends the processes now
};

struct CheckpointOutcome {
  Result<void> result;
  std::optional<VersionInfo> version;  // also when a unit did not go on after the commit
  double standstill_seconds = 0;       // of the unit that stood still longest
  struct PerUnit {
    std::string name;
    std::vector<ProcessId> members;
    std::vector<std::string> warnings;
  };
  std::vector<PerUnit> units;
};

// Blocks until every unit goes on (or has ended, with `stop`).
CheckpointOutcome RunCheckpoint(Store& store, CheckpointJob job);

// Runs step(0) … step(count-1) at once, on threads of their own, and waits. The
// error that came first, in front of it unit(i); the others are cancelled then.
Result<void> ForAllUnits(size_t count, CancelToken* cancel,
                         const std::function<std::string(size_t)>& unit,
                         const std::function<Result<void>(size_t)>& step);

}  // namespace ckptfs
