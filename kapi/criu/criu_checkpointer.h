// The criu checkpointer: any process tree, without its help.
#pragma once

#include <map>
#include <memory>

#include "base/guarded.h"
#include "kapi/checkpointer.h"
#include "kapi/criu/saving.h"

namespace ckptfs {

class CriuCheckpointer : public Checkpointer {
 public:
  CriuCheckpointer();

  std::string_view name() const override { return "criu"; }
  Capabilities capabilities() const override;
  // Remembers a criu that works; looks again while there is none.
  Availability Probe() const override;
  Result<std::unique_ptr<Saving>> Prepare(SaveRequest request) override;
  Result<std::unique_ptr<Rebuilding>> PrepareRebuild(RebuildRequest request) override;
  Result<void> Suspend(const UnitProcesses& unit) override;
  Result<void> Unsuspend(const UnitProcesses& unit) override;
  Result<void> Kill(const UnitProcesses& unit) override;
  std::string LastLog(std::string_view job, std::string_view unit) const override;

 private:
  Result<CriuSaving::Tools> FindTools() const;

  std::shared_ptr<CriuLogs> logs_ = std::make_shared<CriuLogs>();
  std::shared_ptr<NeedsReader> needs_ = std::make_shared<NeedsReader>();
  Guarded<std::optional<CriuSaving::Tools>> tools_;
  // Per root: what was stopped before we suspended it.
  Guarded<std::map<pid_t, std::pair<ProcessId, std::vector<ProcessId>>>> stopped_before_;
};

}  // namespace ckptfs
