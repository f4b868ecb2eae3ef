// Making and forgetting jobs and units, their settings, and what becomes a unit.
#include "agent/agent.h"

#include <algorithm>

#include "agent/node_agent.h"

namespace ckptfs {
namespace {

constexpr size_t kUnitsLimit = 1024;

// A job that is forgotten may have left processes, which a restart of a job of
// the same name must not double.
std::string LeftKey(std::string_view job) { return fmt::format("left/{}", job); }

// Of one unit, the root first.
void AddAlive(const Unit& unit, std::vector<ProcessId>* alive) {
  auto add = [&](const ProcessId& id) {
    if (alive->size() < kMembersLimit && IsAlive(id)) alive->push_back(id);
  };
  if (unit.processes) add(unit.processes->root);
  for (const ProcessId& id : unit.members)
    if (!unit.processes || !(id == unit.processes->root)) add(id);
}

Result<void> CheckIdle(const JobData& data, std::string_view job) {
  if (data.forgotten) return Fail(Errc::kNotFound, "there is no job {}", job);
  if (!data.operation) return {};
  return Fail(Errc::kBusy, "'{}' is at work on job {}", data.operation->command(), job)
      .WithRemedy("wait for it, or write 'cancel' into ctl");
}

Result<Unit*> FindUnit(JobData& data, std::string_view job, std::string_view unit) {
  auto it = data.units.find(unit);
  if (it != data.units.end()) return &it->second;
  return Fail(Errc::kNotFound, "job {} has no unit {}", job, unit).WithRemedy("mkdir makes one");
}

}  // namespace

Result<std::unique_ptr<Agent>> Agent::Start(AgentOptions options) {
  auto agent = std::make_unique<NodeAgent>(std::move(options));
  if (auto begun = agent->Begin(); !begun) return begun.error();
  return std::unique_ptr<Agent>(std::move(agent));
}

NodeAgent::NodeAgent(AgentOptions options)
    : options_(std::move(options)),
      checkpointers_(std::move(options_.checkpointers)),
      table_(options_.store, options_.log) {}

NodeAgent::~NodeAgent() {
  stopping_ = true;
  if (supervisor_) supervisor_->Stop();
  for (const JobPtr& job : table_.All())
    if (auto data = job->Lock(); data->operation) data->operation->cancel()->Cancel();
  threads_.JoinAll();
  waiters_.Tell(nullptr, Fail(Errc::kCancelled, "the daemon ends; the job goes on"));
}

void NodeAgent::Event(std::string_view job, std::string_view text) const {
  if (options_.events != nullptr) options_.events->Add(job, text);
}

void NodeAgent::Keep(const JobPtr& job) const {
  auto saved = job->Save(*options_.store);
  if (!saved && options_.log != nullptr) options_.log->Err("{}", saved.error().Text());
}

Credentials NodeAgent::OwnerOf(const JobPtr& job, const Caller& caller) const {
  uid_t uid = 0;
  gid_t gid = 0;
  {
    auto data = job->Lock();
    uid = data->owner_uid;
    gid = data->owner_gid;
  }
  // What the database says of groups may have changed since the owner logged in.
  if (uid == caller.uid && caller.pid > 0) return OwnerCredentials(uid, gid, GroupsOf(caller));
  return OwnerCredentials(uid, gid);
}

Result<void> NodeAgent::MakeJob(std::string_view name, const Caller& caller) {
  JobData data;
  data.owner_uid = caller.uid;
  data.owner_gid = caller.gid;
  data.units["main"];
  std::string key = LeftKey(name);
  auto left = options_.store->Records(key);
  if (auto it = left.find(key); it != left.end())
    if (auto before = ParseRecord(it->second, BootId())) {
      std::erase_if(before->left, [](const ProcessId& id) { return !IsAlive(id); });
      data.left = std::move(before->left);
      for (const auto& [unit, each] : before->units) AddAlive(each, &data.left);
    }
  data.last_version = options_.store->Latest(name);
  if (auto free = CheckImageName(name, caller); !free) return free.error();
  auto made = table_.Make(name, std::move(data));
  if (!made) return made.error();
  Event(name, fmt::format("made owner={}", caller.uid));
  return {};
}

Result<void> NodeAgent::ForgetJob(std::string_view name, const Caller& caller) {
  auto job = Find(name, caller);
  if (!job) return job.error();
  std::string left;
  std::vector<uint64_t> watches;
  {
    auto data = (*job)->Lock();
    if (auto idle = CheckIdle(*data, name); !idle) return idle.error();
    data->forgotten = true;
    for (auto& [unit, each] : data->units)
      if (each.watch != 0) watches.push_back(each.watch);
    std::vector<ProcessId> alive = data->left;
    std::erase_if(alive, [](const ProcessId& id) { return !IsAlive(id); });
    for (const auto& [unit, each] : data->units) AddAlive(each, &alive);
    if (!alive.empty()) left = FormatRecord(*data, BootId());
  }
  for (uint64_t watch : watches) supervisor_->Unwatch(watch);
  Result<void> noted;
  if (!left.empty())
    noted = options_.store->PutRecord(LeftKey(name), left);
  else if (auto gone = options_.store->DeleteRecord(LeftKey(name)); !gone)
    noted = gone.error();
  auto removed = noted ? table_.Remove(*job) : noted;
  if (!removed) {
    (*job)->Lock()->forgotten = false;
    return removed.error();
  }
  waiters_.Tell(job->get(), Fail(Errc::kNotFound, "job {} was forgotten", name));
  Event(name, "forgotten");
  return {};
}

Result<void> NodeAgent::MakeUnit(std::string_view name, std::string_view unit, const Caller& c) {
  auto job = Find(name, c);
  if (!job) return job.error();
  if (auto good = CheckName(unit, "unit"); !good) return good.error();
  {
    auto data = (*job)->Lock();
    if (auto idle = CheckIdle(*data, name); !idle) return idle.error();
    if (data->units.size() >= kUnitsLimit)
      return Fail(Errc::kQuota, "a job has at most {} units", kUnitsLimit);
    if (!data->units.emplace(unit, Unit()).second)
      return Fail(Errc::kExists, "job {} has a unit {} already", name, unit);
  }
  return (*job)->Save(*options_.store);
}

Result<void> NodeAgent::ForgetUnit(std::string_view name, std::string_view unit, const Caller& c) {
  auto job = Find(name, c);
  if (!job) return job.error();
  uint64_t watch = 0;
  {
    auto data = (*job)->Lock();
    if (auto idle = CheckIdle(*data, name); !idle) return idle.error();
    auto found = FindUnit(*data, name, unit);
    if (!found) return found.error();
    watch = (*found)->watch;
    std::erase_if(data->left, [](const ProcessId& id) { return !IsAlive(id); });
    AddAlive(**found, &data->left);
    data->units.erase(data->units.find(unit));
  }
  if (watch != 0) supervisor_->Unwatch(watch);
  return (*job)->Save(*options_.store);
}

Result<Policy> NodeAgent::GetPolicy(std::string_view name, const Caller& caller) const {
  auto job = Find(name, caller);
  if (!job) return job.error();
  return (*job)->Lock()->policy;
}

Result<void> NodeAgent::SetPolicy(std::string_view name, const Policy& policy, const Caller& c) {
  auto job = Find(name, c);
  if (!job) return job.error();
  {
    auto data = (*job)->Lock();
    if (data->policy.interval != policy.interval) data->last_checkpoint_try = Now();
    data->policy = policy;
  }
  supervisor_->Hurry();  // a tick looks at it and slows down again
  return (*job)->Save(*options_.store);
}

Result<void> NodeAgent::SetCheckpointer(std::string_view name, std::string_view unit,
                                        std::string_view chosen, const Caller& caller) {
  auto job = Find(name, caller);
  if (!job) return job.error();
  uid_t owner = (*job)->Lock()->owner_uid;
  auto found = checkpointers_.Choose(chosen, owner);
  if (!found && chosen != "auto")
    return checkpointers_.Get(chosen) != nullptr
               ? found.error()
               : Error(Errc::kInvalid, found.error().message(), found.error().remedy());
  {
    auto data = (*job)->Lock();
    if (auto idle = CheckIdle(*data, name); !idle) return idle.error();
    auto each = FindUnit(*data, name, unit);
    if (!each) return each.error();
    if (IsLive((*each)->state) && found) (*each)->uses = (*found)->name();
    (*each)->checkpointer = chosen;
  }
  return (*job)->Save(*options_.store);
}

Result<void> NodeAgent::CheckNoOtherUnits(const JobPtr& job, std::string_view unit, pid_t pid,
                                          const std::vector<ProcessInfo>& tree) const {
  for (const JobPtr& other : table_.All()) {
    std::vector<std::pair<std::string, pid_t>> roots;
    {
      auto data = other->Lock();
      for (const auto& [name, each] : data->units)
        if (each.processes && !(other == job && name == unit))
          roots.emplace_back(name, each.processes->root.pid);
    }
    for (const auto& [name, root] : roots) {
      auto is_root = [root = root](const ProcessInfo& info) { return info.id.pid == root; };
      if (!IsInTree(pid, root) && !std::any_of(tree.begin(), tree.end(), is_root)) continue;
      std::string whose = other == job ? fmt::format("unit {} of this job", name)
                                       : std::string("a unit of another job");
      return Fail(Errc::kBusy, "pid {} and its children overlap with {}", pid, whose)
          .WithRemedy("a process can be in one unit only");
    }
  }
  return {};
}

Result<void> NodeAgent::Attach(std::string_view name, std::string_view unit, pid_t pid,
                               const Caller& caller) {
  auto job = Find(name, caller);
  if (!job) return job.error();
  Credentials owner = OwnerOf(*job, caller);
  auto tree = CheckAttachable(pid, owner);
  if (!tree) return tree.error();
  ProcessId root = tree->root.id;
  std::string chosen;
  {
    // Claimed first and then compared with the other units, who do the same: two
    // that want the same process both see the other.
    auto data = (*job)->Lock();
    if (auto idle = CheckIdle(*data, name); !idle) return idle.error();
    auto found = FindUnit(*data, name, unit);
    if (!found) return found.error();
    Unit& each = **found;
    if (each.processes && IsAlive(each.processes->root))
      return Fail(Errc::kBusy, "unit {} has the live process {}", unit, each.processes->root.pid)
          .WithRemedy("make another unit with mkdir, or kill the job first");
    each.processes = UnitProcesses{.root = root, .owner = owner, .namespace_init = {}};
    chosen = each.checkpointer;
  }
  auto alone = CheckNoOtherUnits(*job, unit, pid, tree->processes);
  auto checkpointer = checkpointers_.Choose(chosen, owner.real_uid);
  {
    auto data = (*job)->Lock();
    auto found = FindUnit(*data, name, unit);
    if (!found) return found.error();
    Unit& each = **found;
    if (!alone) {
      each.processes.reset();
      return alone.error();
    }
    std::erase_if(each.members, [](const ProcessId& id) { return !IsAlive(id); });
    for (const ProcessInfo& info : tree->processes)
      if (each.members.size() < kMembersLimit) each.members.push_back(info.id);
    each.state = JobState::kRunning;
    each.exit.clear();
    each.expected_end.reset();
    each.warning = tree->warning;
    each.uses = checkpointer ? std::string((*checkpointer)->name()) : "";
    if (!checkpointer) each.warning = checkpointer.error().Text();
    data->restart_pending = false;
    data->restarts_tried = 0;
    data->last_checkpoint_try = Now();
  }
  Event(name,
        fmt::format("unit {} attached pid={} processes={}", unit, pid, tree->processes.size()));
  WatchUnit(*job, std::string(unit), root);
  return (*job)->Save(*options_.store);
}

}  // namespace ckptfs
