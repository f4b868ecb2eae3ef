// What every checkpointer promises, whichever it is: instantiated for the fake in
// fake_test.cc and for criu in contract_criu_test.cc.
#pragma once

#include <gtest/gtest.h>

#include <csignal>

#include "kapi/checkpointer.h"
#include "tests/kapi/memory_image.h"
#include "tests/kapi/running_program.h"

namespace ckptfs {

struct ContractCase {
  std::string name;
  std::function<Checkpointer*()> get;  // borrowed, for the whole program
};
// For ctest, which has this in the test's name.
inline void PrintTo(const ContractCase& one, std::ostream* out) { *out << one.name; }

class CheckpointerContract : public testing::TestWithParam<ContractCase> {
 protected:
  CheckpointerContract() : counter_(work_ / "count") {}
  void SetUp() override {
    checkpointer_ = GetParam().get();
    auto probe = checkpointer_->Probe();
    if (!probe.available) GTEST_SKIP() << probe.why_not;
    program_.emplace(
        std::vector<std::string>{CKPTFS_BUILD_DIR "/tests/programs/count", counter_.path()});
    ASSERT_TRUE(counter_.GrowsFrom(0));
  }
  SaveRequest ToSave(bool leave_running = true) {
    SaveRequest request;
    request.job = "job";
    request.unit = "main";
    request.processes = program_->unit();
    request.leave_running = leave_running;
    request.work_dir = work_.path();
    return request;
  }
  RebuildRequest ToRebuild() {
    RebuildRequest request;
    request.job = "job";
    request.unit = "main";
    request.owner = RootCredentials();
    request.work_dir = work_.path();
    return request;
  }
  std::unique_ptr<Saving> Prepared(bool leave_running = true) {
    auto saving = checkpointer_->Prepare(ToSave(leave_running));
    EXPECT_TRUE(saving.ok()) << (saving ? "" : saving.error().Text());
    if (!saving) return nullptr;
    EXPECT_TRUE((*saving)->Stop().ok());
    return std::move(*saving);
  }
  void SaveAndEnd(MemoryImage* image) {
    auto saving = Prepared(false);
    ASSERT_NE(saving, nullptr);
    MemorySink sink(image);
    auto saved = saving->Checkpoint(sink);
    ASSERT_TRUE(saved.ok()) << saved.error().Text();
    ASSERT_TRUE(saving->Resume(AfterCheckpoint::kEnd).ok());
    ASSERT_FALSE(program_->alive());
    program_->KillAll();  // reaps it
  }
  bool GoesOn() { return program_->alive() && counter_.GrowsFrom(counter_.Value()); }

  TestDir work_;
  Counter counter_;
  std::optional<RunningProgram> program_;
  Checkpointer* checkpointer_ = nullptr;
};

inline std::string ContractName(const testing::TestParamInfo<ContractCase>& info) {
  return info.param.name;
}

TEST_P(CheckpointerContract, StandsStillFromCheckpointToResume) {
  auto saving = Prepared();
  ASSERT_NE(saving, nullptr);
  MemoryImage image;
  MemorySink sink(&image);
  ASSERT_TRUE(saving->Checkpoint(sink).ok());
  EXPECT_EQ(sink.open_streams, 0);
  EXPECT_FALSE(image.order.empty());
  long before = counter_.Value();
  EXPECT_TRUE(saving->FilesOpenForWriting().ok());
  EXPECT_TRUE(saving->Describe().ok());
  EXPECT_GT(saving->standstill().count(), 0);
  EXPECT_EQ(counter_.Value(), before);
  EXPECT_TRUE(saving->Resume(AfterCheckpoint::kGoOn).ok());
  EXPECT_TRUE(GoesOn());
  EXPECT_EQ(saving->standstill(), saving->standstill());
}

TEST_P(CheckpointerContract, DroppedWithoutResumeGoesOn) {
  for (bool leave_running : {true, false}) {
    {
      auto saving = Prepared(leave_running);
      ASSERT_NE(saving, nullptr);
      MemoryImage image;
      MemorySink sink(&image);
      ASSERT_TRUE(saving->Checkpoint(sink).ok());
    }
    EXPECT_TRUE(GoesOn());
    { auto only_prepared = Prepared(leave_running); }
    EXPECT_TRUE(GoesOn());
  }
}

TEST_P(CheckpointerContract, FailedSinkGoesOnAndItsErrorIsGiven) {
  for (int operations : {0, 1, 3}) {
    auto saving = Prepared(false);
    ASSERT_NE(saving, nullptr);
    MemoryImage image;
    MemorySink sink(&image);
    sink.fail_after = operations;
    auto saved = saving->Checkpoint(sink);
    ASSERT_FALSE(saved.ok());
    EXPECT_EQ(saved.error().code(), Errc::kNoSpace);
    EXPECT_TRUE(GoesOn());
  }
}

TEST_P(CheckpointerContract, CancelledBeforehandDoesNothing) {
  SaveRequest request = ToSave();
  request.cancel = *CancelToken::Make();
  auto saving = checkpointer_->Prepare(request);
  ASSERT_TRUE(saving.ok());
  ASSERT_TRUE((*saving)->Stop().ok());
  request.cancel->Cancel();
  MemoryImage image;
  MemorySink sink(&image);
  auto saved = (*saving)->Checkpoint(sink);
  ASSERT_FALSE(saved.ok());
  EXPECT_EQ(saved.error().code(), Errc::kCancelled);
  EXPECT_TRUE(GoesOn());
}

TEST_P(CheckpointerContract, GoneProcessIsSaidAtPrepare) {
  SaveRequest request = ToSave();
  request.processes.root.start_ticks -= 1;  // a pid that was reused
  auto saving = checkpointer_->Prepare(request);
  ASSERT_FALSE(saving.ok());
  EXPECT_EQ(saving.error().code(), Errc::kGone);
}

TEST_P(CheckpointerContract, EndedUnitIsRebuiltHeldAndLetGo) {
  MemoryImage image;
  SaveAndEnd(&image);
  if (HasFatalFailure()) return;
  auto rebuilding = checkpointer_->PrepareRebuild(ToRebuild());
  ASSERT_TRUE(rebuilding.ok());
  MemorySource source(&image);
  auto rebuilt = (*rebuilding)->Rebuild(source);
  ASSERT_TRUE(rebuilt.ok()) << rebuilt.error().Text();
  EXPECT_TRUE(source.rest_verified);
  auto resumed = (*rebuilding)->Resume();
  ASSERT_TRUE(resumed.ok()) << resumed.error().Text();
  rebuilding->reset();
  RunningProgram restored(*rebuilt);
  EXPECT_TRUE(restored.alive());
  EXPECT_TRUE(checkpointer_->Kill(restored.unit()).ok());
  EXPECT_FALSE(restored.alive());
  EXPECT_TRUE(checkpointer_->Kill(restored.unit()).ok());
}

TEST_P(CheckpointerContract, LiveUnitIsRefusedUnlessForASecondInstance) {
  MemoryImage image;
  MemorySink sink(&image);
  {
    auto saving = Prepared();
    ASSERT_NE(saving, nullptr);
    ASSERT_TRUE(saving->Checkpoint(sink).ok());
    ASSERT_TRUE(saving->Resume(AfterCheckpoint::kGoOn).ok());
  }
  auto checked = [&](Pids pids, bool second) {
    RebuildRequest request = ToRebuild();
    request.pids = pids;
    request.second_instance = second;
    auto rebuilding = checkpointer_->PrepareRebuild(request);
    MemorySource source(&image);
    return rebuilding ? (*rebuilding)->Check(source) : rebuilding.error();
  };
  for (Pids pids : {Pids::kSame, Pids::kNewNamespace}) {
    auto refused = checked(pids, false);
    ASSERT_FALSE(refused.ok());
    EXPECT_EQ(refused.error().code(), Errc::kWouldRunTwice) << refused.error().Text();
    EXPECT_TRUE(checked(pids, true).ok());
  }
  EXPECT_TRUE(GoesOn());
  program_->KillAll();
  EXPECT_TRUE(checked(Pids::kSame, false).ok());
}

TEST_P(CheckpointerContract, DamagedSourceStartsNothing) {
  MemoryImage image;
  SaveAndEnd(&image);
  if (HasFatalFailure()) return;
  for (int64_t bytes : {0, 50, 5000, -1}) {
    auto rebuilding = checkpointer_->PrepareRebuild(ToRebuild());
    ASSERT_TRUE(rebuilding.ok());
    MemorySource source(&image);
    source.corrupt_after_bytes = bytes;
    source.rest_is_corrupt = true;
    auto rebuilt = (*rebuilding)->Rebuild(source);
    ASSERT_FALSE(rebuilt.ok());
    EXPECT_EQ(rebuilt.error().code(), Errc::kCorrupt) << rebuilt.error().Text();
    EXPECT_FALSE((*rebuilding)->Resume().ok());
  }
}

TEST_P(CheckpointerContract, SuspendAndUnsuspendCanBeRepeated) {
  for (int i = 0; i < 2; ++i) ASSERT_TRUE(checkpointer_->Suspend(program_->unit()).ok());
  EXPECT_EQ((*ReadProcess(program_->pid()))->state, 'T');
  for (int i = 0; i < 2; ++i) ASSERT_TRUE(checkpointer_->Unsuspend(program_->unit()).ok());
  EXPECT_TRUE(GoesOn());
}

}  // namespace ckptfs
