// NodeAgent: the Agent of one machine. One class, several files: the table
// and its settings (agent.cc), status and texts (status.cc), images (images.cc),
// commands (commands.cc, restart.cc), and what happens by itself: ends, intervals,
// restarts (upkeep.cc).
#pragma once

#include <atomic>

#include "agent/agent.h"
#include "agent/attach.h"
#include "agent/checkpointer_set.h"
#include "agent/command_table.h"
#include "agent/job_checkpointer.h"
#include "agent/job_restarter.h"
#include "agent/job_table.h"
#include "agent/metrics.h"
#include "agent/operation.h"
#include "agent/supervisor.h"
#include "agent/waiters.h"

namespace ckptfs {

class NodeAgent final : public Agent {
 public:
  explicit NodeAgent(AgentOptions options);
  ~NodeAgent() override;
  // Takes up the jobs of the records.
  Result<void> Begin();

  Result<void> MakeJob(std::string_view job, const Caller& caller) override;
  Result<void> ForgetJob(std::string_view job, const Caller& caller) override;
  Result<void> MakeUnit(std::string_view job, std::string_view unit, const Caller& c) override;
  Result<void> ForgetUnit(std::string_view job, std::string_view unit, const Caller& c) override;
  std::vector<std::string> Jobs(const Caller& caller) const override;
  Result<JobStatus> Status(std::string_view job, const Caller& caller) const override;
  bool HasJob(std::string_view job, const Caller& caller) const override;
  bool HasUnit(std::string_view job, std::string_view unit, const Caller& c) const override;
  Result<Policy> GetPolicy(std::string_view job, const Caller& caller) const override;
  Result<void> SetPolicy(std::string_view job, const Policy& policy, const Caller& c) override;
  Result<void> SetCheckpointer(std::string_view job, std::string_view unit, std::string_view name,
                               const Caller& caller) override;
  Result<void> Attach(std::string_view job, std::string_view unit, pid_t pid,
                      const Caller& caller) override;
  void Execute(std::string_view job, const Command& command, const Caller& caller,
               std::shared_ptr<CancelToken> cancel, Done done) override;
  Result<JobProgress> ProgressOf(std::string_view job, const Caller& caller) const override;
  Result<uint64_t> WaitForEnd(std::string_view job, const Caller& caller, Ended done) override;
  void CancelWait(uint64_t id) override;
  Result<std::string> JobErrors(std::string_view job, const Caller& caller) const override;
  std::string NodeErrors(const Caller& caller) const override;
  void NoteError(std::string_view job, std::string_view command, const Error& error) override;
  Result<std::string> UnitLog(std::string_view job, std::string_view unit,
                              const Caller& caller) const override;
  std::string Metrics(const Caller& caller) const override;
  std::vector<CheckpointerStatus> Checkpointers() const override;
  Result<void> CheckImageAccess(std::string_view job, std::optional<uint64_t> version,
                                const Caller& caller) const override;
  Result<void> DeleteVersion(std::string_view job, uint64_t version, const Caller& c) override;
  Result<void> MakeIncoming(std::string_view job, uint64_t version, const Caller& c) override;
  Result<VersionInfo> AdmitImage(std::string_view job, uint64_t version, const Caller& c) override;
  Result<void> RemoveIncoming(std::string_view job, uint64_t version, const Caller& c) override;
  Store& store() override { return *options_.store; }
  EventLog& events() override { return *options_.events; }

 private:
  using JobPtr = std::shared_ptr<Job>;
  // One command at work.
  struct Run {
    JobPtr job;
    std::shared_ptr<Operation> operation;
    Command command;
    Caller caller;
    std::shared_ptr<Answer> answer;
    bool by_policy = false;
    bool caller_inside = false;  // is a process of the job: answered before it freezes
    JobPtr clone;                // made by `restart clone`
  };

  // --- commands.cc
  // Marks the job busy with a new operation, or says why not.
  Result<std::shared_ptr<Operation>> Claim(const JobPtr& job, const Command& command,
                                           std::shared_ptr<CancelToken> cancel, bool* nothing);
  void StartRun(Run run);
  void RunCommand(Run& run);
  Result<void> Dispatch(Run& run, OperationReport& report);
  Result<void> Checkpoint(Run& run, OperationReport& report);
  Result<void> Restart(Run& run, OperationReport& report);
  Result<void> Suspend(Run& run);
  Result<void> Unsuspend(Run& run);
  Result<void> Kill(Run& run);
  // The live units of a job with their checkpointers.
  struct LiveUnit {
    std::string name;
    UnitProcesses processes;
    Checkpointer* checkpointer = nullptr;
    bool suspended = false;
  };
  Result<std::vector<LiveUnit>> LiveUnits(const JobPtr& job);
  // At the start: one that runs though it is recorded as suspended is recorded as running.
  void CheckSuspended(const JobPtr& job);
  Result<void> SetStates(const JobPtr& job, JobState state);
  void ExpectEnd(const JobPtr& job, std::optional<JobState> state);
  // Until the supervisor has seen the ends that an operation brought about.
  void AwaitEnds(const JobPtr& job, std::string_view exit);
  void NoteCheckpoint(const JobPtr& job, const CheckpointOutcome& outcome);
  void DeleteOldVersions(const JobPtr& job);
  bool IsInside(const Caller& caller, const JobPtr& job) const;

  // --- restart.cc
  Result<uint64_t> ChooseVersion(const Run& run);
  Result<void> CheckNotAlive(const JobPtr& job) const;
  Result<JobPtr> MakeClone(const Run& run);
  // Writes down that these are the job's processes.
  void RecordUnits(const JobPtr& job, const std::vector<RestartedUnit>& units, uint64_t version);

  // --- upkeep.cc
  void WatchUnit(const JobPtr& job, const std::string& unit, const ProcessId& root);
  void UnitEnded(const JobPtr& job, const std::string& unit, const ProcessId& root,
                 std::string exit);
  void TellEnd(const JobPtr& job);
  bool Tick();  // true: something is due soon
  void TickJob(const JobPtr& job, std::chrono::steady_clock::time_point now, bool* hurry);
  void StartByPolicy(const JobPtr& job, const Command& command);
  // Of the kill that comes before a restart, and of the restart.
  void PolicyRestartDone(const JobPtr& job, Verb verb, const Result<void>& outcome);
  std::chrono::steady_clock::time_point Now() const;

  // --- agent.cc, images.cc
  Result<JobPtr> Find(std::string_view job, const Caller& caller) const {
    return table_.Find(job, caller);
  }
  Credentials OwnerOf(const JobPtr& job, const Caller& caller) const;
  Result<void> CheckNoOtherUnits(const JobPtr& job, std::string_view unit, pid_t pid,
                                 const std::vector<ProcessInfo>& tree) const;
  std::optional<uid_t> IncomingOwner(std::string_view job, uint64_t version) const;
  Result<void> CheckImageName(std::string_view job, const Caller& caller) const;
  void Event(std::string_view job, std::string_view text) const;
  void Keep(const JobPtr& job) const;  // the record; a failure goes to the log

  AgentOptions options_;
  CheckpointerSet checkpointers_;
  JobTable table_;
  Waiters waiters_;
  OperationMetrics metrics_;
  ErrorLog node_errors_{64};
  OperationThreads threads_;
  std::atomic<bool> stopping_{false};
  std::unique_ptr<Supervisor> supervisor_;  // never reset: its own thread calls it
};

}  // namespace ckptfs
