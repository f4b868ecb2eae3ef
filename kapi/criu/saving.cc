#include "kapi/criu/saving.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>

#include "kapi/criu/capture.h"
#include "kapi/open_files.h"
#include "kapi/owner.h"
#include "kapi/tree_control.h"

namespace ckptfs {
namespace {

constexpr auto kEndLimit = std::chrono::seconds(120);

// The inode that names a namespace; 0 if it cannot be read.
ino_t NamespaceOf(pid_t pid, const char* kind) {
  struct stat status;
  return ::stat(fmt::format("/proc/{}/ns/{}", pid, kind).c_str(), &status) == 0 ? status.st_ino : 0;
}

pid_t TracerOf(pid_t pid) {
  auto status = ReadFile(fmt::format("/proc/{}/status", pid), 1 << 20);
  if (!status) return 0;
  size_t at = status->find("TracerPid:");
  return at == status->npos ? 0 : std::atoi(status->c_str() + at + 10);
}

// Whether standard input or output is a terminal. Its other end is nearly always
// outside of the tree.
bool HasTerminal(pid_t pid) {
  for (int fd = 0; fd <= 2; ++fd) {
    char target[64];
    ssize_t n = ::readlink(fmt::format("/proc/{}/fd/{}", pid, fd).c_str(), target, sizeof target);
    std::string_view name(target, n > 0 ? static_cast<size_t>(n) : 0);
    if (name.starts_with("/dev/pts/") || name.starts_with("/dev/tty")) return true;
  }
  return false;
}

uint64_t ResidentBytes(pid_t pid) {
  auto statm = ReadFile(fmt::format("/proc/{}/statm", pid), 4096);
  if (!statm) return 0;
  size_t space = statm->find(' ');
  return std::strtoull(statm->c_str() + space + 1, nullptr, 10) *
         static_cast<uint64_t>(::sysconf(_SC_PAGESIZE));
}

Result<void> CheckNotTraced(const ProcessInfo& process) {
  pid_t tracer = TracerOf(process.id.pid);
  if (tracer == 0) return {};
  auto info = ReadProcess(tracer);
  std::string name = info && *info ? (*info)->name : "?";
  return Fail(Errc::kBusy, "pid {} ('{}') is being traced by '{}' (pid {})", process.id.pid,
              process.name, name, tracer)
      .WithRemedy("detach the debugger first: only one tracer can hold a process");
}

Result<void> CheckNamespaces(const ProcessInfo& process, pid_t reference) {
  for (const char* kind : {"pid", "mnt", "user"})
    if (ino_t theirs = NamespaceOf(process.id.pid, kind);
        theirs != 0 && theirs != NamespaceOf(reference, kind))
      return Fail(Errc::kUnsupported, "pid {} ('{}') runs in a container (another {} namespace)",
                  process.id.pid, process.name, kind)
          .WithRemedy(
              "save it with its own tools ('podman container checkpoint'), or run it outside of a "
              "container");
  return {};
}

}  // namespace

Result<std::unique_ptr<Saving>> CriuSaving::Prepare(Tools tools, SaveRequest request) {
  std::unique_ptr<CriuSaving> saving(new CriuSaving(std::move(tools), std::move(request)));
  if (auto looked = saving->LookOver(); !looked) return looked.error();
  return saving;
}

Result<void> CriuSaving::LookOver() {
  const UnitProcesses& unit = request_.processes;
  auto tree = ReadTree(unit.root.pid);
  if (!tree) return tree.error();
  const ProcessInfo& root = tree->front();
  if (root.id != unit.root || root.state == 'Z' || root.state == 'X')
    return Fail(Errc::kGone, "pid {} has ended", unit.root.pid);
  if (auto within = CheckAllWithin(*tree, unit.owner); !within) return within.error();
  if (request_.tcp == Tcp::kKeep && (unit.owner.effective_uid != 0 || !tools_.criu.locks_tcp))
    return Fail(Errc::kUnsupported, "TCP connections can be kept {}",
                tools_.criu.locks_tcp ? "for root's jobs only" : "by a criu with nftables only")
        .WithRemedy("let them be closed: leave the policy 'tcp' at 'close'");
  pid_t self = ::getpid();
  pid_t reference = unit.namespace_init ? unit.namespace_init->pid : self;
  bool leader_inside = false;
  uint64_t resident = 0;
  for (const ProcessInfo& process : *tree) {
    if (process.kernel_thread)
      return Fail(Errc::kUnsupported, "pid {} is a thread of the kernel", process.id.pid);
    if (process.id.pid == self)
      return Fail(Errc::kUnsupported, "the job's processes include ckptfs itself (pid {})", self)
          .WithRemedy(
              "start the job outside of the shell that mounted ckptfs, or the mount "
              "outside of the job");
    if (process.id.pid == root.session) leader_inside = true;
    if (process.state == 'Z') continue;
    if (process.tty != 0 || HasTerminal(process.id.pid)) meta_.terminal = true;
    if (auto untraced = CheckNotTraced(process); !untraced) return untraced.error();
    if (auto same = CheckNamespaces(process, reference); !same) return same.error();
    resident += ResidentBytes(process.id.pid);
  }
  meta_.leader_outside = !leader_inside;
  AddProcesses(*tree, &meta_);
  if (request_.progress != nullptr) request_.progress->bytes_total = resident;
  root_inside_ = unit.namespace_init && !root.ns_pids.empty() ? root.ns_pids.back() : root.id.pid;
  auto needs = tools_.needs->Read(*tree);
  if (!needs) return needs.error();
  needs_ = std::move(*needs);
  return {};
}

std::vector<std::string> CriuSaving::Arguments() const {
  std::vector<std::string> argv{"dump",          "-t", std::to_string(root_inside_),
                                "--ghost-limit", "1G", "--skip-in-flight"};
  if (meta_.shell_job()) argv.emplace_back("--shell-job");
  if (request_.leave_running) argv.emplace_back("--leave-running");
  // The lock that holds connections still costs 10 ms: only for those who ask.
  if (request_.tcp == Tcp::kKeep)
    argv.insert(argv.end(), {"--tcp-established", "--network-lock", "nftables"});
  else
    argv.emplace_back("--tcp-close");
  return argv;
}

Result<void> CriuSaving::Checkpoint(ImageSink& sink) {
  if (run_) return Fail(Errc::kInternal, "Checkpoint was called twice");
  if (request_.cancel && request_.cancel->cancelled())
    return Fail(Errc::kCancelled, "the checkpoint was cancelled");
  if (!IsAlive(request_.processes.root))
    return Fail(Errc::kGone, "pid {} has ended", request_.processes.root.pid);
  if (auto written = WriteUnitMeta(sink, meta_); !written) return written.error();
  CriuStart start;
  start.argv = Arguments();
  start.owner = request_.processes.owner;
  start.work_dir = request_.work_dir;
  start.init_path = tools_.init_path;
  start.enter = request_.processes.namespace_init;
  auto run = CriuRun::Start(tools_.criu, CriuRun::For::kDump, std::move(start));
  if (!run) return run.error();
  run_.emplace(std::move(*run));
  auto end = Capture(*run_, sink, request_.cancel.get());
  frozen_at_ = run_->connected_at();
  if (!end) return Abort(end.error());
  if (*end == RunEnd::kEnded) return Abort(std::nullopt);
  return {};
}

Error CriuSaving::Abort(std::optional<Error> ours) {
  run_->HangUp();
  auto status = run_->Finish(kEndLimit);
  thawed_at_ = std::chrono::steady_clock::now();
  std::string log = run_->LogTail();
  std::string ended = status ? status->Text() : status.error().message();
  tools_.logs->Keep(request_.job, request_.unit, log);
  if (!status) return ours ? ours->Add("{}", status.error().message()) : status.error();
  return ours ? *ours : ExplainCriuLog(CriuAct::kDump, log, ended);
}

Result<std::vector<OpenFile>> CriuSaving::FilesOpenForWriting() {
  if (!run_ || !run_->held()) return Fail(Errc::kInternal, "the unit does not stand still");
  auto tree = ReadTree(request_.processes.root.pid);
  if (!tree) return tree.error();
  return FindFilesOpenForWriting(*tree);
}

Result<void> CriuSaving::Resume(AfterCheckpoint after) {
  if (!run_ || !run_->held()) return Fail(Errc::kInternal, "the unit does not stand still");
  bool end = after == AfterCheckpoint::kEnd;
  if (end && request_.leave_running)
    return Fail(Errc::kInternal, "this checkpoint was not made to end the unit");
  std::vector<ProcessInfo> tree;
  if (end) {
    auto now = ReadTree(request_.processes.root.pid);
    if (now) tree = std::move(*now);
  }
  // A dump that would end the tree is made to fail after the fact: criu then
  // lets the tree go on.
  bool undo = !end && !request_.leave_running;
  run_->AnswerHook(!undo);
  auto status = run_->Finish(kEndLimit);
  thawed_at_ = std::chrono::steady_clock::now();
  std::string log = run_->LogTail();
  tools_.logs->Keep(request_.job, request_.unit, log);
  if (!status) return status.error();
  if (!undo && !status->Success()) return ExplainCriuLog(CriuAct::kDump, log, status->Text());
  auto ended = WaitUntilEnded(tree, 60'000);
  if (!ended) return ended.error();
  if (!*ended) return Fail(Errc::kTimedOut, "the unit's processes do not end");
  return {};
}

std::chrono::nanoseconds CriuSaving::standstill() const {
  if (!run_ || frozen_at_ == std::chrono::steady_clock::time_point()) return {};
  bool thawed = thawed_at_ != std::chrono::steady_clock::time_point();
  return (thawed ? thawed_at_ : std::chrono::steady_clock::now()) - frozen_at_;
}

CriuSaving::~CriuSaving() {
  if (run_ && run_->running()) (void)Abort(std::nullopt);
}

}  // namespace ckptfs
