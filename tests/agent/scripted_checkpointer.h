// A checkpointer for tests of the agent: real processes, stopped by SIGSTOP, whose
// image is one small stream. Every phase of every unit is noted in order, and a
// test can hold it or let it fail.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "base/child.h"
#include "base/guarded.h"
#include "kapi/checkpointer.h"

namespace ckptfs {

class Script {
 public:
  // Called at the start of "prepare", "stop", "checkpoint", "files", "go-on", "end",
  // "prepare-rebuild", "rebuild", "rebuild-resume", "suspend", "unsuspend", "kill".
  using Hook = std::function<Result<void>(std::string_view phase, std::string_view unit)>;
  void Set(Hook hook) { *hook_.Lock() = std::move(hook); }
  Result<void> Reach(std::string_view phase, std::string_view unit);
  // "main:stop", in the order in which they were reached.
  std::vector<std::string> Reached() const { return *reached_.Lock(); }
  void Forget() { reached_.Lock()->clear(); }
  bool Has(const std::string& step) const;
  // Position of the first such step; SIZE_MAX if there is none.
  size_t At(const std::string& step) const;

  // What units have open for writing, by path.
  Guarded<std::map<std::string, std::vector<std::string>>> files;
  Guarded<std::vector<Child>> restored;          // processes made by rebuilds
  Guarded<std::shared_ptr<CancelToken>> cancel;  // of the last save that was prepared
  bool pids_taken = false;                       // a rebuild with the same pids fails
  uint64_t image_bytes = 10000;

 private:
  Guarded<Hook> hook_;
  Guarded<std::vector<std::string>> reached_;
};

std::unique_ptr<Checkpointer> MakeScripted(std::shared_ptr<Script> script);

// A child that sleeps; ended with all that descends from it, and reaped, when this goes.
class Sleeper {
 public:
  explicit Sleeper(std::vector<std::string> argv = {"/bin/sleep", "1000"},
                   std::optional<ChildCredentials> who = std::nullopt);
  ~Sleeper();
  pid_t pid() const { return child_->pid(); }
  ProcessId id() const;
  void Kill();
  bool Stopped() const;

 private:
  std::optional<Child> child_;
};

}  // namespace ckptfs
