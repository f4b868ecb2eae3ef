#include "kapi/fake/fake_checkpointer.h"

#include <sys/wait.h>
#include <unistd.h>

#include "base/child.h"
#include "kapi/owner.h"
#include "kapi/tree_control.h"

namespace ckptfs {
namespace {

using Phase = FakeCheckpointer::Phase;
using State = FakeCheckpointer::State;

Error Misuse(State& state, std::string what) {
  state.misuses.Lock()->push_back(what);
  return Error(Errc::kInternal, std::move(what));
}

Result<void> Enter(State& state, Phase phase) {
  auto plan = state.plan.Lock();
  auto failure = plan->failures.find(phase);
  if (failure != plan->failures.end()) return failure->second;
  return {};
}

std::string StreamName(size_t index) { return fmt::format("fake-{}.img", index); }

class FakeSaving : public Saving {
 public:
  FakeSaving(std::shared_ptr<State> state, SaveRequest request)
      : state_(std::move(state)), request_(std::move(request)) {}
  ~FakeSaving() override { GoOn(); }

  Result<void> Stop() override {
    if (stopped_ || done_) return Misuse(*state_, "Stop was called twice");
    stopped_ = true;
    return Enter(*state_, Phase::kStop);
  }

  Result<void> Checkpoint(ImageSink& sink) override {
    if (!stopped_) return Misuse(*state_, "Checkpoint before Stop");
    if (held_ || done_) return Misuse(*state_, "Checkpoint was called twice");
    done_ = true;
    if (request_.cancel && request_.cancel->cancelled())
      return Fail(Errc::kCancelled, "the checkpoint was cancelled");
    auto stopped = StopTree(request_.processes.root);
    if (!stopped) return stopped.error();
    since_ = std::chrono::steady_clock::now();
    held_ = true;
    state_->saved.Lock()->push_back(request_.processes.root);
    auto saved = Save(sink);
    if (saved) saved = Enter(*state_, Phase::kCheckpoint);
    if (!saved) GoOn();
    return saved;
  }

  Result<std::vector<OpenFile>> FilesOpenForWriting() override {
    if (!held_) return Misuse(*state_, "FilesOpenForWriting while the unit does not stand still");
    if (auto fine = Enter(*state_, Phase::kOpenFiles); !fine) return fine.error();
    std::vector<OpenFile> files;
    for (const std::string& path : state_->plan.Lock()->open_files) {
      auto content = Open(path, 0);
      if (!content) return content.error();
      files.push_back({path, std::move(*content)});
    }
    return files;
  }

  Result<Needs> Describe() override {
    if (auto fine = Enter(*state_, Phase::kDescribe); !fine) return fine.error();
    return state_->plan.Lock()->needs;
  }

  Result<void> Resume(AfterCheckpoint after) override {
    if (!held_) return Misuse(*state_, "Resume while the unit does not stand still");
    if (after == AfterCheckpoint::kEnd && request_.leave_running)
      return Misuse(*state_, "Resume(kEnd) of a checkpoint that leaves the unit running");
    if (auto fine = Enter(*state_, Phase::kResume); !fine) {
      GoOn();
      return fine;
    }
    if (after == AfterCheckpoint::kGoOn) {
      GoOn();
      return {};
    }
    held_ = false;
    until_ = std::chrono::steady_clock::now();
    return KillTree(request_.processes.root);
  }

  std::chrono::nanoseconds standstill() const override {
    return (held_ ? std::chrono::steady_clock::now() : until_) - since_;
  }

 private:
  Result<void> Save(ImageSink& sink) {
    std::vector<size_t> sizes = state_->plan.Lock()->stream_bytes;
    uint64_t seed = state_->plan.Lock()->seed;
    // All open at once, as criu has them, in small interleaved pieces.
    std::vector<std::unique_ptr<ImageSink::Stream>> streams;
    std::vector<std::string> contents;
    for (size_t i = 0; i < sizes.size(); ++i) {
      auto stream = sink.Open(StreamName(i));
      if (!stream) return stream.error();
      streams.push_back(std::move(*stream));
      contents.push_back(FakeCheckpointer::StreamContent(seed, i, sizes[i]));
    }
    constexpr size_t kPiece = 10'000;
    bool more = true;
    for (size_t at = 0; more; at += kPiece) {
      more = false;
      for (size_t i = 0; i < streams.size(); ++i) {
        if (at >= contents[i].size()) continue;
        more = true;
        auto done = streams[i]->Append(AsBytes(std::string_view(contents[i]).substr(at, kPiece)));
        if (!done) return done;
      }
    }
    for (auto& stream : streams)
      if (auto ended = stream->End(); !ended) return ended;
    return {};
  }

  void GoOn() {
    if (!held_) return;
    held_ = false;
    until_ = std::chrono::steady_clock::now();
    (void)ContinueTree(request_.processes.root, {});
  }

  std::shared_ptr<State> state_;
  SaveRequest request_;
  bool stopped_ = false, held_ = false, done_ = false;
  std::chrono::steady_clock::time_point since_, until_;
};

class FakeRebuilding : public Rebuilding {
 public:
  FakeRebuilding(std::shared_ptr<State> state, RebuildRequest request)
      : state_(std::move(state)), request_(std::move(request)) {}
  ~FakeRebuilding() override { End(); }

  Result<void> Check(ImageSource&) override {
    if (auto fine = Enter(*state_, Phase::kCheck); !fine) return fine;
    if (request_.second_instance) return {};
    std::vector<ProcessId> saved = *state_->saved.Lock();
    auto alive = FindLiving(saved, std::chrono::seconds(10));
    if (!alive) return alive.error();
    if (*alive) return Fail(Errc::kWouldRunTwice, "process {} is alive", (*alive)->pid);
    return {};
  }

  Result<UnitProcesses> Rebuild(ImageSource& source) override {
    if (rebuilt_) return Misuse(*state_, "Rebuild was called twice");
    rebuilt_ = true;
    if (request_.cancel && request_.cancel->cancelled())
      return Fail(Errc::kCancelled, "the restart was cancelled");
    if (auto read = ReadAll(source); !read) return read.error();
    ChildOptions options;
    options.argv = state_->plan.Lock()->stand_in;
    auto child = Child::Spawn(options);
    if (!child) return child.error();
    auto info = ReadProcess(child->pid());
    child->Disown();
    if (!info || !*info) return Fail(Errc::kIo, "the stand-in is gone");
    unit_ = UnitProcesses{(*info)->id, request_.owner, std::nullopt};
    if (auto stopped = StopTree(unit_->root); !stopped) return stopped.error();
    auto checked = source.VerifyRest();
    if (checked) checked = Enter(*state_, Phase::kRebuild);
    if (checked) return *unit_;
    End();
    return checked.error();
  }

  Result<void> Resume() override {
    if (!unit_) return Misuse(*state_, "Resume without anything rebuilt");
    if (auto fine = Enter(*state_, Phase::kResumeRebuilt); !fine) {
      End();
      return fine;
    }
    if (auto continued = ContinueTree(unit_->root, {}); !continued) {
      End();
      return continued.error();
    }
    unit_.reset();
    return {};
  }

 private:
  Result<void> ReadAll(ImageSource& source) {
    std::vector<size_t> sizes = state_->plan.Lock()->stream_bytes;
    uint64_t seed = state_->plan.Lock()->seed;
    for (size_t i = 0; i < sizes.size(); ++i) {
      auto stream = source.Open(StreamName(i));
      if (!stream) return stream.error();
      std::string content(sizes[i], '\0');
      for (size_t done = 0; done < content.size();) {
        auto n = (*stream)->Read(
            {reinterpret_cast<uint8_t*>(content.data()) + done, content.size() - done});
        if (!n) return n.error();
        if (*n == 0) return Misuse(*state_, "a stream is shorter than it was saved");
        done += *n;
      }
      uint8_t beyond;
      auto end = (*stream)->Read({&beyond, 1});
      if (!end) return end.error();
      if (*end != 0 || content != FakeCheckpointer::StreamContent(seed, i, sizes[i]))
        return Misuse(*state_, fmt::format("stream {} is not as it was saved", i));
    }
    return {};
  }

  void End() {
    if (unit_) (void)KillTree(unit_->root);
    unit_.reset();
  }

  std::shared_ptr<State> state_;
  RebuildRequest request_;
  std::optional<UnitProcesses> unit_;
  bool rebuilt_ = false;
};

}  // namespace

std::string FakeCheckpointer::StreamContent(uint64_t seed, size_t index, size_t size) {
  std::string content(size, '\0');
  uint64_t x = seed * 0x9e3779b97f4a7c15 + index + 1;
  for (char& c : content) {
    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    c = static_cast<char>(x >> 32);
  }
  return content;
}

Capabilities FakeCheckpointer::capabilities() const {
  return {.attach = true,
          .leave_running = true,
          .stream = true,
          .hold = true,
          .clone = true,
          .unprivileged = true};
}

Result<std::unique_ptr<Saving>> FakeCheckpointer::Prepare(SaveRequest request) {
  if (request.work_dir.empty()) return Misuse(*state_, "a request without a work folder");
  if (auto fine = Enter(*state_, Phase::kPrepare); !fine) return fine.error();
  auto tree = ReadTree(request.processes.root.pid);
  if (!tree) return tree.error();
  if (!IsAlive(request.processes.root))
    return Fail(Errc::kGone, "pid {} has ended", request.processes.root.pid);
  if (auto within = CheckAllWithin(*tree, request.processes.owner); !within) return within.error();
  return std::make_unique<FakeSaving>(state_, std::move(request));
}

Result<std::unique_ptr<Rebuilding>> FakeCheckpointer::PrepareRebuild(RebuildRequest request) {
  if (request.work_dir.empty()) return Misuse(*state_, "a request without a work folder");
  if (auto fine = Enter(*state_, Phase::kPrepareRebuild); !fine) return fine.error();
  return std::make_unique<FakeRebuilding>(state_, std::move(request));
}

Result<void> FakeCheckpointer::Suspend(const UnitProcesses& unit) {
  if (auto fine = Enter(*state_, Phase::kSuspend); !fine) return fine;
  auto stopped = StopTree(unit.root);
  return stopped ? Result<void>() : stopped.error();
}

Result<void> FakeCheckpointer::Unsuspend(const UnitProcesses& unit) {
  if (auto fine = Enter(*state_, Phase::kUnsuspend); !fine) return fine;
  return ContinueTree(unit.root, {});
}

Result<void> FakeCheckpointer::Kill(const UnitProcesses& unit) {
  if (auto fine = Enter(*state_, Phase::kKill); !fine) return fine;
  return KillTree(unit.root);
}

std::string FakeCheckpointer::LastLog(std::string_view job, std::string_view unit) const {
  return fmt::format("the fake's log of {}/{}\n", job, unit);
}

}  // namespace ckptfs
