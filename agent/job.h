// Job: the state of one job and its units, reachable through its lock, and
// written to the store's records so that it survives the daemon.
#pragma once

#include <condition_variable>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "agent/agent.h"
#include "agent/operation.h"
#include "base/guarded.h"

namespace ckptfs {

struct Unit {
  std::string checkpointer = "auto";  // as chosen
  std::string uses;                   // the one in use
  JobState state = JobState::kEmpty;
  std::optional<UnitProcesses> processes;  // while it runs or is suspended
  // Its processes when last looked at: what must be gone before a restart, also
  // when the root ended and left some behind. Bounded.
  std::vector<ProcessId> members;
  std::string exit;
  std::string warning;
  // What the state becomes when the processes end: an operation of ours ends them.
  std::optional<JobState> expected_end;
  uint64_t watch = 0;  // at the supervisor; 0: none
};

struct JobData {
  uid_t owner_uid = 0;
  gid_t owner_gid = 0;
  Policy policy;
  std::map<std::string, Unit, std::less<>> units;
  // Processes of forgotten units that lived on: a restart must not double them. Bounded.
  std::vector<ProcessId> left;
  std::string clone_of;
  std::optional<uint64_t> last_version;
  std::optional<OperationReport> last_operation;
  uint64_t restarts_tried = 0;  // by the policy, without a new version since

  // Not in the record:
  std::shared_ptr<Operation> operation;  // the one that runs
  bool restart_pending = false;          // by the policy: waiters wait for how it goes
  bool forgotten = false;
  std::chrono::steady_clock::time_point last_checkpoint_try{};

  // Of all units: running or suspended while any unit lives, else stopped, else ended.
  JobState State() const;
  // The roots of all live units are on their way out; reads /proc.
  bool IsDying() const;
  bool Alive() const;
  // The line for `wait`: of the first unit that did not end well, else "exit 0".
  std::string ExitLine() const;
};

bool IsLive(JobState state);

// The record's text, at most kRecordLimitBytes, and back. `boot` is /proc's boot
// id: process ids of another boot name nothing, so Parse leaves them out and
// marks the units ended. Bounded; kCorrupt with the line that cannot be read.
inline constexpr size_t kRecordLimitBytes = 64 << 10;
inline constexpr size_t kMembersLimit = 1000;
std::string FormatRecord(const JobData& data, std::string_view boot);
Result<JobData> ParseRecord(std::string_view text, std::string_view boot);

class Job {
 public:
  Job(std::string name, JobData data, std::string boot)
      : name_(std::move(name)), boot_(std::move(boot)), data_(std::move(data)) {}

  const std::string& name() const { return name_; }
  Guarded<JobData>::Locked Lock() const { return data_.Lock(); }
  // Woken whenever a unit's state changes or an operation ends.
  std::condition_variable& changed() const { return changed_; }
  ErrorLog& errors() const { return errors_; }
  // Root or the owner.
  bool VisibleTo(const Caller& caller) const {
    return caller.uid == 0 || caller.uid == data_.Lock()->owner_uid;
  }

  // Writes the record, durably, as the state is now or newer. Many callers share
  // one write. Does nothing once the job is forgotten.
  Result<void> Save(Store& store) const;
  // Takes the record away; no Save brings it back.
  Result<void> Forget(Store& store) const;

 private:
  struct Writing {
    uint64_t wanted = 0, written = 0;
    bool busy = false;
    bool forgotten = false;
    std::optional<Error> failed;  // of the last write
  };
  const std::string name_;
  const std::string boot_;
  Guarded<JobData> data_;
  mutable std::condition_variable changed_;
  mutable ErrorLog errors_{32};
  // Lock order: never held together with data_.
  Guarded<Writing> writing_;
  mutable std::condition_variable written_;
};

// Identifies this boot of the kernel: /proc/sys/kernel/random/boot_id.
std::string BootId();

}  // namespace ckptfs
