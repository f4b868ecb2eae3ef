#include "base/process.h"

#include <gmock/gmock.h>
#include <grp.h>
#include <gtest/gtest.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <csignal>
#include <thread>

namespace ckptfs {
namespace {

// A forked process that has run `setup`, until this ends.
class Forked {
 public:
  template <typename Setup>
  explicit Forked(Setup setup) {
    auto ready = MakePipe();
    pid_ = ::fork();
    if (pid_ == 0) {
      setup();
      (void)!::write(ready->second.get(), "x", 1);
      ::pause();
      ::_exit(0);
    }
    char byte;
    EXPECT_EQ(::read(ready->first.get(), &byte, 1), 1);
  }
  ~Forked() { End(); }
  // Ended but not reaped.
  void MakeZombie() {
    ::kill(pid_, SIGKILL);
    siginfo_t info;
    ::waitid(P_PID, static_cast<id_t>(pid_), &info, WEXITED | WNOWAIT);
  }
  void End() {
    if (pid_ > 0) {
      ::kill(pid_, SIGKILL);
      ::waitpid(pid_, nullptr, 0);
    }
    pid_ = -1;
  }
  pid_t pid() const { return pid_; }

 private:
  pid_t pid_ = -1;
};

ProcessInfo Info(pid_t pid) {
  auto info = ReadProcess(pid);
  if (!info || !*info) {
    ADD_FAILURE() << "no process " << pid;
    return {};
  }
  return **info;
}

TEST(ReadProcess, TellsAboutOurselves) {
  ProcessInfo info = Info(::getpid());
  EXPECT_EQ(info.id.pid, ::getpid());
  EXPECT_GT(info.id.start_ticks, 0u);
  EXPECT_EQ(info.thread_group, ::getpid());
  EXPECT_EQ(info.parent, ::getppid());
  EXPECT_EQ(info.group, ::getpgrp());
  EXPECT_EQ(info.session, ::getsid(0));
  EXPECT_EQ(info.state, 'R');
  EXPECT_FALSE(info.kernel_thread);
  ASSERT_FALSE(info.ns_pids.empty());
  EXPECT_EQ(info.ns_pids.back(), ::getpid());
  uid_t uids[3];
  gid_t gids[3];
  ASSERT_EQ(::getresuid(&uids[0], &uids[1], &uids[2]), 0);
  ASSERT_EQ(::getresgid(&gids[0], &gids[1], &gids[2]), 0);
  EXPECT_EQ(info.credentials.real_uid, uids[0]);
  EXPECT_EQ(info.credentials.effective_uid, uids[1]);
  EXPECT_EQ(info.credentials.saved_uid, uids[2]);
  EXPECT_EQ(info.credentials.real_gid, gids[0]);
  EXPECT_EQ(info.credentials.effective_gid, gids[1]);
  EXPECT_EQ(info.credentials.saved_gid, gids[2]);
  std::vector<gid_t> groups(static_cast<size_t>(::getgroups(0, nullptr)));
  ASSERT_GE(::getgroups(static_cast<int>(groups.size()), groups.data()), 0);
  std::sort(groups.begin(), groups.end());
  EXPECT_EQ(info.credentials.groups, groups);
}

TEST(ReadProcess, TellsTheWholeCredentials) {
  if (::geteuid() != 0) GTEST_SKIP() << "only root can change users";
  Forked child([] {
    gid_t groups[] = {30, 10, 20};
    (void)!::setgroups(3, groups);
    (void)!::setresgid(101, 102, 103);
    (void)!::setresuid(201, 202, 203);
  });
  Credentials who = Info(child.pid()).credentials;
  Credentials expected{201, 202, 203, 202, 101, 102, 103, 102, {10, 20, 30}, 0};
  EXPECT_EQ(who, expected);
}

TEST(ReadProcess, AbsenceIsNoError) {
  Forked child([] {});
  pid_t pid = child.pid();
  child.End();
  for (pid_t absent : {pid, 0, -1, 1 << 30}) {
    auto info = ReadProcess(absent);
    ASSERT_TRUE(info) << absent;
    EXPECT_FALSE(*info) << absent;
  }
}

TEST(ReadProcess, AZombieIsThereButNotAlive) {
  Forked child([] {});
  ProcessId id = Info(child.pid()).id;
  EXPECT_TRUE(IsAlive(id));
  child.MakeZombie();
  EXPECT_EQ(Info(child.pid()).state, 'Z');
  EXPECT_FALSE(IsAlive(id));
  EXPECT_EQ(OpenPidfd(id).error().code(), Errc::kGone);
  child.End();
  EXPECT_FALSE(IsAlive(id));
}

TEST(ReadProcess, AThreadNamesItsGroup) {
  std::atomic<pid_t> tid{0};
  std::atomic<bool> stop{false};
  std::thread thread([&] {
    tid = static_cast<pid_t>(::syscall(SYS_gettid));
    while (!stop) std::this_thread::yield();
  });
  while (tid == 0) std::this_thread::yield();
  ProcessInfo info = Info(tid);
  EXPECT_EQ(info.id.pid, tid);
  EXPECT_EQ(info.thread_group, ::getpid());
  stop = true;
  thread.join();
}

// A process chooses its name; what it puts there must not be taken for other fields.
TEST(ReadProcess, OddNamesConfuseNothing) {
  for (const char* name :
       {"a) R 1 1 (b", ")", "(", "", " ", "x\nUid:\t0\t0", "\\n", ") Z 1 2 3", "\xff\xfe)"}) {
    Forked child([&] {
      if (::geteuid() == 0) (void)!::setresuid(4321, 4321, 4321);
      ::prctl(PR_SET_NAME, name);
    });
    ProcessInfo info = Info(child.pid());
    EXPECT_EQ(info.name, name);
    EXPECT_EQ(info.parent, ::getpid()) << name;
    EXPECT_EQ(info.thread_group, child.pid()) << name;
    EXPECT_NE(info.state, 'Z') << name;
    EXPECT_TRUE(IsAlive(info.id)) << name;
    EXPECT_EQ(info.credentials.real_uid, ::geteuid() == 0 ? 4321 : ::getuid()) << name;
  }
}

TEST(ReadTree, HasTheRootAndAllBelowParentsFirst) {
  auto pids = MakePipe();
  Forked root([&] {
    pid_t middle = ::fork();
    if (middle == 0) {
      pid_t leaf = ::fork();
      if (leaf != 0) (void)!::write(pids->second.get(), &leaf, sizeof leaf);
      ::pause();
    }
    (void)!::write(pids->second.get(), &middle, sizeof middle);
  });
  pid_t below[2];
  for (pid_t& pid : below)
    ASSERT_EQ(::read(pids->first.get(), &pid, sizeof pid), static_cast<ssize_t>(sizeof pid));
  auto tree = ReadTree(root.pid());
  ASSERT_TRUE(tree);
  std::vector<pid_t> found;
  for (const ProcessInfo& info : *tree) {
    if (!found.empty()) {
      EXPECT_THAT(found, testing::Contains(info.parent));
    }
    found.push_back(info.id.pid);
  }
  EXPECT_EQ(found.front(), root.pid());
  EXPECT_THAT(found, testing::UnorderedElementsAre(root.pid(), below[0], below[1]));
  for (pid_t pid : below) {
    EXPECT_TRUE(IsInTree(pid, root.pid()));
    EXPECT_TRUE(IsInTree(pid, ::getpid()));
    EXPECT_FALSE(IsInTree(root.pid(), pid));
  }
  EXPECT_TRUE(IsInTree(root.pid(), root.pid()));
  for (pid_t pid : below) ::kill(pid, SIGKILL);
}

TEST(ReadTree, OfAProcessThatIsNotThereIsGone) {
  EXPECT_EQ(ReadTree(1 << 30).error().code(), Errc::kGone);
  EXPECT_FALSE(IsInTree(1 << 30, ::getpid()));
}

TEST(OpenPidfd, IsForExactlyThatProcess) {
  Forked child([] {});
  ProcessId id = Info(child.pid()).id;
  EXPECT_TRUE(OpenPidfd(id));
  ++id.start_ticks;
  EXPECT_EQ(OpenPidfd(id).error().code(), Errc::kGone);
  EXPECT_FALSE(IsAlive(id));
  EXPECT_EQ(OpenPidfd({1 << 22, 1}).error().code(), Errc::kGone);
}

TEST(CgroupOf, IsAPathOrNothing) {
  EXPECT_THAT(CgroupOf(::getpid()), testing::AnyOf("", testing::StartsWith("/")));
  EXPECT_EQ(CgroupOf(1 << 30), "");
}

}  // namespace
}  // namespace ckptfs
