// The node agent: the jobs of this node, what may be asked of them, and by whom.
// fs/ gives it a face. Everything here answers at once, but for Execute and
// WaitForEnd, which answer later through a callback.
//
// Threads: thread-safe. Callbacks are called without locks, from the agent's own
// threads or from within the call. Lock order: Agent's table, then one Job.
// No lock is held over a checkpointer call, an fsync or a callback.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "agent/events.h"
#include "agent/policy.h"
#include "agent/store/store.h"
#include "base/log.h"
#include "base/process.h"
#include "base/result.h"
#include "kapi/checkpointer.h"

namespace ckptfs {

// Who asks. pid may be 0 (outside of our pid namespace: unknown).
struct Caller {
  pid_t pid = 0;
  uid_t uid = 0;
  gid_t gid = 0;
};

enum class Verb { kCheckpoint, kRestart, kSuspend, kResume, kKill, kMigrate, kCancel };

// A command as parsed by fs/control_grammar from one write to ctl.
struct Command {
  Verb verb = Verb::kCheckpoint;
  bool stop = false;                // checkpoint stop
  bool full = false;                // checkpoint full
  std::optional<uint64_t> version;  // restart N
  bool clone = false;               // restart clone
  std::string node;                 // restart node=, migrate
  bool background = false;          // "verb &"
  std::string text;                 // as written, for logs
};

enum class JobState {
  kEmpty,  // no unit has processes, and none ever had
  kRunning,
  kSuspended,
  kStopped,  // saved by `checkpoint stop`, can be restarted
  kEnded,    // its processes ended by themselves
};
std::string_view JobStateName(JobState state);

struct OperationReport {
  std::string command;
  std::string result;  // "ok" or the Errc's name
  std::string error;   // one sentence, empty when ok
  std::chrono::system_clock::time_point started{};
  double seconds = 0;
  double standstill_seconds = 0;
  uint64_t version = 0;
  uint64_t memory_bytes = 0, written_bytes = 0;
};

struct UnitStatus {
  std::string name;
  std::string checkpointer;  // as chosen: "auto" or a name
  std::string uses;          // the checkpointer in use, "criu"
  JobState state = JobState::kEmpty;
  pid_t root = 0;                // 0: none
  std::vector<pid_t> processes;  // of the live tree
  std::string exit;              // "exit 3", "killed by signal 9 (SIGKILL)", "" while it runs
  std::string warning;           // e.g. processes of its session outside of the tree
};

struct JobStatus {
  std::string name;
  JobState state = JobState::kEmpty;
  uid_t owner_uid = 0;
  gid_t owner_gid = 0;
  mode_t mode = 0700;
  std::optional<uint64_t> last_version;
  std::optional<std::string> running_command;
  std::optional<OperationReport> last_operation;
  std::string clone_of;  // "sim", for a clone
  std::vector<UnitStatus> units;
};

struct JobProgress {
  std::string
      phase;  // "idle", "prepare", "stop", "checkpoint", "commit", "resume", "verify", "rebuild"
  uint64_t bytes_done = 0, bytes_total = 0;
  double bytes_per_second = 0;
  std::optional<double> seconds_left;
};

struct CheckpointerStatus {
  std::string name;
  Availability availability;
  Capabilities capabilities;
};

struct AgentOptions {
  Store* store = nullptr;  // borrowed
  std::vector<std::unique_ptr<Checkpointer>> checkpointers;
  std::string node;
  std::string work_dir;        // private folder in memory for checkpointers' sockets; exists
  EventLog* events = nullptr;  // borrowed
  const Log* log = nullptr;    // borrowed
  // The clock of policy intervals; tests put their own. Empty: steady_clock. Thread-safe.
  std::function<std::chrono::steady_clock::time_point()> now;
};

class Agent {
 public:
  // Takes up the jobs of an earlier daemon: watches those whose processes are
  // still the same, marks the others ended.
  static Result<std::unique_ptr<Agent>> Start(AgentOptions options);
  // Cancels what runs, waits for it to be undone, answers every waiter. Jobs go on.
  virtual ~Agent() = default;

  // --- the table. A caller who is neither owner nor root gets kNotFound for
  // things of others, as if they were not there.
  virtual Result<void> MakeJob(std::string_view job, const Caller& caller) = 0;  // with unit main
  virtual Result<void> ForgetJob(std::string_view job, const Caller& caller) = 0;
  virtual Result<void> MakeUnit(std::string_view job, std::string_view unit, const Caller& c) = 0;
  virtual Result<void> ForgetUnit(std::string_view job, std::string_view unit, const Caller& c) = 0;
  virtual std::vector<std::string> Jobs(const Caller& caller) const = 0;
  virtual Result<JobStatus> Status(std::string_view job, const Caller& caller) const = 0;
  // Cheap form for lookups: is it there, whose is it.
  virtual bool HasJob(std::string_view job, const Caller& caller) const = 0;
  virtual bool HasUnit(std::string_view job, std::string_view unit, const Caller& c) const = 0;

  // --- settings
  virtual Result<Policy> GetPolicy(std::string_view job, const Caller& caller) const = 0;
  virtual Result<void> SetPolicy(std::string_view job, const Policy& policy, const Caller& c) = 0;
  virtual Result<void> SetCheckpointer(std::string_view job, std::string_view unit,
                                       std::string_view name, const Caller& caller) = 0;
  // units/UNIT/procs: the tree rooted at `pid` becomes the unit. Checks, each with
  // its own words: exists, is no thread, no kernel thread, not this daemon or an
  // ancestor of it, no other unit's (kBusy), all credentials the caller's, unit
  // has no live processes (kBusy). Warns of kin outside of the tree.
  virtual Result<void> Attach(std::string_view job, std::string_view unit, pid_t pid,
                              const Caller& caller) = 0;

  // --- operations. `done` is called exactly once: with the outcome; for
  // background commands, once started; for a caller inside of the job, before
  // the freeze. Cancelling the token cancels the operation (kCancelled).
  using Done = std::function<void(Result<void>)>;
  virtual void Execute(std::string_view job, const Command& command, const Caller& caller,
                       std::shared_ptr<CancelToken> cancel, Done done) = 0;
  virtual Result<JobProgress> ProgressOf(std::string_view job, const Caller& caller) const = 0;

  // `done` gets one line once every unit of the job has ended: "exit 0\n",
  // "killed by signal 9 (SIGKILL)\n", "unknown\n"; at once if it already has;
  // an error if the job is forgotten or has never run. 0 or an id for CancelWait.
  using Ended = std::function<void(Result<std::string>)>;
  virtual Result<uint64_t> WaitForEnd(std::string_view job, const Caller& caller, Ended done) = 0;
  // After it returns `done` will not be called (it may have been before).
  virtual void CancelWait(uint64_t id) = 0;

  // --- texts
  virtual Result<std::string> JobErrors(std::string_view job, const Caller& caller) const = 0;
  virtual std::string NodeErrors(const Caller& caller) const = 0;
  // For what fs/ refuses to parse or to do: what Execute fails with is noted already. `job` empty:
  // the node's log only, and only root reads it there; else the job's owner as well.
  virtual void NoteError(std::string_view job, std::string_view command, const Error& error) = 0;
  virtual Result<std::string> UnitLog(std::string_view job, std::string_view unit,
                                      const Caller& caller) const = 0;
  virtual std::string Metrics(const Caller& caller) const = 0;
  virtual std::vector<CheckpointerStatus> Checkpointers() const = 0;

  // --- images: the store, with the owner's check in front. A version belongs to
  // its manifest's owner uid, an incoming one to whoever made it.
  virtual Result<void> CheckImageAccess(std::string_view job, std::optional<uint64_t> version,
                                        const Caller& caller) const = 0;
  virtual Result<void> DeleteVersion(std::string_view job, uint64_t version, const Caller& c) = 0;
  // Store::MakeIncoming, Admit and RemoveIncoming for `caller`, to whom the image then belongs.
  // Use these, not the store's own: they keep whose it is and write the events. A name that has
  // images or a job of another user is kNotYours.
  virtual Result<void> MakeIncoming(std::string_view job, uint64_t version, const Caller& c) = 0;
  virtual Result<VersionInfo> AdmitImage(std::string_view job, uint64_t version,
                                         const Caller& c) = 0;
  virtual Result<void> RemoveIncoming(std::string_view job, uint64_t version, const Caller& c) = 0;
  virtual Store& store() = 0;
  virtual EventLog& events() = 0;
};

}  // namespace ckptfs
