// Commands: one at a time on a job, each on a thread of its own.
#include <algorithm>

#include "agent/node_agent.h"

namespace ckptfs {
namespace {

constexpr auto kEndPatience = std::chrono::seconds(5);

}  // namespace

Result<std::shared_ptr<Operation>> NodeAgent::Claim(const JobPtr& job, const Command& command,
                                                    std::shared_ptr<CancelToken> cancel,
                                                    bool* nothing) {
  if (!cancel) {
    auto made = CancelToken::Make();
    if (!made) return made.error();
    cancel = *made;
  }
  std::string text = command.text.empty() ? std::string(VerbName(command.verb)) : command.text;
  auto operation = std::make_shared<Operation>(command.verb, text, std::move(cancel));
  auto data = job->Lock();
  // The destructor cancels what it finds: nothing may begin behind its back.
  if (stopping_) return Fail(Errc::kCancelled, "the daemon ends");
  if (data->forgotten) return Fail(Errc::kNotFound, "there is no job {}", job->name());
  if (data->operation)
    return Fail(Errc::kBusy, "'{}' is at work on job {}", data->operation->command(), job->name())
        .WithRemedy("wait for it, or write 'cancel' into ctl");
  JobState state = data->State();
  // `kill -9 PID; echo restart` comes before the kernel has told us of the end.
  if (command.verb == Verb::kRestart && IsLive(state) && data->IsDying()) state = JobState::kEnded;
  Rule rule = RuleFor(command, state);
  if (rule.allowed == Allowed::kRefused)
    return Error(rule.code, fmt::format("{}: {}", VerbName(command.verb), rule.words), rule.remedy);
  *nothing = rule.allowed == Allowed::kNothingToDo;
  if (!*nothing) data->operation = operation;
  return operation;
}

void NodeAgent::Execute(std::string_view name, const Command& command, const Caller& caller,
                        std::shared_ptr<CancelToken> cancel, Done done) {
  auto refuse = [&](const Error& error) {
    NoteError(name, command.text, error);
    done(error);
  };
  auto job = Find(name, caller);
  if (!job) return refuse(job.error());
  if (auto good = CheckCommand(command, options_.node); !good) return refuse(good.error());
  if (command.verb == Verb::kCancel) {
    if (auto operation = (*job)->Lock()->operation) operation->cancel()->Cancel();
    return done({});
  }
  bool nothing = false;
  auto operation = Claim(*job, command, std::move(cancel), &nothing);
  if (!operation) return refuse(operation.error());
  if (nothing) return done({});
  Run run{.job = *job,
          .operation = *operation,
          .command = command,
          .caller = caller,
          .answer = std::make_shared<Answer>(std::move(done)),
          .caller_inside = IsInside(caller, *job),
          .clone = {}};
  StartRun(std::move(run));
}

bool NodeAgent::IsInside(const Caller& caller, const JobPtr& job) const {
  if (caller.pid <= 0) return false;
  std::vector<pid_t> roots;
  {
    auto data = job->Lock();
    for (const auto& [name, unit] : data->units) {
      if (!unit.processes) continue;
      roots.push_back(unit.processes->root.pid);
      if (unit.processes->namespace_init) roots.push_back(unit.processes->namespace_init->pid);
    }
  }
  return std::any_of(roots.begin(), roots.end(),
                     [&](pid_t root) { return IsInTree(caller.pid, root); });
}

void NodeAgent::StartRun(Run run) {
  auto shared = std::make_shared<Run>(std::move(run));
  auto started = threads_.Start([this, shared] { RunCommand(*shared); });
  if (started) return;
  {
    auto data = shared->job->Lock();
    data->operation.reset();
  }
  NoteError(shared->job->name(), shared->operation->command(), started.error());
  shared->answer->Give(started.error());
}

void NodeAgent::RunCommand(Run& run) {
  const std::string& name = run.job->name();
  const Operation& operation = *run.operation;
  OperationReport report{
      .command = operation.command(), .result = {}, .error = {}, .started = operation.started()};
  Event(name, fmt::format("{} started{}", operation.command(), run.by_policy ? " by=policy" : ""));
  if (run.command.background) run.answer->Give({});
  auto outcome = Dispatch(run, report);
  report.seconds = operation.seconds();
  report.result = outcome ? "ok" : std::string(ErrcName(outcome.error().code()));
  if (!outcome) report.error = outcome.error().Text();
  metrics_.Count(operation.verb(), report);
  std::string figures =
      fmt::format("{} {} seconds={:.3f}", operation.command(), report.result, report.seconds);
  if (report.version != 0) figures += fmt::format(" version={}", report.version);
  if (report.memory_bytes != 0)
    figures += fmt::format(" bytes={} written={} standstill={:.3f}", report.memory_bytes,
                           report.written_bytes, report.standstill_seconds);
  if (!outcome) {
    NoteError(name, operation.command(), outcome.error());
    figures += ": " + report.error;
  }
  for (const JobPtr& job : {run.job, run.clone}) {
    if (!job) continue;
    auto data = job->Lock();
    data->last_operation = report;
    data->operation.reset();
  }
  Event(name, figures);
  // A version is on the disk once it is committed: what the job's record would add is
  // no reason to wait. Whatever changes which processes there are is on the disk first.
  bool goes_on = run.command.verb == Verb::kCheckpoint && !run.command.stop && outcome;
  if (goes_on) run.answer->Give(outcome);
  if (run.by_policy && run.command.verb != Verb::kCheckpoint)
    PolicyRestartDone(run.job, run.command.verb, outcome);
  if (run.clone) Keep(run.clone);
  Keep(run.job);
  run.job->changed().notify_all();
  run.answer->Give(outcome);
  // Ends that the command brought about were seen while it was at work.
  TellEnd(run.job);
  if (run.clone) TellEnd(run.clone);
}

Result<void> NodeAgent::Dispatch(Run& run, OperationReport& report) {
  switch (run.command.verb) {
    case Verb::kCheckpoint:
      return Checkpoint(run, report);
    case Verb::kRestart:
      return Restart(run, report);
    case Verb::kSuspend:
      return Suspend(run);
    case Verb::kResume:
      return Unsuspend(run);
    case Verb::kKill:
      return Kill(run);
    case Verb::kMigrate:
    case Verb::kCancel:
      break;
  }
  return Fail(Errc::kInternal, "'{}' is no operation", run.command.text);
}

Result<std::vector<NodeAgent::LiveUnit>> NodeAgent::LiveUnits(const JobPtr& job) {
  struct Found {
    LiveUnit unit;
    std::string chosen, uses;
  };
  std::vector<Found> all;
  uid_t owner = 0;
  {
    auto data = job->Lock();
    owner = data->owner_uid;
    for (const auto& [name, unit] : data->units)
      if (IsLive(unit.state) && unit.processes)
        all.push_back({LiveUnit{.name = name,
                                .processes = *unit.processes,
                                .suspended = unit.state == JobState::kSuspended},
                       unit.checkpointer, unit.uses});
  }
  std::vector<LiveUnit> live;
  for (Found& found : all) {
    // Once one is in use it stays: it may remember what it did to the unit.
    auto checkpointer = found.uses.empty() ? checkpointers_.Choose(found.chosen, owner)
                                           : checkpointers_.Find(found.uses);
    if (!checkpointer) return checkpointer.error().Add("unit {}", found.unit.name);
    found.unit.checkpointer = *checkpointer;
    auto data = job->Lock();
    if (auto it = data->units.find(found.unit.name); it != data->units.end())
      it->second.uses = (*checkpointer)->name();
    live.push_back(std::move(found.unit));
  }
  if (live.empty()) return Fail(Errc::kGone, "the job's processes have ended just now");
  return live;
}

void NodeAgent::ExpectEnd(const JobPtr& job, std::optional<JobState> state) {
  auto data = job->Lock();
  for (auto& [name, unit] : data->units) unit.expected_end = state;
}

void NodeAgent::AwaitEnds(const JobPtr& job, std::string_view exit) {
  std::vector<std::pair<std::string, ProcessId>> late;
  {
    auto data = job->Lock();
    (void)data.WaitFor(job->changed(), kEndPatience, [&] { return !data->Alive(); });
    for (auto& [name, unit] : data->units)
      if (unit.processes) late.emplace_back(name, unit.processes->root);
  }
  for (const auto& [name, root] : late)
    if (!IsAlive(root)) UnitEnded(job, name, root, std::string(exit));
}

Result<void> NodeAgent::Checkpoint(Run& run, OperationReport& report) {
  auto live = LiveUnits(run.job);
  if (!live) return live.error();
  CheckpointJob job;
  {
    auto data = run.job->Lock();
    // A version without the unit that failed would be what the restart starts from.
    if (data->restart_pending)
      return Fail(Errc::kBusy, "a unit of the job has failed, and the job is about to be restarted")
          .WithRemedy("wait for it; 'kill' or the policy 'restart never' withdraws it");
    job.policy = data->policy;
    data->last_checkpoint_try = Now();
    job.begin = {.job = run.job->name(),
                 .owner_uid = data->owner_uid,
                 .owner_gid = data->owner_gid,
                 .owner_name = {},
                 .full = run.command.full};
  }
  job.begin.owner_name = UserName(job.begin.owner_uid);
  job.stop = run.command.stop;
  job.operation = run.operation.get();
  for (const LiveUnit& unit : *live)
    job.units.push_back({.job = run.job->name(),
                         .unit = unit.name,
                         .checkpointer = unit.checkpointer,
                         .processes = unit.processes,
                         .suspended = unit.suspended,
                         .stop = job.stop,
                         .policy = job.policy,
                         .work_parent = options_.work_dir,
                         .operation = run.operation.get()});
  job.before_freeze = [&run] {
    if (run.caller_inside) run.answer->Give({});
  };
  job.before_end = [&] { ExpectEnd(run.job, JobState::kStopped); };
  CheckpointOutcome outcome = RunCheckpoint(*options_.store, std::move(job));
  report.standstill_seconds = outcome.standstill_seconds;
  if (outcome.version) {
    report.version = outcome.version->version;
    report.written_bytes = outcome.version->written_bytes;
    for (const UnitInfo& unit : outcome.version->units) report.memory_bytes += unit.memory_bytes;
    NoteCheckpoint(run.job, outcome);
  }
  if (run.command.stop && outcome.version) {
    if (outcome.result) AwaitEnds(run.job, "");
    ExpectEnd(run.job, std::nullopt);
    if (outcome.result) run.job->Lock()->restart_pending = false;
  }
  if (outcome.version) DeleteOldVersions(run.job);
  return outcome.result;
}

void NodeAgent::NoteCheckpoint(const JobPtr& job, const CheckpointOutcome& outcome) {
  std::vector<std::string> warnings;
  {
    auto data = job->Lock();
    data->last_version = outcome.version->version;
    data->restarts_tried = 0;
    for (const auto& saved : outcome.units) {
      auto it = data->units.find(saved.name);
      if (it == data->units.end()) continue;
      it->second.members = saved.members;
      for (const std::string& words : saved.warnings)
        warnings.push_back(fmt::format("unit {} warning: {}", saved.name, words));
      if (!saved.warnings.empty()) it->second.warning = saved.warnings.front();
    }
  }
  for (const std::string& words : warnings) Event(job->name(), words);
}

void NodeAgent::DeleteOldVersions(const JobPtr& job) {
  uint64_t keep = job->Lock()->policy.keep;
  if (keep == 0) return;
  auto versions = options_.store->Versions(job->name());
  for (size_t i = 0; i + keep < versions.size(); ++i) {
    auto deleted = options_.store->Delete(job->name(), versions[i]);
    Event(job->name(), deleted ? fmt::format("version deleted version={} by=policy", versions[i])
                               : fmt::format("version not deleted version={}: {}", versions[i],
                                             deleted.error().message()));
  }
}

Result<void> NodeAgent::SetStates(const JobPtr& job, JobState state) {
  {
    auto data = job->Lock();
    for (auto& [name, unit] : data->units)
      if (IsLive(unit.state)) unit.state = state;
  }
  return job->Save(*options_.store);
}

Result<void> NodeAgent::Suspend(Run& run) {
  auto live = LiveUnits(run.job);
  if (!live) return live.error();
  for (const LiveUnit& unit : *live)
    if (auto tree = RecheckTree(unit.processes); !tree)
      return tree.error().Add("unit {}", unit.name);
  run.operation->Enter("stop");
  // Recorded first: were the daemon killed in between, no record would say that a job runs
  // which stands still. At its next start it looks whether one recorded as suspended does.
  if (auto recorded = SetStates(run.job, JobState::kSuspended); !recorded) {
    (void)SetStates(run.job, JobState::kRunning);
    return recorded;
  }
  if (run.caller_inside) run.answer->Give({});
  for (size_t i = 0; i < live->size(); ++i) {
    const LiveUnit& unit = (*live)[i];
    Result<void> done = run.operation->CheckCancelled();
    if (done) done = unit.checkpointer->Suspend(unit.processes);
    if (done) continue;
    for (size_t j = 0; j < i; ++j) (void)(*live)[j].checkpointer->Unsuspend((*live)[j].processes);
    (void)SetStates(run.job, JobState::kRunning);
    return done.error().Add("unit {}", unit.name);
  }
  return {};
}

Result<void> NodeAgent::Unsuspend(Run& run) {
  auto live = LiveUnits(run.job);
  if (!live) return live.error();
  run.operation->Enter("resume");
  for (const LiveUnit& unit : *live)
    if (auto done = unit.checkpointer->Unsuspend(unit.processes); !done)
      return done.error().Add("unit {}", unit.name);
  return SetStates(run.job, JobState::kRunning);
}

Result<void> NodeAgent::Kill(Run& run) {
  auto live = LiveUnits(run.job);
  if (!live) return live.error();
  run.operation->Enter("stop");
  if (run.caller_inside) run.answer->Give({});
  ExpectEnd(run.job, JobState::kEnded);
  Result<void> outcome;
  for (const LiveUnit& unit : *live)
    if (auto done = unit.checkpointer->Kill(unit.processes); !done && outcome)
      outcome = done.error().Add("unit {}", unit.name);
  if (outcome) AwaitEnds(run.job, "killed by signal 9 (SIGKILL)");
  ExpectEnd(run.job, std::nullopt);
  if (outcome && !run.by_policy) run.job->Lock()->restart_pending = false;
  return outcome;
}

void NodeAgent::StartByPolicy(const JobPtr& job, const Command& command) {
  bool nothing = false;
  auto operation = Claim(job, command, nullptr, &nothing);
  if (!operation || nothing) return;  // busy or ended meanwhile: the next tick looks again
  StartRun(Run{.job = job,
               .operation = *operation,
               .command = command,
               .caller = {},
               .answer = std::make_shared<Answer>([](const Result<void>&) {}),
               .by_policy = true,
               .clone = {}});
}

}  // namespace ckptfs
