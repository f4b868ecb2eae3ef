// Saving one unit with criu. criu freezes and saves in one go, so Stop does
// nothing; after Checkpoint criu is held in its post-dump script.
#pragma once

#include <chrono>
#include <optional>

#include "kapi/checkpointer.h"
#include "kapi/criu/criu_log.h"
#include "kapi/criu/criu_run.h"
#include "kapi/criu/unit_meta.h"
#include "kapi/needs.h"

namespace ckptfs {

class CriuSaving : public Saving {
 public:
  // What does not change between units; borrowed from the checkpointer's.
  struct Tools {
    CriuProgram criu;
    std::string init_path;
    std::shared_ptr<CriuLogs> logs;
    std::shared_ptr<NeedsReader> needs;
  };

  // Looks the tree over: gone, not the owner's, in a container, traced.
  static Result<std::unique_ptr<Saving>> Prepare(Tools tools, SaveRequest request);
  ~CriuSaving() override;

  Result<void> Stop() override { return {}; }
  Result<void> Checkpoint(ImageSink& sink) override;
  Result<std::vector<OpenFile>> FilesOpenForWriting() override;
  Result<Needs> Describe() override { return needs_; }
  Result<void> Resume(AfterCheckpoint after) override;
  std::chrono::nanoseconds standstill() const override;

 private:
  CriuSaving(Tools tools, SaveRequest request)
      : tools_(std::move(tools)), request_(std::move(request)) {}
  Result<void> LookOver();
  std::vector<std::string> Arguments() const;
  // Makes criu let the job go on, waits for its end, keeps its log.
  Error Abort(std::optional<Error> ours);

  Tools tools_;
  SaveRequest request_;
  UnitMeta meta_;
  Needs needs_;
  pid_t root_inside_ = 0;  // in the pid namespace that criu runs in
  std::optional<CriuRun> run_;
  std::chrono::steady_clock::time_point frozen_at_, thawed_at_;
};

}  // namespace ckptfs
