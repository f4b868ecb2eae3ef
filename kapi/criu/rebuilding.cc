#include "kapi/criu/rebuilding.h"

#include <algorithm>

#include "kapi/criu/serve.h"
#include "kapi/owner.h"
#include "kapi/tree_control.h"

namespace ckptfs {
namespace {

constexpr auto kEndLimit = std::chrono::seconds(120);

}  // namespace

CriuStart CriuRebuilding::Plan(const UnitMeta& meta, const std::vector<PstreeEntry>& tree) const {
  CriuStart start;
  start.argv = {"restore", "--restore-detached", "--skip-in-flight"};
  if (meta.shell_job()) start.argv.emplace_back("--shell-job");
  if (meta.terminal)
    start.terminal =
        meta.leader_outside ? CriuStart::Terminal::kControlling : CriuStart::Terminal::kForTheJob;
  start.argv.emplace_back(request_.tcp == Tcp::kKeep ? "--tcp-established" : "--tcp-close");
  start.owner = request_.owner;
  start.work_dir = request_.work_dir;
  start.init_path = tools_.init_path;
  if (request_.pids == Pids::kNewNamespace)
    start.new_namespace = CriuStart::NewNamespace{PidClearOf(tree), tree.front().pid};
  return start;
}

Result<void> CriuRebuilding::Check(ImageSource& source) {
  if (request_.second_instance) return {};
  auto meta = ReadUnitMeta(source);
  if (!meta) return meta.error();
  return CheckNotAlive(*meta, request_.pids == Pids::kSame);
}

Result<UnitProcesses> CriuRebuilding::Rebuild(ImageSource& source) {
  if (run_) return Fail(Errc::kInternal, "Rebuild was called twice");
  if (request_.cancel && request_.cancel->cancelled())
    return Fail(Errc::kCancelled, "the restart was cancelled");
  auto tree = ReadPstree(source);
  if (!tree) return tree.error();
  auto meta = ReadUnitMeta(source);
  if (!meta) return meta.error();
  if (request_.pids == Pids::kSame)
    if (auto pids_free = CheckPidsAreFree(*tree); !pids_free) return pids_free.error();
  auto run = CriuRun::Start(tools_.criu, CriuRun::For::kRestore, Plan(*meta, *tree));
  if (!run) return run.error();
  run_.emplace(std::move(*run));
  auto end = Serve(*run_, source, request_.cancel.get());
  if (!end) return Abort(end.error());
  if (*end == RunEnd::kEnded) return Abort(std::nullopt);
  if (auto found = Identify(); !found) return Abort(found.error());
  // What criu did not ask for, or left half read, is verified as well before anything runs.
  if (auto verified = source.VerifyRest(); !verified) return Abort(verified.error());
  return *built_;
}

Result<void> CriuRebuilding::Identify() {
  // criu's word alone is not enough: the root must be below the criu that we started.
  auto below = ReadTree(run_->pid());
  if (!below) return below.error();
  UnitProcesses unit;
  unit.owner = request_.owner;
  bool in_namespace = request_.pids == Pids::kNewNamespace;
  bool found = false;
  for (const ProcessInfo& process : *below) {
    if (process.ns_pids.empty()) continue;
    pid_t inside = in_namespace ? process.ns_pids.back() : process.id.pid;
    if (in_namespace && process.ns_pids.size() < 2) continue;
    if (in_namespace && inside == 1) unit.namespace_init = process.id;
    if (inside == run_->hook_root() && process.id.pid != run_->pid()) {
      unit.root = process.id;
      found = true;
    }
  }
  if (!found || (in_namespace && !unit.namespace_init))
    return Fail(Errc::kIo, "criu restored pid {}, which is not there", run_->hook_root());
  built_ = unit;
  auto tree = ReadTree(unit.root.pid);
  if (!tree) return tree.error();
  return CheckAllWithin(*tree, request_.owner);
}

Error CriuRebuilding::Abort(std::optional<Error> ours) {
  // criu ends what it has built when it fails, but not once it is in the last
  // script; what it leaves behind is remembered here and ended by us.
  std::vector<ProcessInfo> left;
  if (run_->running())
    if (auto below = ReadTree(run_->pid())) left = std::move(*below);
  std::optional<Error> not_killed;
  if (built_) {
    auto killed = KillTree(built_->namespace_init ? *built_->namespace_init : built_->root);
    if (!killed) not_killed = killed.error();
  }
  built_.reset();
  run_->HangUp();
  auto status = run_->Finish(kEndLimit);
  for (const ProcessInfo& process : left)
    if (process.id.pid != run_->pid() && IsAlive(process.id)) (void)KillTree(process.id);
  std::string log = run_->LogTail();
  tools_.logs->Keep(request_.job, request_.unit, log);
  if (not_killed) return ours ? ours->Add("{}", not_killed->message()) : *not_killed;
  if (!status) return ours ? ours->Add("{}", status.error().message()) : status.error();
  return ours ? *ours : ExplainCriuLog(CriuAct::kRestore, log, status->Text());
}

Result<void> CriuRebuilding::Resume() {
  if (!run_ || !built_ || !run_->held())
    return Fail(Errc::kInternal, "there is nothing that could be let go");
  run_->AnswerHook(true);
  auto status = run_->Finish(kEndLimit);
  if (!status) return Abort(status.error());
  if (!status->Success()) return Abort(std::nullopt);
  tools_.logs->Keep(request_.job, request_.unit, run_->LogTail());
  built_.reset();
  return {};
}

CriuRebuilding::~CriuRebuilding() {
  if (built_ || (run_ && run_->running())) (void)Abort(std::nullopt);
}

}  // namespace ckptfs
