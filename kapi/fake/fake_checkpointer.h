// A checkpointer for tests of the layers above: stops real processes, saves made-up
// bytes, restores by starting a stand-in. Stricter than the real ones: a phase out
// of order, a sink or source used wrongly or a request that lacks something is an
// error of kind kInternal, and is counted.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/guarded.h"
#include "kapi/checkpointer.h"

namespace ckptfs {

class FakeCheckpointer : public Checkpointer {
 public:
  enum class Phase {
    kPrepare,
    kStop,
    kCheckpoint,
    kOpenFiles,
    kDescribe,
    kResume,
    kPrepareRebuild,
    kCheck,
    kRebuild,
    kResumeRebuilt,
    kSuspend,
    kUnsuspend,
    kKill,
  };
  struct Plan {
    std::map<Phase, Error> failures;  // a phase here fails with this, each time
    std::vector<size_t> stream_bytes = {100, 0, 3 * kPageBytes, 70'001};
    uint64_t seed = 1;  // other seeds, other bytes
    std::vector<std::string> stand_in = {"/bin/sleep", "1000"};
    Needs needs = {"x86_64", "6.0", {"fpu", "sse"}, {"0123abcd"}};
    std::vector<std::string> open_files;  // paths that FilesOpenForWriting gives
  };
  // Shared by the checkpointer and all that it has made.
  struct State {
    Guarded<Plan> plan;
    Guarded<std::vector<std::string>> misuses;  // what a caller did wrong
    Guarded<std::vector<ProcessId>> saved;      // roots of what was saved
  };

  FakeCheckpointer() : state_(std::make_shared<State>()) {}
  State& state() { return *state_; }

  std::string_view name() const override { return "fake"; }
  Capabilities capabilities() const override;
  Availability Probe() const override { return {true, "1.0", "", ""}; }
  Result<std::unique_ptr<Saving>> Prepare(SaveRequest request) override;
  Result<std::unique_ptr<Rebuilding>> PrepareRebuild(RebuildRequest request) override;
  Result<void> Suspend(const UnitProcesses& unit) override;
  Result<void> Unsuspend(const UnitProcesses& unit) override;
  Result<void> Kill(const UnitProcesses& unit) override;
  std::string LastLog(std::string_view job, std::string_view unit) const override;

  // The bytes of the stream `index` of an image saved with this seed.
  static std::string StreamContent(uint64_t seed, size_t index, size_t size);

 private:
  std::shared_ptr<State> state_;
};

}  // namespace ckptfs
