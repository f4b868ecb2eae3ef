// UnitCheckpointer (the paper's job-unit checkpointer): the phases of a
// checkpoint for one unit, on the unit's node.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "agent/operation.h"
#include "agent/store/store.h"
#include "kapi/checkpointer.h"

namespace ckptfs {

// A private folder for one unit during one operation, owned by the job's owner;
// gone with this object.
class WorkFolder {
 public:
  static Result<WorkFolder> Make(const std::string& parent, const std::string& name,
                                 const Credentials& owner);
  WorkFolder(WorkFolder&&) noexcept = default;
  WorkFolder& operator=(WorkFolder&&) = delete;
  ~WorkFolder();
  std::string path() const { return parent_ + "/" + name_; }

 private:
  WorkFolder(std::string parent, Fd dir, std::string name)
      : parent_(std::move(parent)), dir_(std::move(dir)), name_(std::move(name)) {}
  std::string parent_;
  Fd dir_;
  std::string name_;
};

// One thread at a time; the phases in the order of their declaration. Destroyed
// before Resume: the unit goes on as if nothing had been asked.
class UnitCheckpointer {
 public:
  struct Options {
    std::string job, unit;
    Checkpointer* checkpointer = nullptr;  // borrowed
    UnitProcesses processes;
    bool suspended = false;  // stays so afterwards
    bool stop = false;
    Policy policy;
    std::string work_parent;
    Operation* operation = nullptr;  // borrowed
  };
  explicit UnitCheckpointer(Options options) : options_(std::move(options)) {}
  UnitCheckpointer(const UnitCheckpointer&) = delete;
  UnitCheckpointer& operator=(const UnitCheckpointer&) = delete;
  ~UnitCheckpointer();

  // Whose the processes are is looked at again here.
  Result<void> Prepare();
  Result<void> AddTo(VersionWriter& version);
  Result<void> Stop();
  // The processes' memory and the files that they have open for writing.
  Result<void> Checkpoint();
  // The unit's part of the image is on the disk. Before Resume or after it.
  Result<void> Finish();
  Result<void> Resume(AfterCheckpoint after);

  const std::string& unit() const { return options_.unit; }
  double standstill_seconds() const { return standstill_seconds_; }
  const std::vector<std::string>& warnings() const { return warnings_; }
  const std::vector<ProcessId>& members() const { return members_; }

 private:
  // A suspended unit whose checkpointer has let it go stands still again.
  Result<void> SuspendAgain();

  const Options options_;
  std::optional<WorkFolder> work_;
  std::unique_ptr<Saving> saving_;
  std::unique_ptr<VersionWriter::UnitWriter> writer_;
  Needs needs_;
  std::vector<std::string> warnings_;
  std::vector<ProcessId> members_;
  double standstill_seconds_ = 0;
};

}  // namespace ckptfs
