#include "tests/agent/scripted_checkpointer.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>

#include "kapi/tree_control.h"

namespace ckptfs {
namespace {

class ScriptedSaving : public Saving {
 public:
  ScriptedSaving(std::shared_ptr<Script> script, SaveRequest request)
      : script_(std::move(script)), request_(std::move(request)) {}
  ~ScriptedSaving() override {
    if (stopped_) (void)ContinueTree(request_.processes.root, left_);
  }
  Result<void> Stop() override {
    if (auto on = script_->Reach("stop", request_.unit); !on) return on.error();
    auto stopped = StopTree(request_.processes.root);
    if (!stopped) return stopped.error();
    left_ = *stopped;
    stopped_ = true;
    return {};
  }
  Result<void> Checkpoint(ImageSink& sink) override {
    if (auto on = script_->Reach("checkpoint", request_.unit); !on) {
      Go();
      return on.error();
    }
    if (request_.cancel->cancelled()) {
      Go();
      return Fail(Errc::kCancelled, "cancelled");
    }
    auto stream = sink.Open("state");
    if (!stream) return stream.error();
    std::vector<uint8_t> bytes(script_->image_bytes, 7);
    if (auto put = (*stream)->Append(bytes); !put) return put.error();
    return (*stream)->End();
  }
  Result<std::vector<OpenFile>> FilesOpenForWriting() override {
    if (auto on = script_->Reach("files", request_.unit); !on) return on.error();
    std::vector<OpenFile> open;
    for (const std::string& path : (*script_->files.Lock())[request_.unit]) {
      auto fd = Open(path, O_RDONLY);
      if (!fd) return fd.error();
      open.push_back({path, std::move(*fd)});
    }
    return open;
  }
  Result<Needs> Describe() override { return Needs{.arch = "x86_64"}; }
  Result<void> Resume(AfterCheckpoint after) override {
    bool end = after == AfterCheckpoint::kEnd;
    if (auto on = script_->Reach(end ? "end" : "go-on", request_.unit); !on) return on.error();
    if (end) return KillTree(request_.processes.root);
    Go();
    return {};
  }
  std::chrono::nanoseconds standstill() const override { return std::chrono::milliseconds(12); }

 private:
  void Go() {
    (void)ContinueTree(request_.processes.root, left_);
    stopped_ = false;
  }
  std::shared_ptr<Script> script_;
  SaveRequest request_;
  std::vector<ProcessId> left_;
  bool stopped_ = false;
};

class ScriptedRebuilding : public Rebuilding {
 public:
  ScriptedRebuilding(std::shared_ptr<Script> script, RebuildRequest request)
      : script_(std::move(script)), request_(std::move(request)) {}
  ~ScriptedRebuilding() override { End(); }
  Result<void> Check(ImageSource&) override { return script_->Reach("check", request_.unit); }
  Result<UnitProcesses> Rebuild(ImageSource& source) override {
    std::string phase = request_.pids == Pids::kSame ? "rebuild" : "rebuild-new-pids";
    if (auto on = script_->Reach(phase, request_.unit); !on) return on.error();
    if (request_.pids == Pids::kSame && script_->pids_taken)
      return Fail(Errc::kExists, "pid 4242 is in use on this node by 'sshd'");
    auto stream = source.Open("state");
    if (!stream) return stream.error();
    if ((*stream)->size_bytes() != script_->image_bytes)
      return Fail(Errc::kCorrupt, "the state is not what was saved");
    auto child = Child::Spawn({.argv = {"/bin/sleep", "1000"}});
    if (!child) return child.error();
    built_.emplace(std::move(*child));
    auto info = ReadProcess(built_->pid());
    return UnitProcesses{.root = (*info)->id, .owner = request_.owner, .namespace_init = {}};
  }
  Result<void> Resume() override {
    if (auto on = script_->Reach("rebuild-resume", request_.unit); !on) {
      End();
      return on;
    }
    script_->restored.Lock()->push_back(std::move(*built_));
    built_.reset();
    return {};
  }

 private:
  void End() {
    if (built_) ::kill(built_->pid(), SIGKILL);
    built_.reset();
  }

  std::shared_ptr<Script> script_;
  RebuildRequest request_;
  std::optional<Child> built_;
};

class ScriptedCheckpointer : public Checkpointer {
 public:
  explicit ScriptedCheckpointer(std::shared_ptr<Script> script) : script_(std::move(script)) {}
  std::string_view name() const override { return "scripted"; }
  Capabilities capabilities() const override {
    return {.attach = true, .leave_running = true, .clone = true, .unprivileged = true};
  }
  Availability Probe() const override { return {.available = true, .version = "1"}; }
  Result<std::unique_ptr<Saving>> Prepare(SaveRequest request) override {
    *script_->cancel.Lock() = request.cancel;
    if (auto on = script_->Reach("prepare", request.unit); !on) return on.error();
    return std::make_unique<ScriptedSaving>(script_, std::move(request));
  }
  Result<std::unique_ptr<Rebuilding>> PrepareRebuild(RebuildRequest request) override {
    if (auto on = script_->Reach("prepare-rebuild", request.unit); !on) return on.error();
    return std::make_unique<ScriptedRebuilding>(script_, std::move(request));
  }
  Result<void> Suspend(const UnitProcesses& unit) override {
    if (auto on = script_->Reach("suspend", ""); !on) return on.error();
    auto stopped = StopTree(unit.root);
    return stopped ? Result<void>() : stopped.error();
  }
  Result<void> Unsuspend(const UnitProcesses& unit) override {
    if (auto on = script_->Reach("unsuspend", ""); !on) return on.error();
    return ContinueTree(unit.root, {});
  }
  Result<void> Kill(const UnitProcesses& unit) override {
    if (auto on = script_->Reach("kill", ""); !on) return on.error();
    // Not KillTree, which would reap our children before a Child can.
    auto pidfd = OpenPidfd(unit.root);
    if (!pidfd) return {};
    ::kill(unit.root.pid, SIGKILL);
    pollfd ended{pidfd->get(), POLLIN, 0};
    if (::poll(&ended, 1, 20'000) != 1) return Fail(Errc::kTimedOut, "it does not die");
    return {};
  }
  std::string LastLog(std::string_view, std::string_view) const override { return "log\n"; }

 private:
  std::shared_ptr<Script> script_;
};

}  // namespace

Result<void> Script::Reach(std::string_view phase, std::string_view unit) {
  reached_.Lock()->push_back(std::string(unit) + ":" + std::string(phase));
  Hook hook = *hook_.Lock();
  return hook ? hook(phase, unit) : Result<void>();
}

size_t Script::At(const std::string& step) const {
  auto steps = Reached();
  auto it = std::find(steps.begin(), steps.end(), step);
  return it == steps.end() ? SIZE_MAX : static_cast<size_t>(it - steps.begin());
}

bool Script::Has(const std::string& step) const { return At(step) != SIZE_MAX; }

std::unique_ptr<Checkpointer> MakeScripted(std::shared_ptr<Script> script) {
  return std::make_unique<ScriptedCheckpointer>(std::move(script));
}

Sleeper::Sleeper(std::vector<std::string> argv, std::optional<ChildCredentials> who) {
  auto child = Child::Spawn({.argv = std::move(argv), .credentials = std::move(who)});
  EXPECT_TRUE(child.ok()) << child.error().Text();
  if (child) child_.emplace(std::move(*child));
}

Sleeper::~Sleeper() { Kill(); }

ProcessId Sleeper::id() const { return (*ReadProcess(pid()))->id; }

void Sleeper::Kill() {
  if (!child_ || !child_->running()) return;
  if (auto tree = ReadTree(pid()))  // what it started would stay behind
    for (const ProcessInfo& info : *tree)
      if (info.id.pid != pid()) ::kill(info.id.pid, SIGKILL);
  (void)child_->Signal(SIGKILL);
  (void)child_->Wait();
}

bool Sleeper::Stopped() const {
  auto info = ReadProcess(pid());
  return info && *info && (*info)->state == 'T';
}

}  // namespace ckptfs
