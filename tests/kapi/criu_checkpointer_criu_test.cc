// The criu checkpointer on real programs.
#include "kapi/criu/criu_checkpointer.h"

#include <gtest/gtest.h>

#include "tests/kapi/memory_image.h"
#include "tests/kapi/running_program.h"

namespace ckptfs {
namespace {

std::string Program(const std::string& name) {
  return std::string(CKPTFS_BUILD_DIR) + "/tests/programs/" + name;
}

class CriuCheckpointerTest : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    ::setenv("CKPTFS_INIT", CKPTFS_BUILD_DIR "/ckptfs-init", 1);
    checkpointer = new CriuCheckpointer();
  }
  static void TearDownTestSuite() { delete checkpointer; }
  void SetUp() override {
    auto probe = checkpointer->Probe();
    if (!probe.available) GTEST_SKIP() << probe.why_not;
  }

  SaveRequest ToSave(const UnitProcesses& unit, bool leave_running = true) {
    SaveRequest request;
    request.job = "job";
    request.unit = "main";
    request.processes = unit;
    request.leave_running = leave_running;
    request.work_dir = work_.path();
    return request;
  }
  RebuildRequest ToRebuild(Pids pids = Pids::kSame) {
    RebuildRequest request;
    request.job = "job";
    request.unit = "main";
    request.owner = RootCredentials();
    request.pids = pids;
    request.work_dir = work_.path();
    return request;
  }

  static inline CriuCheckpointer* checkpointer;
  TestDir work_;
};

TEST_F(CriuCheckpointerTest, GoesOnAfterACheckpoint) {
  Counter counter(work_ / "count");
  RunningProgram program({Program("count"), counter.path(), "10"});
  ASSERT_TRUE(counter.GrowsFrom(0));
  auto saving = checkpointer->Prepare(ToSave(program.unit()));
  ASSERT_TRUE(saving.ok()) << saving.error().Text();
  MemoryImage image;
  MemorySink sink(&image);
  auto saved = (*saving)->Checkpoint(sink);
  ASSERT_TRUE(saved.ok()) << saved.error().Text() << checkpointer->LastLog("job", "main");
  long held_at = counter.Value();
  EXPECT_GT(image.TotalBytes(), 10u << 20);
  EXPECT_EQ(sink.open_streams, 0);
  EXPECT_EQ(counter.Value(), held_at);
  auto resumed = (*saving)->Resume(AfterCheckpoint::kGoOn);
  ASSERT_TRUE(resumed.ok()) << resumed.error().Text();
  EXPECT_TRUE(counter.GrowsFrom(held_at));
}

TEST_F(CriuCheckpointerTest, StopsAndIsRestored) {
  Counter counter(work_ / "count");
  MemoryImage image;
  long stopped_at;
  pid_t pid;
  {
    RunningProgram program({Program("count"), counter.path(), "10"});
    pid = program.pid();
    ASSERT_TRUE(counter.GrowsFrom(0));
    auto saving = checkpointer->Prepare(ToSave(program.unit(), false));
    ASSERT_TRUE(saving.ok()) << saving.error().Text();
    MemorySink sink(&image);
    auto saved = (*saving)->Checkpoint(sink);
    ASSERT_TRUE(saved.ok()) << saved.error().Text() << checkpointer->LastLog("job", "main");
    auto ended = (*saving)->Resume(AfterCheckpoint::kEnd);
    ASSERT_TRUE(ended.ok()) << ended.error().Text();
    stopped_at = counter.Value();
    EXPECT_FALSE(program.alive());
  }
  auto rebuilding = checkpointer->PrepareRebuild(ToRebuild());
  ASSERT_TRUE(rebuilding.ok()) << rebuilding.error().Text();
  MemorySource source(&image);
  auto rebuilt = (*rebuilding)->Rebuild(source);
  ASSERT_TRUE(rebuilt.ok()) << rebuilt.error().Text() << checkpointer->LastLog("job", "main");
  EXPECT_TRUE(source.rest_verified);
  EXPECT_EQ(counter.Value(), stopped_at);
  auto resumed = (*rebuilding)->Resume();
  ASSERT_TRUE(resumed.ok()) << resumed.error().Text() << checkpointer->LastLog("job", "main");
  RunningProgram restored(*resumed);
  EXPECT_EQ(restored.pid(), pid);
  EXPECT_TRUE(counter.GrowsFrom(stopped_at));
}

}  // namespace
}  // namespace ckptfs
