// What happens by itself: units end, intervals pass, failed jobs are restarted.
#include <tuple>

#include "agent/node_agent.h"
#include "kapi/tree_control.h"

namespace ckptfs {
namespace {

constexpr uint64_t kMostRestarts = 3;  // without a new version in between

Command CommandOf(Verb verb) {
  Command command;
  command.verb = verb;
  command.text = VerbName(verb);
  return command;
}

bool IsFailure(std::string_view exit) { return exit != "exit 0" && exit != "unknown"; }

}  // namespace

Result<void> NodeAgent::Begin() {
  auto supervisor = Supervisor::Start([this] { return Tick(); });
  if (!supervisor) return supervisor.error();
  supervisor_ = std::move(*supervisor);
  for (const JobPtr& job : table_.All()) {
    std::vector<std::pair<std::string, ProcessId>> live;
    {
      auto data = job->Lock();
      data->last_checkpoint_try = Now();
      // A commit whose record was lost in a crash still counts.
      if (auto latest = options_.store->Latest(job->name())) data->last_version = latest;
      for (const auto& [name, unit] : data->units)
        if (unit.processes) live.emplace_back(name, unit.processes->root);
    }
    CheckSuspended(job);
    for (const auto& [name, root] : live) WatchUnit(job, name, root);
  }
  return {};
}

// The daemon was killed during a suspend or a resume, or somebody else has continued it.
void NodeAgent::CheckSuspended(const JobPtr& job) {
  std::vector<std::tuple<std::string, std::string, UnitProcesses>> suspended;
  {
    auto data = job->Lock();
    for (const auto& [name, unit] : data->units)
      if (unit.processes && unit.state == JobState::kSuspended)
        suspended.emplace_back(name, unit.uses, *unit.processes);
  }
  for (const auto& [name, uses, processes] : suspended) {
    auto stands = IsTreeStopped(processes.root);
    if (!stands || *stands) continue;
    auto checkpointer = checkpointers_.Find(uses);
    // A part of it may stand still.
    if (checkpointer) (void)(*checkpointer)->Unsuspend(processes);
    job->Lock()->units[name].state = JobState::kRunning;
    Event(job->name(), fmt::format("unit {} runs, though it was suspended: it goes on", name));
    Keep(job);
  }
}

std::chrono::steady_clock::time_point NodeAgent::Now() const {
  return options_.now ? options_.now() : std::chrono::steady_clock::now();
}

void NodeAgent::WatchUnit(const JobPtr& job, const std::string& unit, const ProcessId& root) {
  auto watch = supervisor_->Watch(root, [this, job, unit, root](std::string exit) {
    UnitEnded(job, unit, root, std::move(exit));
  });
  if (!watch) {
    if (watch.error().code() != Errc::kGone && options_.log != nullptr)
      options_.log->Err("job {} unit {}: {}", job->name(), unit, watch.error().Text());
    if (!IsAlive(root)) UnitEnded(job, unit, root, "unknown");
    return;
  }
  auto data = job->Lock();
  auto it = data->units.find(unit);
  if (it != data->units.end() && it->second.processes && it->second.processes->root == root)
    it->second.watch = *watch;
}

void NodeAgent::UnitEnded(const JobPtr& job, const std::string& unit, const ProcessId& root,
                          std::string exit) {
  JobState became = JobState::kEnded;
  bool restart = false;
  {
    auto data = job->Lock();
    auto it = data->units.find(unit);
    if (data->forgotten || it == data->units.end() || !it->second.processes ||
        it->second.processes->root != root)
      return;
    Unit& each = it->second;
    became = each.expected_end.value_or(JobState::kEnded);
    restart = !each.expected_end && IsFailure(exit) && data->last_version &&
              data->policy.restart == RestartPolicy::kOnFailure;
    each.processes.reset();
    each.watch = 0;
    each.expected_end.reset();
    each.state = became;
    each.exit = became == JobState::kEnded ? exit : "";
    if (restart && data->restarts_tried >= kMostRestarts) restart = false;
    if (restart) data->restart_pending = true;
  }
  Event(job->name(), became == JobState::kStopped ? fmt::format("unit {} stopped", unit)
                                                  : fmt::format("unit {} ended {}", unit, exit));
  job->changed().notify_all();
  Keep(job);
  if (restart) supervisor_->Hurry();
  TellEnd(job);
}

void NodeAgent::TellEnd(const JobPtr& job) {
  std::string line;
  {
    auto data = job->Lock();
    if (data->State() != JobState::kEnded || data->restart_pending || data->operation) return;
    line = data->ExitLine();
  }
  waiters_.Tell(job.get(), line);
}

bool NodeAgent::Tick() {
  bool hurry = false;
  auto now = Now();
  for (const JobPtr& job : table_.All()) TickJob(job, now, &hurry);
  return hurry;
}

void NodeAgent::TickJob(const JobPtr& job, std::chrono::steady_clock::time_point now, bool* hurry) {
  std::optional<Verb> due;
  bool given_up = false;
  {
    auto data = job->Lock();
    auto interval = data->policy.interval;
    *hurry = *hurry || data->restart_pending || interval.count() > 0;
    if (data->operation || data->forgotten) return;
    if (data->policy.restart != RestartPolicy::kOnFailure && data->restart_pending) {
      data->restart_pending = false;
      given_up = true;
    } else if (data->restart_pending) {
      // A job whose one unit failed is of no use: the others end before all start anew.
      due = data->Alive() ? Verb::kKill : Verb::kRestart;
    } else if (interval.count() > 0 && data->State() == JobState::kRunning &&
               now - data->last_checkpoint_try >= interval) {
      due = Verb::kCheckpoint;
      data->last_checkpoint_try = now;
    }
  }
  if (given_up) {
    Keep(job);
    TellEnd(job);
  }
  if (due) StartByPolicy(job, CommandOf(*due));
}

void NodeAgent::PolicyRestartDone(const JobPtr& job, Verb verb, const Result<void>& outcome) {
  bool gives_up = false;
  {
    auto data = job->Lock();
    // What cannot be killed now cannot be at the next tick either, unless it is gone by itself.
    gives_up = !outcome && (verb == Verb::kKill ? outcome.error().code() != Errc::kGone
                                                : data->restarts_tried >= kMostRestarts);
    if (gives_up) data->restart_pending = false;
  }
  if (gives_up) Event(job->name(), "restart given up");
}

}  // namespace ckptfs
