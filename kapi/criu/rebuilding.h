// Rebuilding one unit with criu. After Rebuild every process exists and criu is
// held in its pre-resume script.
#pragma once

#include <optional>

#include "kapi/checkpointer.h"
#include "kapi/criu/criu_run.h"
#include "kapi/criu/pstree.h"
#include "kapi/criu/saving.h"

namespace ckptfs {

class CriuRebuilding : public Rebuilding {
 public:
  CriuRebuilding(CriuSaving::Tools tools, RebuildRequest request)
      : tools_(std::move(tools)), request_(std::move(request)) {}
  ~CriuRebuilding() override;

  Result<void> Check(ImageSource& source) override;
  Result<UnitProcesses> Rebuild(ImageSource& source) override;
  Result<void> Resume() override;

 private:
  CriuStart Plan(const UnitMeta& meta, const std::vector<PstreeEntry>& tree) const;
  // Finds the restored root among criu's descendants.
  Result<void> Identify();
  // Ends whatever has been built.
  Error Abort(std::optional<Error> ours);

  CriuSaving::Tools tools_;
  RebuildRequest request_;
  std::optional<CriuRun> run_;
  std::optional<UnitProcesses> built_;
};

}  // namespace ckptfs
