#include "agent/job_restarter.h"

#include <sys/utsname.h>

#include <algorithm>

#include "agent/job.h"
#include "agent/job_checkpointer.h"
#include "agent/put_back.h"
#include "kapi/needs.h"

namespace ckptfs {
namespace {

struct UnitRun {
  const UnitInfo* info = nullptr;
  Checkpointer* checkpointer = nullptr;
  std::unique_ptr<ImageSource> source;
  SavedFiles files;
  std::optional<WorkFolder> work;
  std::unique_ptr<Rebuilding> rebuilding;
  RestartedUnit result;
};

class Run {
 public:
  explicit Run(const RestartJob& job) : job_(job) {}

  Result<void> Go() {
    job_.operation->Enter("verify");
    if (auto opened = OpenUnits(); !opened) return opened.error();
    for (UnitRun& unit : units_) {
      auto done =
          PutFilesBack(unit.files, *unit.source, job_.owner, job_.files, *job_.operation->cancel());
      if (!done) return done.error().Add("unit {}", unit.info->name);
      auto& warnings = unit.result.warnings;
      warnings.insert(warnings.end(), done->begin(), done->end());
    }
    if (auto on = job_.operation->CheckCancelled(); !on) return on.error();
    job_.operation->Enter("rebuild");
    auto built = ForEach([&](UnitRun& unit) { return Rebuild(unit); });
    if (!built) return built.error();
    if (auto on = job_.operation->CheckCancelled(); !on) return on.error();
    std::vector<RestartedUnit> results;
    for (UnitRun& unit : units_) results.push_back(std::move(unit.result));
    job_.built(results);
    job_.operation->Enter("resume");
    return ResumeAll(results);
  }

 private:
  Result<void> ForEach(const std::function<Result<void>(UnitRun&)>& step) {
    return ForAllUnits(
        units_.size(), job_.operation->cancel().get(),
        [&](size_t i) { return units_[i].info->name; }, [&](size_t i) { return step(units_[i]); });
  }

  Result<void> OpenUnits() {
    const VersionInfo& info = job_.version->info();
    for (const UnitInfo& unit_info : info.units) {
      UnitRun unit;
      unit.info = &unit_info;
      unit.result.name = unit_info.name;
      unit.result.uses = unit_info.checkpointer;
      if (auto opened = OpenUnit(unit); !opened)
        return opened.error().Add("unit {}", unit_info.name);
      units_.push_back(std::move(unit));
    }
    if (units_.empty()) return Fail(Errc::kCorrupt, "version {} has no units", info.version);
    return {};
  }

  Result<void> OpenUnit(UnitRun& unit) {
    auto found = job_.find_checkpointer(unit.info->checkpointer);
    if (!found) return found.error();
    unit.checkpointer = *found;
    auto warnings = CheckNeeds(unit.info->needs);
    if (!warnings) return warnings.error();
    unit.result.warnings = std::move(*warnings);
    Progress* progress = job_.operation->OfUnit(unit.info->name);
    progress->bytes_total = unit.info->memory_bytes;
    auto source = job_.version->OpenUnit(unit.info->name, progress);
    if (!source) return source.error();
    unit.source = std::move(*source);
    auto files = LoadSavedFiles(*unit.source);
    if (!files) return files.error();
    unit.files = std::move(*files);
    unit.result.suspended = unit.files.suspended;
    auto work = WorkFolder::Make(job_.work_parent, job_.job + "." + unit.info->name, job_.owner);
    if (!work) return work.error();
    unit.work.emplace(std::move(*work));
    auto prepared = Prepare(unit, job_.new_pids ? Pids::kNewNamespace : Pids::kSame);
    if (!prepared) return prepared.error();
    return unit.rebuilding->Check(*unit.source);
  }

  Result<void> Prepare(UnitRun& unit, Pids pids) {
    unit.rebuilding.reset();
    auto rebuilding = unit.checkpointer->PrepareRebuild(
        RebuildRequest{.job = job_.job,
                       .unit = unit.info->name,
                       .owner = job_.owner,
                       .pids = pids,
                       .second_instance = job_.clone,
                       .tcp = job_.tcp,
                       .work_dir = unit.work->path(),
                       .cancel = job_.operation->cancel(),
                       .progress = job_.operation->OfUnit(unit.info->name)});
    if (!rebuilding) return rebuilding.error();
    unit.rebuilding = std::move(*rebuilding);
    return {};
  }

  // With the pids it had, and where one of them is taken, in a namespace of its own.
  Result<void> Rebuild(UnitRun& unit) {
    Progress* progress = job_.operation->OfUnit(unit.info->name);
    progress->bytes_done = 0;
    auto built = unit.rebuilding->Rebuild(*unit.source);
    // kExists of a rebuild is a taken pid; a taken port, kBusy, is taken there as well.
    if (!built && built.error().code() == Errc::kExists && !job_.new_pids) {
      unit.result.warnings.push_back("runs in a pid namespace of its own: " +
                                     built.error().message());
      if (auto again = Prepare(unit, Pids::kNewNamespace); !again) return again.error();
      progress->bytes_done = 0;
      built = unit.rebuilding->Rebuild(*unit.source);
    }
    if (!built) return built.error();
    unit.result.processes = *built;
    if (auto tree = ReadTree(built->root.pid))
      for (const ProcessInfo& info : *tree)
        if (unit.result.members.size() < kMembersLimit) unit.result.members.push_back(info.id);
    // What no one has asked for must be genuine as well before anything runs.
    return unit.source->VerifyRest();
  }

  // One that cannot be let go takes those with it that already were.
  Result<void> ResumeAll(const std::vector<RestartedUnit>& built) {
    auto resumed = ForAllUnits(
        units_.size(), nullptr, [&](size_t i) { return units_[i].info->name; },
        [&](size_t i) { return Resume(units_[i], built[i].processes); });
    if (resumed) return {};
    for (size_t i = 0; i < units_.size(); ++i)
      (void)units_[i].checkpointer->Kill(built[i].processes);
    return resumed;
  }

  static Result<void> Resume(UnitRun& unit, const UnitProcesses& processes) {
    if (auto resumed = unit.rebuilding->Resume(); !resumed) return resumed;
    unit.rebuilding.reset();
    // A restarted job runs, also when it was suspended when it was saved.
    if (unit.files.suspended) return unit.checkpointer->Unsuspend(processes);
    return {};
  }

  const RestartJob& job_;
  std::vector<UnitRun> units_;
};

}  // namespace

Result<std::vector<std::string>> CheckNeeds(const Needs& needs) {
  utsname here{};
  std::vector<std::string> warnings;
  if (::uname(&here) != 0) return Error::FromErrno(errno, "uname");
  if (!needs.arch.empty() && needs.arch != here.machine)
    return Fail(Errc::kUnsupported, "it was saved on a {} machine, this is {}", needs.arch,
                here.machine)
        .WithRemedy("restart it on a machine of the same kind");
  std::vector<std::string> features = CpuFeatures();
  std::string missing;
  for (const std::string& feature : needs.cpu_features)
    // Images of before the list was kept short name every flag.
    if (IsInstructionSet(feature) && !std::binary_search(features.begin(), features.end(), feature))
      missing += " " + feature;
  if (!missing.empty() && !features.empty())
    return Fail(Errc::kUnsupported, "this CPU lacks what the job may be using:{}", missing)
        .WithRemedy("restart it on a machine whose CPU has these");
  std::string release = here.release;
  if (!needs.kernel.empty() && needs.kernel != release)
    warnings.push_back(fmt::format("saved under the kernel {}, this is {}", needs.kernel, release));
  return warnings;
}

Result<void> RunRestart(const RestartJob& job) { return Run(job).Go(); }

}  // namespace ckptfs
