#include "kapi/criu/criu_checkpointer.h"

#include "kapi/criu/rebuilding.h"
#include "kapi/tree_control.h"

namespace ckptfs {

CriuCheckpointer::CriuCheckpointer() = default;

Capabilities CriuCheckpointer::capabilities() const {
  auto tools = tools_.Lock();
  return {.attach = true,
          .leave_running = true,
          .incremental = false,  // by the store, which knows pages again by their content
          .stream = true,
          .hold = true,
          .clone = true,
          .tcp = !*tools || (*tools)->criu.locks_tcp,
          .unprivileged = true,
          .needs_launch = false};
}

Result<CriuSaving::Tools> CriuCheckpointer::FindTools() const {
  auto tools = tools_.Lock();
  if (*tools) return **tools;
  auto criu = FindCriu();
  if (!criu) return criu.error();
  auto init = FindInit();
  if (!init) return init.error();
  tools->emplace(CriuSaving::Tools{std::move(*criu), std::move(*init), logs_, needs_});
  return **tools;
}

Availability CriuCheckpointer::Probe() const {
  auto tools = FindTools();
  if (!tools) return {false, "", tools.error().message(), tools.error().remedy()};
  return {true, tools->criu.version, "", ""};
}

Result<std::unique_ptr<Saving>> CriuCheckpointer::Prepare(SaveRequest request) {
  auto tools = FindTools();
  if (!tools) return tools.error();
  return CriuSaving::Prepare(std::move(*tools), std::move(request));
}

Result<std::unique_ptr<Rebuilding>> CriuCheckpointer::PrepareRebuild(RebuildRequest request) {
  auto tools = FindTools();
  if (!tools) return tools.error();
  return std::make_unique<CriuRebuilding>(std::move(*tools), std::move(request));
}

Result<void> CriuCheckpointer::Suspend(const UnitProcesses& unit) {
  auto stands = IsTreeStopped(unit.root);
  if (!stands) return stands.error();
  auto stopped_before = StopTree(unit.root);
  if (!stopped_before) return stopped_before.error();
  // Nothing would be left for Unsuspend: it was suspended, before this object was made.
  if (*stands) stopped_before->clear();
  auto known = stopped_before_.Lock();
  // The second of two Suspends finds everything stopped, by the first.
  auto it = known->find(unit.root.pid);
  if (it == known->end() || it->second.first != unit.root)
    known->insert_or_assign(unit.root.pid, std::pair(unit.root, std::move(*stopped_before)));
  return {};
}

Result<void> CriuCheckpointer::Unsuspend(const UnitProcesses& unit) {
  std::vector<ProcessId> leave;
  {
    auto known = stopped_before_.Lock();
    if (auto it = known->find(unit.root.pid); it != known->end()) {
      if (it->second.first == unit.root) leave = std::move(it->second.second);
      known->erase(it);
    }
  }
  return ContinueTree(unit.root, leave);
}

Result<void> CriuCheckpointer::Kill(const UnitProcesses& unit) {
  // The end of its init is the end of a pid namespace.
  if (unit.namespace_init) {
    if (auto killed = KillTree(*unit.namespace_init); !killed) return killed.error();
  }
  return KillTree(unit.root);
}

std::string CriuCheckpointer::LastLog(std::string_view job, std::string_view unit) const {
  return logs_->Last(job, unit);
}

}  // namespace ckptfs
