// What fails leaves the job as it was: every write, every moment, either side.
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <thread>

#include "tests/kapi/criu_test.h"

namespace ckptfs {
namespace {

class CriuFaults : public CriuTest {
 protected:
  // Nothing seizes it any more and it runs.
  static bool RunsFreely(const RunningProgram& program, const Counter& counter) {
    return program.alive() && counter.GrowsFrom(counter.Value());
  }
  // `does` in a daemon that kills itself somewhere in it.
  template <typename Does>
  static void KillADaemonThat(Does does) {
    pid_t daemon = ::fork();
    ASSERT_GE(daemon, 0);
    if (daemon == 0) {
      does();
      ::_exit(3);
    }
    int status = 0;
    ASSERT_EQ(::waitpid(daemon, &status, 0), daemon);
    EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) << status;
  }
};

TEST_F(CriuFaults, SinkThatFailsAtAnyOperationLeavesTheJobRunning) {
  Counter counter(work_ / "count");
  RunningProgram program({Program("count"), counter.path(), "20"});
  ASSERT_TRUE(counter.GrowsFrom(0));
  int operation = 0, step = 1, failures = 0;
  for (;; operation += step) {
    auto saving = checkpointer().Prepare(ToSave(program.unit(), operation % 2 == 0));
    ASSERT_TRUE(saving.ok()) << saving.error().Text();
    MemoryImage image;
    MemorySink sink(&image);
    sink.fail_after = operation;
    auto saved = (*saving)->Checkpoint(sink);
    if (saved.ok()) {
      ASSERT_TRUE((*saving)->Resume(AfterCheckpoint::kGoOn).ok());
      break;
    }
    ++failures;
    EXPECT_EQ(saved.error().code(), Errc::kNoSpace) << saved.error().Text();
    ASSERT_TRUE(RunsFreely(program, counter)) << "after operation " << operation;
    if (operation > 10) step = 7;
  }
  EXPECT_GT(failures, 10);
  EXPECT_TRUE(RunsFreely(program, counter));
}

TEST_F(CriuFaults, CancelAtAnyMomentLeavesTheJobRunning) {
  Counter counter(work_ / "count");
  RunningProgram program({Program("count"), counter.path(), "20"});
  ASSERT_TRUE(counter.GrowsFrom(0));
  for (int operation = 1; operation < 120; operation += 13) {
    SaveRequest request = ToSave(program.unit());
    request.cancel = *CancelToken::Make();
    auto saving = checkpointer().Prepare(request);
    ASSERT_TRUE(saving.ok()) << saving.error().Text();
    MemoryImage image;
    MemorySink sink(&image);
    int left = operation;
    sink.before_each = [&] {
      if (--left == 0) request.cancel->Cancel();
    };
    auto saved = (*saving)->Checkpoint(sink);
    if (saved.ok()) {
      ASSERT_TRUE((*saving)->Resume(AfterCheckpoint::kGoOn).ok());
    } else {
      EXPECT_EQ(saved.error().code(), Errc::kCancelled) << saved.error().Text();
    }
    ASSERT_TRUE(RunsFreely(program, counter));
  }
}

// criu and its action script run as the job's owner, who can stop them.
int StopOurs(std::string_view name) {
  int stopped = 0;
  auto ours = ReadTree(::getpid());
  if (!ours) return 0;
  for (const ProcessInfo& process : *ours)
    if (process.name == name) stopped += ::kill(process.id.pid, SIGSTOP) == 0;
  return stopped;
}

TEST_F(CriuFaults, CancelLetsAStoppedCriuGoOnToItsEnd) {
  Counter counter(work_ / "count");
  RunningProgram program({Program("count"), counter.path(), "20"});
  ASSERT_TRUE(counter.GrowsFrom(0));
  SaveRequest request = ToSave(program.unit());
  request.cancel = *CancelToken::Make();
  auto saving = checkpointer().Prepare(request);
  ASSERT_TRUE(saving.ok()) << saving.error().Text();
  MemoryImage image;
  MemorySink sink(&image);
  int left = 20, stopped = 0;
  sink.before_each = [&] {
    if (--left != 0) return;
    stopped = StopOurs("criu");
    request.cancel->Cancel();
  };
  auto saved = (*saving)->Checkpoint(sink);
  EXPECT_GT(stopped, 0);
  ASSERT_FALSE(saved.ok());
  EXPECT_EQ(saved.error().code(), Errc::kCancelled) << saved.error().Text();
  EXPECT_TRUE(RunsFreely(program, counter));
}

TEST_F(CriuFaults, AStoppedCriuGoesOnWhenTheJobIsLetGo) {
  for (const char* name : {"criu", "ckptfs-init"}) {
    Counter counter(work_ / "count");
    RunningProgram program({Program("count"), counter.path(), "20"});
    ASSERT_TRUE(counter.GrowsFrom(0));
    auto saving = checkpointer().Prepare(ToSave(program.unit()));
    ASSERT_TRUE(saving.ok()) << saving.error().Text();
    MemoryImage image;
    MemorySink sink(&image);
    ASSERT_TRUE((*saving)->Checkpoint(sink).ok()) << CriusLog();
    EXPECT_EQ(StopOurs(name), 1) << name;
    auto resumed = (*saving)->Resume(AfterCheckpoint::kGoOn);
    EXPECT_TRUE(resumed.ok()) << resumed.error().Text();
    EXPECT_TRUE(RunsFreely(program, counter)) << name;
  }
}

TEST_F(CriuFaults, DaemonKilledAtAnyMomentLeavesTheJobRunning) {
  Counter counter(work_ / "count");
  RunningProgram program({Program("count"), counter.path(), "50"});
  ASSERT_TRUE(counter.GrowsFrom(0));
  for (int operation : {1, 5, 20, 60, 100, 130, 150, 1000}) {
    // 1000: killed while the job is held, after everything was saved.
    KillADaemonThat([&] {
      auto saving = checkpointer().Prepare(ToSave(program.unit(), operation % 2 == 0));
      if (!saving) ::_exit(1);
      MemoryImage image;
      MemorySink sink(&image);
      int left = operation;
      sink.before_each = [&] {
        if (--left == 0) ::kill(::getpid(), SIGKILL);
      };
      if (!(*saving)->Checkpoint(sink)) ::_exit(2);
      ::kill(::getpid(), SIGKILL);  // while it is held
    });
    ASSERT_TRUE(RunsFreely(program, counter)) << "after operation " << operation;
    // Its criu ends by itself: the next one would find the job traced.
    ASSERT_TRUE(Eventually([&] {
      auto status_file = ReadFile(fmt::format("/proc/{}/status", program.pid()), 1 << 20);
      return status_file && status_file->find("TracerPid:\t0") != std::string::npos;
    }));
  }
}

TEST_F(CriuFaults, DamagedImageStartsNothing) {
  Counter counter(work_ / "count");
  MemoryImage image;
  pid_t pid;
  ASSERT_NO_FATAL_FAILURE(SaveAndEnd({Program("state"), counter.path()}, counter, &image, &pid));
  std::string before = *ReadFile(counter.path(), 4096);
  auto total = static_cast<int64_t>(image.TotalBytes());
  for (int64_t bytes : {int64_t{0}, int64_t{100}, int64_t{2000}, total / 4, total / 2,
                        total * 3 / 4, total - 5000, int64_t{-1}}) {
    for (Pids pids : {Pids::kSame, Pids::kNewNamespace}) {
      auto rebuilding = checkpointer().PrepareRebuild(ToRebuild(pids));
      ASSERT_TRUE(rebuilding.ok());
      MemorySource source(&image);
      source.corrupt_after_bytes = bytes;
      source.rest_is_corrupt = true;
      auto rebuilt = (*rebuilding)->Rebuild(source);
      ASSERT_FALSE(rebuilt.ok()) << bytes;
      EXPECT_EQ(rebuilt.error().code(), Errc::kCorrupt) << rebuilt.error().Text();
      EXPECT_TRUE(IsFree(pid)) << bytes;
      EXPECT_EQ(*ReadFile(counter.path(), 4096), before);
    }
  }
}

TEST_F(CriuFaults, DaemonKilledWhileARestoreIsHeldStartsNothing) {
  Counter counter(work_ / "count");
  MemoryImage image;
  pid_t pid;
  ASSERT_NO_FATAL_FAILURE(SaveAndEnd({Program("count"), counter.path()}, counter, &image, &pid));
  std::string before = *ReadFile(counter.path(), 4096);
  for (int operation : {1, 10, 30, 1000}) {
    KillADaemonThat([&] {
      auto rebuilding = checkpointer().PrepareRebuild(ToRebuild());
      if (!rebuilding) ::_exit(1);
      MemorySource source(&image);
      int left = operation;
      source.before_each = [&] {
        if (--left == 0) ::kill(::getpid(), SIGKILL);
      };
      if (!(*rebuilding)->Rebuild(source)) ::_exit(2);
      ::kill(::getpid(), SIGKILL);  // while it is held
    });
    // Free again, or never taken; and it has not counted on.
    EXPECT_TRUE(Eventually([&] { return !*ReadProcess(pid); })) << operation;
    EXPECT_EQ(*ReadFile(counter.path(), 4096), before) << operation;
  }
}

TEST_F(CriuFaults, ProcessesBeyondTheOwnersRightsAreEndedBeforeTheyRun) {
  Counter counter(work_ / "count");
  MemoryImage image;
  pid_t pid;
  ASSERT_NO_FATAL_FAILURE(SaveAndEnd({Program("count"), counter.path()}, counter, &image, &pid));
  std::string before = *ReadFile(counter.path(), 4096);
  RebuildRequest request = ToRebuild();
  request.owner.permitted_capabilities &= ~1ull;  // CAP_CHOWN
  auto rebuilding = checkpointer().PrepareRebuild(request);
  ASSERT_TRUE(rebuilding.ok());
  MemorySource source(&image);
  auto rebuilt = (*rebuilding)->Rebuild(source);
  ASSERT_FALSE(rebuilt.ok());
  EXPECT_EQ(rebuilt.error().code(), Errc::kNotYours) << rebuilt.error().Text();
  EXPECT_NE(rebuilt.error().message().find("CAP_CHOWN"), std::string::npos);
  EXPECT_TRUE(IsFree(pid));
  EXPECT_EQ(*ReadFile(counter.path(), 4096), before);
}

TEST_F(CriuFaults, HookWithoutADaemonFailsWhereItMatters) {
  for (auto [action, code] : {std::pair{"post-dump", 1},
                              {"pre-resume", 1},
                              {"pre-dump", 0},
                              {"network-lock", 0},
                              {"post-restore", 0}}) {
    ChildOptions options;
    options.argv = {CKPTFS_BUILD_DIR "/ckptfs-init"};
    options.working_directory = work_.path();
    options.environment = {
        {fmt::format("CRTOOLS_SCRIPT_ACTION={}", action), "CKPTFS_HOOK=hook.sock"}};
    auto hook = Child::Spawn(options);
    ASSERT_TRUE(hook.ok());
    auto status = hook->Wait();
    ASSERT_TRUE(status.ok());
    EXPECT_EQ(status->code, code) << action;
  }
}

}  // namespace
}  // namespace ckptfs
