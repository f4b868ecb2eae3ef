// Sweeps: the Nth step on the disk fails, or the process dies there, for every N.
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>

#include "tests/store/store_fixture.h"

namespace ckptfs {
namespace {

namespace fs = std::filesystem;

constexpr int kMostSteps = 300;

Streams First() { return {{"pages-1.img", RandomBytes(9 << 20, 1)}, {"core.img", "core"}}; }
Streams Second() {
  Streams streams = First();
  ChangePages(&streams["pages-1.img"], 200, 2);
  return streams;
}

// What every crash and every failure must leave: version 1 whole, version 2 whole
// or not there, no file that nothing refers to, and a store that works.
void ExpectSound(const std::string& path, const std::string& when, uint64_t made = 2) {
  SCOPED_TRACE(when);
  auto store = OpenStore(path);
  ASSERT_NE(store, nullptr);
  size_t versions = 0;
  for (uint64_t version : store->Versions("sim")) {
    ExpectLoads(*store, version, version == 1 ? First() : Second());
    ++versions;
  }
  EXPECT_EQ(PackCount(path), versions);
  EXPECT_LE(versions, made);
  VersionInfo next = Save(*store, Second());
  ExpectLoads(*store, next.version, Second());
}

void CopyStore(const std::string& from, const std::string& to) {
  fs::remove_all(to);
  fs::copy(from, to, fs::copy_options::recursive);
}

class Sweep : public testing::Test {
 protected:
  void SetUp() override {
    auto store = OpenStore(base_);
    Save(*store, First());
  }
  TempDir dir_;
  std::string base_ = dir_.path() + "/base", path_ = dir_.path() + "/store";
};

// Runs `work` in a child that dies at step `step`; false when it got to the end.
template <typename Work>
bool DiesAt(int step, const std::string& path, Work work) {
  pid_t child = ::fork();
  if (child == 0) {
    FailAt faults(step, FailAt::How::kExit);
    auto store =
        Store::Open({.dir = path, .node = "here", .faults = &faults}, Log(2, Log::Level::kError));
    if (!store) ::_exit(1);
    work(**store);
    ::_exit(0);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  EXPECT_TRUE(WIFEXITED(status) && (WEXITSTATUS(status) == 0 || WEXITSTATUS(status) == 42))
      << "status " << status;
  return WIFEXITED(status) && WEXITSTATUS(status) == 42;
}

TEST_F(Sweep, ADeathAtAnyStepOfACheckpointLeavesWholeVersions) {
  int step = 1;
  for (;; ++step) {
    CopyStore(base_, path_);
    bool died = DiesAt(step, path_, [](Store& store) { (void)TrySave(store, Second()); });
    ExpectSound(path_, "death at step " + std::to_string(step));
    if (!died || HasFatalFailure()) break;
    ASSERT_LT(step, kMostSteps);
  }
  EXPECT_GT(step, 10);
}

TEST_F(Sweep, ADeathAtAnyStepOfADeletionLeavesWholeVersions) {
  {
    auto store = OpenStore(base_);
    Save(*store, Second());
  }
  int step = 1;
  for (;; ++step) {
    CopyStore(base_, path_);
    bool died = DiesAt(step, path_, [](Store& store) { (void)store.Delete("sim", 1); });
    SCOPED_TRACE("death at step " + std::to_string(step));
    auto store = OpenStore(path_);
    ExpectLoads(*store, 2, Second());
    auto versions = store->Versions("sim");
    if (versions.front() == 1) ExpectLoads(*store, 1, First());
    if (!died) {
      EXPECT_EQ(versions.size(), 1u);
    }
    for (uint64_t version : versions) ASSERT_TRUE(store->Delete("sim", version));
    EXPECT_EQ(PackCount(path_), 0u);
    if (!died || HasFatalFailure()) break;
    ASSERT_LT(step, kMostSteps);
  }
}

TEST_F(Sweep, ADeathAtAnyStepOfAnAdmissionLeavesTheCopyOrTheVersion) {
  {
    auto store = OpenStore(base_);
    CopyOut(*store, "sim", 1, dir_.path() + "/image");
    ASSERT_TRUE(store->Delete("sim", 1));
    CopyIn(*store, "sim", 1, dir_.path() + "/image");
  }
  int step = 1;
  for (;; ++step) {
    CopyStore(base_, path_);
    // Open admits what is complete.
    bool died = DiesAt(step, path_, [](Store&) {});
    SCOPED_TRACE("death at step " + std::to_string(step));
    auto store = OpenStore(path_);
    ExpectLoads(*store, 1, First());
    EXPECT_TRUE(store->IncomingVersions("sim").empty());
    EXPECT_EQ(PackCount(path_), 1u);
    if (!died || HasFatalFailure()) break;
    ASSERT_LT(step, kMostSteps);
  }
}

TEST_F(Sweep, AnErrorAtAnyStepOfACheckpointLeavesNothingOfIt) {
  for (int error : {ENOSPC, EIO}) {
    for (int step = 1;; ++step) {
      SCOPED_TRACE("error " + std::to_string(error) + " at step " + std::to_string(step));
      CopyStore(base_, path_);
      FailAt faults(step, FailAt::How::kErrno, error);
      auto store = Store::Open({.dir = path_, .node = "here", .faults = &faults},
                               Log(2, Log::Level::kError));
      if (store) {
        auto saved = TrySave(**store, Second());
        if (!saved && faults.reached()) {
          EXPECT_EQ(saved.error().code(), error == ENOSPC ? Errc::kNoSpace : Errc::kIo);
          EXPECT_FALSE(saved.error().message().empty());
          EXPECT_EQ((*store)->Versions("sim"), std::vector<uint64_t>{1});
          // An undoing that fails as well is finished at the next Open, below.
          VersionInfo next = Save(**store, Second());
          ExpectLoads(**store, next.version, Second());
          ASSERT_TRUE((*store)->Delete("sim", next.version));
          EXPECT_EQ(PackCount(path_), 1u);
        }
        store->reset();
      }
      auto again = OpenStore(path_);
      for (uint64_t version : again->Versions("sim"))
        ExpectLoads(*again, version, version == 1 ? First() : Second());
      EXPECT_EQ(PackCount(path_), again->Versions("sim").size());
      if (!faults.reached() || HasFatalFailure()) break;
      ASSERT_LT(step, kMostSteps);
    }
  }
}

}  // namespace
}  // namespace ckptfs
