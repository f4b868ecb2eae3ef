// The criu checkpointer, and the steps of a checkpoint and a restart, for tests.
#pragma once

#include <gtest/gtest.h>

#include "kapi/criu/criu_checkpointer.h"
#include "tests/kapi/memory_image.h"
#include "tests/kapi/running_program.h"

namespace ckptfs {

inline std::string Program(const std::string& name) {
  return std::string(CKPTFS_BUILD_DIR) + "/tests/programs/" + name;
}

class CriuTest : public testing::Test {
 protected:
  explicit CriuTest(uid_t uid = 0, gid_t gid = 0) : work_(uid, gid) {
    owner_ = uid == 0 ? RootCredentials() : UserCredentials(uid, gid);
  }
  void SetUp() override {
    auto probe = checkpointer().Probe();
    if (!probe.available) GTEST_SKIP() << probe.why_not;
  }
  static CriuCheckpointer& checkpointer() {
    static CriuCheckpointer* const the_one = [] {
      ::setenv("CKPTFS_INIT", CKPTFS_BUILD_DIR "/ckptfs-init", 1);
      return new CriuCheckpointer();
    }();
    return *the_one;
  }
  static std::string CriusLog() { return checkpointer().LastLog("job", "main"); }

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
    request.owner = owner_;
    request.pids = pids;
    request.work_dir = work_.path();
    return request;
  }

  // A whole checkpoint. A failure is the test's, and says criu's log.
  void Save(const UnitProcesses& unit, MemoryImage* image, bool leave_running = true) {
    *image = {};
    auto saving = checkpointer().Prepare(ToSave(unit, leave_running));
    ASSERT_TRUE(saving.ok()) << saving.error().Text();
    MemorySink sink(image);
    auto saved = (*saving)->Checkpoint(sink);
    ASSERT_TRUE(saved.ok()) << saved.error().Text() << "\n" << CriusLog();
    auto resumed =
        (*saving)->Resume(leave_running ? AfterCheckpoint::kGoOn : AfterCheckpoint::kEnd);
    ASSERT_TRUE(resumed.ok()) << resumed.error().Text() << "\n" << CriusLog();
  }
  // The program, which counts in `counter`, is saved and ended by that. Its pid is in `pid`.
  void SaveAndEnd(const std::vector<std::string>& argv, const Counter& counter, MemoryImage* image,
                  pid_t* pid) {
    RunningProgram program(argv);
    *pid = program.pid();
    ASSERT_TRUE(counter.GrowsFrom(0));
    ASSERT_NO_FATAL_FAILURE(Save(program.unit(), image, false));
    EXPECT_FALSE(program.alive());
  }
  // Free, or held by what only waits to be reaped.
  static bool IsFree(pid_t pid) {
    auto left = ReadProcess(pid);
    return left.ok() && (!*left || (*left)->state == 'Z');
  }
  // A whole restart; what runs then is in `unit`.
  void Restore(const MemoryImage& image, UnitProcesses* unit, Pids pids = Pids::kSame) {
    auto rebuilding = checkpointer().PrepareRebuild(ToRebuild(pids));
    ASSERT_TRUE(rebuilding.ok()) << rebuilding.error().Text();
    MemorySource source(&image);
    auto rebuilt = (*rebuilding)->Rebuild(source);
    ASSERT_TRUE(rebuilt.ok()) << rebuilt.error().Text() << "\n" << CriusLog();
    auto resumed = (*rebuilding)->Resume();
    ASSERT_TRUE(resumed.ok()) << resumed.error().Text() << "\n" << CriusLog();
    *unit = *rebuilt;
  }

  TestDir work_;
  Credentials owner_;
};

}  // namespace ckptfs
