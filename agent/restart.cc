// The command `restart`, and its second form `restart clone`.
#include <algorithm>
#include <chrono>

#include "agent/node_agent.h"
#include "kapi/tree_control.h"

namespace ckptfs {
namespace {

constexpr int kMostClones = 1000;
// How long a killed process may take to give back its memory.
constexpr auto kDyingPatience = std::chrono::seconds(10);
constexpr std::string_view kSharedFiles =
    "it shares its files with the live original: those that are there were left as they are";

}  // namespace

Result<uint64_t> NodeAgent::ChooseVersion(const Run& run) {
  const std::string& name = run.job->name();
  Store& store = *options_.store;
  auto incoming = store.IncomingVersions(name);
  std::optional<uint64_t> version = run.command.version;
  if (!version) version = store.Latest(name);
  if (!version && !incoming.empty()) version = incoming.back();
  if (!version)
    return Fail(Errc::kNotFound, "job {} has no version", name)
        .WithRemedy(fmt::format("checkpoint it, or copy an image into images/{}", name));
  // An image that is complete, but was not admitted when its last file was closed
  // (its signer was not trusted then), gets its chance here.
  if (std::find(incoming.begin(), incoming.end(), *version) != incoming.end()) {
    Caller owner = run.caller;
    if (run.by_policy) owner.uid = run.job->Lock()->owner_uid;
    if (auto admitted = AdmitImage(name, *version, owner); !admitted) return admitted.error();
  }
  return *version;
}

// The units' processes are gone by the job's state; what they left behind may not be.
Result<void> NodeAgent::CheckNotAlive(const JobPtr& job) const {
  std::vector<ProcessId> members;
  {
    auto data = job->Lock();
    members = data->left;
    for (const auto& [name, unit] : data->units) {
      members.insert(members.end(), unit.members.begin(), unit.members.end());
      if (unit.processes) members.push_back(unit.processes->root);
    }
  }
  auto alive = FindLiving(members, kDyingPatience);
  if (!alive) return alive.error();
  if (*alive)
    return Fail(Errc::kWouldRunTwice, "process {} of the job is still alive", (*alive)->pid)
        .WithRemedy(fmt::format("end it ('kill {}'), or write 'restart clone'", (*alive)->pid));
  return {};
}

Result<NodeAgent::JobPtr> NodeAgent::MakeClone(const Run& run) {
  JobData data;
  {
    auto original = run.job->Lock();
    data.owner_uid = original->owner_uid;
    data.owner_gid = original->owner_gid;
    data.policy = original->policy;
    for (const auto& [name, unit] : original->units)
      data.units[name].checkpointer = unit.checkpointer;
  }
  data.clone_of = run.job->name();
  data.operation = run.operation;  // busy with the restart that makes it
  for (int k = 1; k <= kMostClones; ++k) {
    std::string name = fmt::format("{}.clone{}", run.job->name(), k);
    // A name whose images are there belongs to an earlier clone.
    if (table_.Get(name) || options_.store->Latest(name)) continue;
    auto made = table_.Make(name, data);
    if (!made && made.error().code() == Errc::kExists) continue;
    if (!made) return made.error();
    Event(name, fmt::format("made owner={} clone_of={}", data.owner_uid, data.clone_of));
    return made;
  }
  return Fail(Errc::kQuota, "job {} has {} clones already", run.job->name(), kMostClones)
      .WithRemedy("forget some of them with rmdir");
}

void NodeAgent::RecordUnits(const JobPtr& job, const std::vector<RestartedUnit>& units,
                            uint64_t version) {
  {
    auto data = job->Lock();
    data->last_checkpoint_try = Now();
    if (data->clone_of.empty()) data->last_version = std::max(data->last_version, {version});
    // The failure that this answers is dealt with: whatever fails from now on is another.
    data->restart_pending = false;
    // Units that this version has not, and that ended or stopped, are no part of what runs now.
    for (auto& [name, unit] : data->units) {
      unit.state = JobState::kEmpty;
      unit.exit.clear();
      unit.warning.clear();
      unit.members.clear();
    }
    for (const RestartedUnit& each : units) {
      Unit& unit = data->units[each.name];
      unit.uses = each.uses;
      unit.state = each.suspended ? JobState::kSuspended : JobState::kRunning;
      unit.processes = each.processes;
      unit.members = each.members;
      unit.expected_end.reset();
      for (const std::string& words : each.warnings)
        unit.warning += (unit.warning.empty() ? "" : "; ") + words;
    }
  }
  Keep(job);
}

Result<void> NodeAgent::Restart(Run& run, OperationReport& report) {
  run.operation->Enter("verify");
  if (run.by_policy) {
    ++run.job->Lock()->restarts_tried;
    Keep(run.job);
  }
  if (!run.command.clone) {
    AwaitEnds(run.job, "unknown");
    if (auto gone = CheckNotAlive(run.job); !gone) return gone.error();
  }
  auto version = ChooseVersion(run);
  if (!version) return version.error();
  report.version = *version;
  auto reader = options_.store->OpenVersion(run.job->name(), *version);
  if (!reader) return reader.error();
  const VersionInfo& info = (*reader)->info();

  RestartJob restart;
  bool original_alive = false;
  {
    auto data = run.job->Lock();
    if (data->owner_uid != 0 && info.owner_uid != data->owner_uid)
      return Fail(Errc::kNotYours, "version {} belongs to {} (uid {})", *version, info.owner_name,
                  info.owner_uid)
          .WithRemedy("only its owner or root may restart it");
    restart.files = data->policy.files;
    restart.tcp = data->policy.tcp == TcpPolicy::kKeep ? Tcp::kKeep : Tcp::kClose;
    original_alive = data->Alive();
  }
  JobPtr target = run.job;
  if (run.command.clone) {
    auto clone = MakeClone(run);
    if (!clone) return clone.error();
    run.clone = target = *clone;
  }
  bool shares_files = original_alive && restart.files == FilesPolicy::kRestore;
  if (shares_files) restart.files = FilesPolicy::kKeep;
  restart.job = target->name();
  restart.version = reader->get();
  restart.owner = OwnerOf(run.job, run.caller);
  restart.clone = run.command.clone;
  restart.new_pids = original_alive;
  restart.work_parent = options_.work_dir;
  restart.operation = run.operation.get();
  restart.find_checkpointer = [&](const std::string& name) -> Result<ckptfs::Checkpointer*> {
    auto found = checkpointers_.Find(name);
    if (found && run.command.clone && !(*found)->capabilities().clone)
      return Fail(Errc::kUnsupported, "the checkpointer {} cannot make a clone", name);
    return found;
  };
  // Recorded before they run: a daemon that dies from then on finds them at its next start,
  // or, if they ended with it, that they are gone.
  std::vector<RestartedUnit> units;
  decltype(JobData::units) units_before;
  std::optional<uint64_t> version_before;
  bool pending_before = false;
  restart.built = [&](const std::vector<RestartedUnit>& built) {
    units = built;
    if (shares_files)
      for (RestartedUnit& unit : units) unit.warnings.emplace_back(kSharedFiles);
    {
      auto data = target->Lock();
      units_before = data->units;
      version_before = data->last_version;
      pending_before = data->restart_pending;
    }
    RecordUnits(target, units, *version);
  };
  if (auto done = RunRestart(restart); !done) {
    if (run.clone) {
      run.clone->Lock()->operation.reset();
      (void)table_.Remove(run.clone);
      Event(run.clone->name(), "forgotten");
      run.clone.reset();
    } else if (!units.empty()) {
      {
        auto data = target->Lock();
        data->units = std::move(units_before);
        data->last_version = version_before;
        data->restart_pending = pending_before;
      }
      Keep(target);
    }
    return done.error().Add("version {}", *version);
  }
  (void)SetStates(target, JobState::kRunning);
  for (const RestartedUnit& unit : units) {
    report.memory_bytes += run.operation->OfUnit(unit.name)->bytes_done;
    for (const std::string& words : unit.warnings)
      Event(target->name(), fmt::format("unit {} note: {}", unit.name, words));
    WatchUnit(target, unit.name, unit.processes.root);
  }
  return {};
}

}  // namespace ckptfs
