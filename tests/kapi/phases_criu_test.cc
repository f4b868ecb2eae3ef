// The phases of saving and restoring, on the simplest program there is.
#include "tests/kapi/criu_test.h"

namespace ckptfs {
namespace {

class CriuPhases : public CriuTest {};

TEST_F(CriuPhases, JobStandsStillUntilResumed) {
  Counter counter(work_ / "count");
  RunningProgram program({Program("count"), counter.path(), "10"});
  ASSERT_TRUE(counter.GrowsFrom(0));
  auto saving = checkpointer().Prepare(ToSave(program.unit()));
  ASSERT_TRUE(saving.ok()) << saving.error().Text();
  MemoryImage image;
  MemorySink sink(&image);
  auto saved = (*saving)->Checkpoint(sink);
  ASSERT_TRUE(saved.ok()) << saved.error().Text() << CriusLog();
  long held_at = counter.Value();
  EXPECT_GT(image.TotalBytes(), 10u << 20);
  EXPECT_EQ(sink.open_streams, 0);
  auto files = (*saving)->FilesOpenForWriting();
  ASSERT_TRUE(files.ok()) << files.error().Text();
  ASSERT_EQ(files->size(), 1u);
  EXPECT_EQ(files->front().path, counter.path());
  auto needs = (*saving)->Describe();
  ASSERT_TRUE(needs.ok());
  EXPECT_FALSE(needs->cpu_features.empty());
  EXPECT_GE(needs->build_ids.size(), 2u);  // the program and libc
  EXPECT_EQ(counter.Value(), held_at);
  EXPECT_GT((*saving)->standstill().count(), 0);
  auto resumed = (*saving)->Resume(AfterCheckpoint::kGoOn);
  ASSERT_TRUE(resumed.ok()) << resumed.error().Text();
  EXPECT_TRUE(counter.GrowsFrom(held_at));
}

TEST_F(CriuPhases, NotResumedMeansItGoesOn) {
  Counter counter(work_ / "count");
  RunningProgram program({Program("count"), counter.path()});
  ASSERT_TRUE(counter.GrowsFrom(0));
  for (bool leave_running : {true, false}) {
    MemoryImage image;
    MemorySink sink(&image);
    {
      auto saving = checkpointer().Prepare(ToSave(program.unit(), leave_running));
      ASSERT_TRUE(saving.ok()) << saving.error().Text();
      ASSERT_TRUE((*saving)->Checkpoint(sink).ok()) << CriusLog();
    }
    EXPECT_TRUE(counter.GrowsFrom(counter.Value()));
  }
}

TEST_F(CriuPhases, CheckpointStopCanBeUndone) {
  Counter counter(work_ / "count");
  RunningProgram program({Program("count"), counter.path()});
  ASSERT_TRUE(counter.GrowsFrom(0));
  MemoryImage image;
  MemorySink sink(&image);
  auto saving = checkpointer().Prepare(ToSave(program.unit(), false));
  ASSERT_TRUE(saving.ok()) << saving.error().Text();
  ASSERT_TRUE((*saving)->Checkpoint(sink).ok()) << CriusLog();
  auto undone = (*saving)->Resume(AfterCheckpoint::kGoOn);
  ASSERT_TRUE(undone.ok()) << undone.error().Text();
  EXPECT_TRUE(counter.GrowsFrom(counter.Value()));
}

TEST_F(CriuPhases, StoppedJobIsRestoredWhereItWas) {
  Counter counter(work_ / "count");
  MemoryImage image;
  pid_t pid;
  ASSERT_NO_FATAL_FAILURE(
      SaveAndEnd({Program("count"), counter.path(), "10"}, counter, &image, &pid));
  long stopped_at = counter.Value();
  auto rebuilding = checkpointer().PrepareRebuild(ToRebuild());
  ASSERT_TRUE(rebuilding.ok()) << rebuilding.error().Text();
  MemorySource source(&image);
  auto rebuilt = (*rebuilding)->Rebuild(source);
  ASSERT_TRUE(rebuilt.ok()) << rebuilt.error().Text() << CriusLog();
  EXPECT_TRUE(source.rest_verified);
  EXPECT_EQ(counter.Value(), stopped_at);
  auto resumed = (*rebuilding)->Resume();
  ASSERT_TRUE(resumed.ok()) << resumed.error().Text() << CriusLog();
  RunningProgram restored(*rebuilt);
  EXPECT_EQ(restored.pid(), pid);
  EXPECT_TRUE(counter.GrowsFrom(stopped_at));
}

TEST_F(CriuPhases, RebuiltButNotResumedLeavesNothing) {
  Counter counter(work_ / "count");
  MemoryImage image;
  pid_t pid;
  ASSERT_NO_FATAL_FAILURE(SaveAndEnd({Program("count"), counter.path()}, counter, &image, &pid));
  long stopped_at = counter.Value();
  for (Pids pids : {Pids::kSame, Pids::kNewNamespace}) {
    auto rebuilding = checkpointer().PrepareRebuild(ToRebuild(pids));
    ASSERT_TRUE(rebuilding.ok()) << rebuilding.error().Text();
    MemorySource source(&image);
    auto rebuilt = (*rebuilding)->Rebuild(source);
    ASSERT_TRUE(rebuilt.ok()) << rebuilt.error().Text() << CriusLog();
    rebuilding->reset();
    EXPECT_TRUE(IsFree(pid));
    EXPECT_EQ(counter.Value(), stopped_at);
  }
}

TEST_F(CriuPhases, TakenPidIsNamedWithItsHolder) {
  Counter counter(work_ / "count");
  RunningProgram program({Program("count"), counter.path()});
  ASSERT_TRUE(counter.GrowsFrom(0));
  MemoryImage image;
  Save(program.unit(), &image);
  if (HasFatalFailure()) return;
  auto rebuilding = checkpointer().PrepareRebuild(ToRebuild());
  ASSERT_TRUE(rebuilding.ok());
  MemorySource source(&image);
  auto rebuilt = (*rebuilding)->Rebuild(source);
  ASSERT_FALSE(rebuilt.ok());
  EXPECT_EQ(rebuilt.error().code(), Errc::kExists);
  EXPECT_EQ(rebuilt.error().message(),
            fmt::format("pid {} is in use on this node by 'count'", program.pid()));
  EXPECT_TRUE(program.alive());
}

TEST_F(CriuPhases, WhatAnEarlierRestartMadeIsKnownAgain) {
  Counter counter(work_ / "count");
  MemoryImage image;
  pid_t pid;
  ASSERT_NO_FATAL_FAILURE(SaveAndEnd({Program("count"), counter.path()}, counter, &image, &pid));
  UnitProcesses unit;
  ASSERT_NO_FATAL_FAILURE(Restore(image, &unit));
  RunningProgram restored(unit);
  ASSERT_EQ(restored.pid(), pid);
  auto check = [&](Pids pids) {
    auto rebuilding = checkpointer().PrepareRebuild(ToRebuild(pids));
    MemorySource source(&image);
    return rebuilding ? (*rebuilding)->Check(source) : rebuilding.error();
  };
  auto refused = check(Pids::kSame);
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code(), Errc::kWouldRunTwice);
  EXPECT_EQ(refused.error().remedy(),
            fmt::format("end it ('kill {}'), or write 'restart clone'", pid));
  EXPECT_TRUE(restored.alive());
}

TEST_F(CriuPhases, CloneLivesBesideTheOriginalAndCanBeSavedAgain) {
  Counter counter(work_ / "count");
  RunningProgram program({Program("count"), counter.path()});
  ASSERT_TRUE(counter.GrowsFrom(0));
  MemoryImage image;
  Save(program.unit(), &image);
  if (HasFatalFailure()) return;

  UnitProcesses unit;
  Restore(image, &unit, Pids::kNewNamespace);
  if (HasFatalFailure()) return;
  RunningProgram clone(unit);
  ASSERT_TRUE(clone.unit().namespace_init.has_value());
  EXPECT_TRUE(program.alive());
  EXPECT_TRUE(clone.alive());
  EXPECT_NE(clone.pid(), program.pid());
  EXPECT_EQ((*ReadProcess(clone.pid()))->ns_pids.back(), program.pid());

  MemoryImage again;
  Save(clone.unit(), &again);
  if (HasFatalFailure()) return;
  EXPECT_TRUE(clone.alive());

  UnitProcesses second_unit;
  Restore(again, &second_unit, Pids::kNewNamespace);
  if (HasFatalFailure()) return;
  RunningProgram second(second_unit);
  EXPECT_TRUE(second.alive());

  // The same pids again, where they are free now.
  program.KillAll();
  UnitProcesses third_unit;
  Restore(again, &third_unit, Pids::kSame);
  if (HasFatalFailure()) return;
  RunningProgram third(third_unit);
  EXPECT_TRUE(third.alive());
  EXPECT_TRUE(checkpointer().Kill(clone.unit()).ok());
  EXPECT_FALSE(clone.alive());
}

class CriuUser : public CriuTest {
 protected:
  CriuUser() : CriuTest(65534, 65534) {}
  ChildOptions AsUser() {
    ChildOptions options;
    options.credentials = ChildCredentials{65534, 65534, {}, {}};
    return options;
  }
};

TEST_F(CriuUser, SavesAndRestoresWithNoMoreThanTheOwnersRights) {
  Counter counter(work_ / "count", 65534, 65534);
  MemoryImage image;
  {
    RunningProgram program({Program("count"), counter.path(), "5"}, AsUser());
    ASSERT_TRUE(counter.GrowsFrom(0));
    Save(program.unit(), &image);
    if (HasFatalFailure()) return;
    EXPECT_TRUE(counter.GrowsFrom(counter.Value()));
    Save(program.unit(), &image, false);
    if (HasFatalFailure()) return;
  }
  UnitProcesses unit;
  Restore(image, &unit);
  if (HasFatalFailure()) return;
  RunningProgram restored(unit);
  EXPECT_TRUE(counter.GrowsFrom(counter.Value()));
  Credentials now = (*ReadProcess(restored.pid()))->credentials;
  EXPECT_EQ(now.effective_uid, 65534u);
  EXPECT_EQ(now.permitted_capabilities, 0u);

  UnitProcesses clone_unit;
  Restore(image, &clone_unit, Pids::kNewNamespace);
  if (HasFatalFailure()) return;
  RunningProgram clone(clone_unit);
  EXPECT_TRUE(clone.alive());
  EXPECT_EQ((*ReadProcess(clone.unit().namespace_init->pid))->credentials.effective_uid, 65534u);
  Save(clone.unit(), &image);
}

// Of criu itself, while it is held: nothing beyond what saving takes.
void ExpectLittleRights(uid_t uid) {
  constexpr uint64_t kMay = uint64_t{1} << 40 | uint64_t{1} << 8;  // CHECKPOINT_RESTORE, SETPCAP
  auto below = ReadTree(::getpid());
  ASSERT_TRUE(below.ok());
  int found = 0;
  for (const ProcessInfo& process : *below) {
    if (process.name != "criu") continue;
    ++found;
    const Credentials& has = process.credentials;
    for (uid_t id : {has.real_uid, has.effective_uid, has.saved_uid, has.fs_uid})
      EXPECT_EQ(id, uid);
    EXPECT_TRUE(has.groups.empty());
    EXPECT_EQ(has.permitted_capabilities & ~kMay, 0u);
  }
  EXPECT_GT(found, 0);
}

TEST_F(CriuUser, CriuItselfHasTheOwnersIdsAndTwoCapabilities) {
  Counter counter(work_ / "count", 65534, 65534);
  RunningProgram program({Program("count"), counter.path()}, AsUser());
  ASSERT_TRUE(counter.GrowsFrom(0));
  MemoryImage image;
  {
    auto saving = checkpointer().Prepare(ToSave(program.unit(), false));
    ASSERT_TRUE(saving.ok()) << saving.error().Text();
    MemorySink sink(&image);
    ASSERT_TRUE((*saving)->Checkpoint(sink).ok()) << CriusLog();
    ASSERT_NO_FATAL_FAILURE(ExpectLittleRights(65534));
    ASSERT_TRUE((*saving)->Resume(AfterCheckpoint::kEnd).ok());
  }
  program.KillAll();
  auto rebuilding = checkpointer().PrepareRebuild(ToRebuild());
  MemorySource source(&image);
  ASSERT_TRUE((*rebuilding)->Rebuild(source).ok()) << CriusLog();
  ASSERT_NO_FATAL_FAILURE(ExpectLittleRights(65534));
}

TEST_F(CriuUser, ProcessOfAnotherUserIsRefused) {
  Counter counter(work_ / "count");
  RunningProgram program({Program("count"), counter.path()});
  program.unit().owner = owner_;
  auto saving = checkpointer().Prepare(ToSave(program.unit()));
  ASSERT_FALSE(saving.ok());
  EXPECT_EQ(saving.error().code(), Errc::kNotYours);
}

}  // namespace
}  // namespace ckptfs
