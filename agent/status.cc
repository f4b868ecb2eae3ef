// What the agent tells of its jobs. A job's lock is held only to copy: /proc is
// read without it.
#include "agent/node_agent.h"

namespace ckptfs {

std::vector<std::string> NodeAgent::Jobs(const Caller& caller) const {
  std::vector<std::string> names;
  for (const JobPtr& job : table_.All())
    if (job->VisibleTo(caller)) names.push_back(job->name());
  return names;
}

bool NodeAgent::HasJob(std::string_view job, const Caller& caller) const {
  return Find(job, caller).ok();
}

bool NodeAgent::HasUnit(std::string_view name, std::string_view unit, const Caller& c) const {
  auto job = Find(name, c);
  if (!job) return false;
  auto data = (*job)->Lock();
  return data->units.find(unit) != data->units.end();
}

Result<JobStatus> NodeAgent::Status(std::string_view name, const Caller& caller) const {
  auto job = Find(name, caller);
  if (!job) return job.error();
  JobStatus status;
  {
    auto data = (*job)->Lock();
    status.name = (*job)->name();
    status.state = data->State();
    status.owner_uid = data->owner_uid;
    status.owner_gid = data->owner_gid;
    status.last_version = data->last_version;
    if (data->operation) status.running_command = data->operation->command();
    status.last_operation = data->last_operation;
    status.clone_of = data->clone_of;
    for (const auto& [unit_name, unit] : data->units) {
      UnitStatus each{.name = unit_name,
                      .checkpointer = unit.checkpointer,
                      .uses = unit.uses,
                      .state = unit.state,
                      .processes = {},
                      .exit = unit.exit,
                      .warning = unit.warning};
      if (IsLive(unit.state) && unit.processes) each.root = unit.processes->root.pid;
      status.units.push_back(std::move(each));
    }
  }
  for (UnitStatus& unit : status.units) {
    if (unit.root == 0) continue;
    if (auto tree = ReadTree(unit.root))
      for (const ProcessInfo& info : *tree)
        if (info.state != 'Z') unit.processes.push_back(info.id.pid);
  }
  return status;
}

Result<JobProgress> NodeAgent::ProgressOf(std::string_view name, const Caller& caller) const {
  auto job = Find(name, caller);
  if (!job) return job.error();
  std::shared_ptr<Operation> operation = (*job)->Lock()->operation;
  if (operation) return operation->Snapshot();
  JobProgress idle;
  idle.phase = "idle";
  return idle;
}

Result<std::string> NodeAgent::JobErrors(std::string_view name, const Caller& caller) const {
  auto job = Find(name, caller);
  if (!job) return job.error();
  return (*job)->errors().Text();
}

std::string NodeAgent::NodeErrors(const Caller& caller) const {
  if (caller.uid == 0) return node_errors_.Text();
  std::string own;
  for (const JobPtr& job : table_.All())
    if (job->VisibleTo(caller)) own += job->errors().Text();
  return own;
}

void NodeAgent::NoteError(std::string_view name, std::string_view command, const Error& error) {
  node_errors_.Add(name.empty() ? std::string(command) : fmt::format("{}: {}", name, command),
                   error);
  if (JobPtr job = table_.Get(name)) job->errors().Add(command, error);
}

Result<std::string> NodeAgent::UnitLog(std::string_view name, std::string_view unit,
                                       const Caller& caller) const {
  auto job = Find(name, caller);
  if (!job) return job.error();
  std::string uses;
  {
    auto data = (*job)->Lock();
    auto it = data->units.find(unit);
    if (it == data->units.end()) return Fail(Errc::kNotFound, "job {} has no unit {}", name, unit);
    uses = it->second.uses;
  }
  ckptfs::Checkpointer* checkpointer = checkpointers_.Get(uses);
  return checkpointer == nullptr ? std::string() : checkpointer->LastLog(name, unit);
}

std::string NodeAgent::Metrics(const Caller& /*caller*/) const {
  OperationMetrics::Now now;
  now.node = options_.node;
  now.suite = SuiteName(options_.store->suite());
  for (const JobPtr& job : table_.All()) {
    auto data = job->Lock();
    ++now.jobs[data->State()];
    if (data->operation) ++now.operations_running;
  }
  if (auto use = options_.store->Use()) now.store = *use;
  return metrics_.Text(now);
}

std::vector<CheckpointerStatus> NodeAgent::Checkpointers() const {
  return checkpointers_.Statuses();
}

Result<uint64_t> NodeAgent::WaitForEnd(std::string_view name, const Caller& caller, Ended done) {
  auto job = Find(name, caller);
  if (!job) return job.error();
  auto ended = std::make_shared<Ended>(std::move(done));
  // Added first and looked at then, so that an end in between is not missed.
  uint64_t id =
      waiters_.Add(*job, [ended](Result<std::string> line) { (*ended)(std::move(line)); });
  JobState state;
  bool pending = false;
  {
    auto data = (*job)->Lock();
    state = data->State();
    pending = data->restart_pending || data->operation != nullptr;
    if (data->forgotten) state = JobState::kEmpty;
  }
  if (state == JobState::kEmpty) {
    waiters_.Remove(id);
    return Fail(Errc::kGone, "job {} has never run", name)
        .WithRemedy("write a pid into units/main/procs first");
  }
  if (state == JobState::kEnded && !pending) TellEnd(*job);
  return id;
}

void NodeAgent::CancelWait(uint64_t id) { waiters_.Remove(id); }

}  // namespace ckptfs
