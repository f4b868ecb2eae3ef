#include "agent/unit_checkpointer.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>

#include "agent/attach.h"
#include "agent/job.h"
#include "agent/open_files.h"

namespace ckptfs {

Result<WorkFolder> WorkFolder::Make(const std::string& parent, const std::string& name,
                                    const Credentials& owner) {
  static std::atomic<uint64_t> counter{0};
  auto dir = Open(parent, O_RDONLY | O_DIRECTORY);
  if (!dir) return dir.error().Add("work folder");
  std::string own = fmt::format("{}.{}", name, counter++);
  if (::mkdirat(dir->get(), own.c_str(), 0700) != 0)
    return Error::FromErrno(errno, "make the work folder {}/{}", parent, own);
  WorkFolder folder(parent, std::move(*dir), own);
  if (::geteuid() == 0 && ::fchownat(folder.dir_.get(), own.c_str(), owner.real_uid, owner.real_gid,
                                     AT_SYMLINK_NOFOLLOW) != 0)
    return Error::FromErrno(errno, "give the work folder {} to uid {}", own, owner.real_uid);
  return folder;
}

WorkFolder::~WorkFolder() {
  if (dir_.valid()) (void)RemoveTree(dir_.get(), name_);
}

UnitCheckpointer::~UnitCheckpointer() {
  if (!saving_) return;
  saving_.reset();
  (void)SuspendAgain();
}

Result<void> UnitCheckpointer::SuspendAgain() {
  if (!options_.suspended) return {};
  return options_.checkpointer->Suspend(options_.processes);
}

Result<void> UnitCheckpointer::Prepare() {
  auto tree = RecheckTree(options_.processes);
  if (!tree) return tree.error();
  auto work = WorkFolder::Make(options_.work_parent, options_.job + "." + options_.unit,
                               options_.processes.owner);
  if (!work) return work.error();
  work_.emplace(std::move(*work));
  auto saving = options_.checkpointer->Prepare(
      SaveRequest{.job = options_.job,
                  .unit = options_.unit,
                  .processes = options_.processes,
                  .leave_running = !options_.stop,
                  .tcp = options_.policy.tcp == TcpPolicy::kKeep ? Tcp::kKeep : Tcp::kClose,
                  .work_dir = work_->path(),
                  .cancel = options_.operation->cancel(),
                  .progress = options_.operation->OfUnit(options_.unit)});
  if (!saving) return saving.error();
  saving_ = std::move(*saving);
  return {};
}

Result<void> UnitCheckpointer::AddTo(VersionWriter& version) {
  auto writer = version.AddUnit({.name = options_.unit,
                                 .checkpointer = std::string(options_.checkpointer->name()),
                                 .buffer_bytes = options_.policy.buffer_bytes,
                                 .compress = options_.policy.compress == CompressPolicy::kZstd,
                                 .progress = options_.operation->OfUnit(options_.unit)});
  if (!writer) return writer.error();
  writer_ = std::move(*writer);
  return {};
}

Result<void> UnitCheckpointer::Stop() { return saving_->Stop(); }

Result<void> UnitCheckpointer::Checkpoint() {
  if (auto saved = saving_->Checkpoint(*writer_); !saved) return saved.error();
  // It stands still: what it is now is what the image holds.
  if (auto tree = ReadTree(options_.processes.root.pid))
    for (const ProcessInfo& info : *tree)
      if (info.state != 'Z' && members_.size() < kMembersLimit) members_.push_back(info.id);
  auto open = saving_->FilesOpenForWriting();
  if (!open) return open.error();
  auto warnings = SaveFiles(*open, options_.suspended, options_.policy.files_limit_bytes,
                            *options_.operation->cancel(), *writer_);
  if (!warnings) return warnings.error();
  warnings_ = std::move(*warnings);
  auto needs = saving_->Describe();
  if (!needs) return needs.error();
  needs_ = std::move(*needs);
  return {};
}

Result<void> UnitCheckpointer::Finish() { return writer_->Finish(needs_); }

Result<void> UnitCheckpointer::Resume(AfterCheckpoint after) {
  auto resumed = saving_->Resume(after);
  standstill_seconds_ = std::chrono::duration<double>(saving_->standstill()).count();
  saving_.reset();
  if (after == AfterCheckpoint::kEnd && resumed) return resumed;
  auto again = SuspendAgain();
  return resumed ? again : resumed;
}

}  // namespace ckptfs
