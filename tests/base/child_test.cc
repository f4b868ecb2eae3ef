#include "base/child.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/capability.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <csignal>
#include <thread>

#include "tests/base/temp_dir.h"

namespace ckptfs {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;

struct Ran {
  std::string output;  // stdout and stderr
  ExitStatus status;
};

Ran RunToEnd(ChildOptions options) {
  auto made = MakePipe();
  auto [in, out] = std::move(*made);
  options.stdout_fd = options.stderr_fd = out.get();
  auto child = Child::Spawn(options);
  out.Reset();
  if (!child) {
    ADD_FAILURE() << child.error().Text();
    return {};
  }
  Ran ran;
  char chunk[4096];
  for (ssize_t n; (n = ::read(in.get(), chunk, sizeof chunk)) > 0;)
    ran.output.append(chunk, static_cast<size_t>(n));
  ran.status = *child->Wait();
  return ran;
}

ChildOptions Shell(const std::string& script) {
  ChildOptions options;
  options.argv = {"/bin/sh", "-c", script};
  return options;
}

// Every test leaves no child behind.
class ChildTest : public testing::Test {
 protected:
  void TearDown() override {
    EXPECT_EQ(::waitpid(-1, nullptr, WNOHANG), -1);
    EXPECT_EQ(errno, ECHILD);
  }
};

TEST_F(ChildTest, RunsAndTellsHowItEnded) {
  EXPECT_TRUE(RunToEnd(Shell("exit 0")).status.Success());
  Ran failed = RunToEnd(Shell("exit 3"));
  EXPECT_FALSE(failed.status.Success());
  EXPECT_EQ(failed.status.Text(), "exit 3");
  EXPECT_EQ(RunToEnd(Shell("kill -9 $$")).status.Text(), "killed by signal 9 (SIGKILL)");
}

TEST_F(ChildTest, AnExecThatFailsIsAnErrorWithItsErrno) {
  ChildOptions options;
  options.argv = {"/nonexistent/program"};
  auto child = Child::Spawn(options);
  ASSERT_FALSE(child);
  EXPECT_EQ(child.error().code(), Errc::kNotFound);
  EXPECT_THAT(child.error().message(), HasSubstr("/nonexistent/program: run"));
  options.argv = {"/etc/passwd"};
  EXPECT_EQ(Child::Spawn(options).error().code(), Errc::kAccess);
  options.argv = {};
  EXPECT_EQ(Child::Spawn(options).error().code(), Errc::kInternal);
}

TEST_F(ChildTest, AFolderThatIsNotThereIsAnError) {
  ChildOptions options = Shell("true");
  options.working_directory = "/nonexistent";
  auto child = Child::Spawn(options);
  ASSERT_FALSE(child);
  EXPECT_THAT(child.error().message(), HasSubstr("enter folder"));
}

TEST_F(ChildTest, StartsInItsFolderOrTheRoot) {
  EXPECT_EQ(RunToEnd(Shell("pwd")).output, "/\n");
  TempDir dir;
  ChildOptions options = Shell("pwd");
  options.working_directory = dir.path();
  EXPECT_EQ(RunToEnd(options).output, dir.path() + "\n");
}

TEST_F(ChildTest, HasOurEnvironmentOrTheOneItIsGiven) {
  ::setenv("CKPTFS_TEST", "ours", 1);
  EXPECT_EQ(RunToEnd(Shell("echo $CKPTFS_TEST")).output, "ours\n");
  ChildOptions options = Shell("echo $CKPTFS_TEST-$A");
  options.environment = {"A=theirs"};
  EXPECT_EQ(RunToEnd(options).output, "-theirs\n");
}

TEST_F(ChildTest, HasThePassedDescriptorsInOrderAndNoOthers) {
  auto stray = Open("/dev/null", O_RDONLY);
  int inherited = ::dup(stray->get());  // without O_CLOEXEC
  TempDir dir;
  dir.Write("three", "3");
  dir.Write("four", "4");
  auto three = Open(dir / "three", O_RDONLY), four = Open(dir / "four", O_RDONLY);
  ChildOptions options = Shell(
      "cat <&3; cat <&4; echo; set -- /proc/$$/fd/*; for fd; do printf ' %s' ${fd##*/}; done; "
      "echo");
  options.pass_fds = {three->get(), four->get()};
  std::string output = RunToEnd(options).output;
  EXPECT_THAT(output, testing::StartsWith("34\n 0 1 2 3 4"));
  for (int fd = 6; fd < 64; ++fd)
    EXPECT_THAT(output, testing::Not(HasSubstr(fmt::format(" {}\n", fd))));
  ::close(inherited);
}

TEST_F(ChildTest, DescriptorsThatAreInEachOthersPlacesArrive) {
  TempDir dir;
  dir.Write("a", "a");
  dir.Write("b", "b");
  auto a = Open(dir / "a", O_RDONLY), b = Open(dir / "b", O_RDONLY);
  int at_four = ::fcntl(a->get(), F_DUPFD_CLOEXEC, 4),
      at_three = ::fcntl(b->get(), F_DUPFD_CLOEXEC, 3);
  ChildOptions options = Shell("cat <&3; cat <&4; cat <&5");
  options.pass_fds = {at_four, at_three, at_three};
  // The same open file twice: the second cat finds it at its end.
  EXPECT_EQ(RunToEnd(options).output, "ab");
  ::close(at_four);
  ::close(at_three);
}

TEST_F(ChildTest, StandardInputIsEmptyUnlessGiven) {
  EXPECT_EQ(RunToEnd(Shell("cat; echo end")).output, "end\n");
}

TEST_F(ChildTest, IsTheLeaderOfASessionUnlessToldOtherwise) {
  const char* kSession = "read -r line < /proc/self/stat; set -- $line; test $6 = $$ && echo yes";
  EXPECT_EQ(RunToEnd(Shell(kSession)).output, "yes\n");
  ChildOptions options = Shell(kSession);
  options.new_session = false;
  EXPECT_EQ(RunToEnd(options).output, "");
}

TEST_F(ChildTest, HasDefaultSignalsWhateverOursAre) {
  auto old_pipe = std::signal(SIGPIPE, SIG_IGN);
  auto old_usr1 = std::signal(SIGUSR1, [](int) {});
  sigset_t blocked, before;
  ::sigemptyset(&blocked);
  ::sigaddset(&blocked, SIGTERM);
  ::pthread_sigmask(SIG_BLOCK, &blocked, &before);
  std::string status = RunToEnd(Shell("cat /proc/self/status")).output;
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  // Ours are as they were: the child reset its own table.
  EXPECT_EQ(std::signal(SIGPIPE, old_pipe), SIG_IGN);
  EXPECT_NE(std::signal(SIGUSR1, old_usr1), SIG_DFL);
  for (const char* set : {"SigBlk", "SigIgn", "SigCgt"})
    EXPECT_THAT(status, HasSubstr(fmt::format("{}:\t0000000000000000\n", set)));
}

TEST_F(ChildTest, RunsAsWhomItIsToldWithNothingMore) {
  if (::geteuid() != 0) GTEST_SKIP() << "only root can change users";
  ChildOptions options = Shell("grep -E '^(Uid|Gid|Groups|Cap(Prm|Eff|Amb))' /proc/self/status");
  options.credentials = ChildCredentials{1234, 2345, {3456, 7}, {}};
  std::string status = RunToEnd(options).output;
  EXPECT_THAT(status, HasSubstr("Uid:\t1234\t1234\t1234\t1234\n"));
  EXPECT_THAT(status, HasSubstr("Gid:\t2345\t2345\t2345\t2345\n"));
  EXPECT_THAT(status, HasSubstr("Groups:\t7 3456 \n"));
  for (const char* set : {"CapPrm", "CapEff", "CapAmb"})
    EXPECT_THAT(status, HasSubstr(fmt::format("{}:\t0000000000000000\n", set)));
  EXPECT_EQ(::geteuid(), 0u);
}

TEST_F(ChildTest, HasTheAmbientCapabilitiesItIsGiven) {
  if (::geteuid() != 0) GTEST_SKIP() << "only root can give capabilities";
  ChildOptions options = Shell("grep -E '^Cap(Prm|Eff|Amb|Inh)' /proc/self/status");
  options.credentials = ChildCredentials{1234, 2345, {}, {CAP_SETPCAP, CAP_CHECKPOINT_RESTORE}};
  std::string status = RunToEnd(options).output;
  for (const char* set : {"CapPrm", "CapEff", "CapAmb", "CapInh"})
    EXPECT_THAT(status, HasSubstr(fmt::format("{}:\t0000010000000100\n", set)));
}

TEST_F(ChildTest, AnotherUsersChildLeavesUsUndumpable) {
  if (::geteuid() != 0) GTEST_SKIP() << "only root can change users";
  ChildOptions options = Shell("true");
  options.credentials = ChildCredentials{1234, 2345, {}, {}};
  EXPECT_TRUE(RunToEnd(options).status.Success());
  EXPECT_EQ(::prctl(PR_GET_DUMPABLE), 0);
  ::prctl(PR_SET_DUMPABLE, 1);
}

TEST_F(ChildTest, EntersTheNamespacesOfAnother) {
  if (::geteuid() != 0) GTEST_SKIP() << "only root can make namespaces";
  // A holder in a UTS namespace of its own.
  ChildOptions holder_options;
  holder_options.argv = {"/usr/bin/unshare", "--uts", "/bin/sh", "-c",
                         "hostname inside-of-it; echo; cat"};
  if (::access(holder_options.argv[0].c_str(), X_OK) != 0) GTEST_SKIP() << "no unshare(1) here";
  auto ready = MakePipe(), hold = MakePipe();
  holder_options.stdout_fd = ready->second.get();
  holder_options.stdin_fd = hold->first.get();
  auto holder = Child::Spawn(holder_options);
  ASSERT_TRUE(holder);
  ready->second.Reset();
  char byte;
  if (::read(ready->first.get(), &byte, 1) == 1) {
    auto ns = Open(fmt::format("/proc/{}/ns/uts", holder->pid()), O_RDONLY);
    ASSERT_TRUE(ns);
    ChildOptions options = Shell("uname -n");
    options.enter_namespaces = {ns->get()};
    EXPECT_EQ(RunToEnd(options).output, "inside-of-it\n");
  }
  hold->second.Reset();
  hold->first.Reset();
}

TEST_F(ChildTest, WaitForTellsThatItStillRuns) {
  auto child = Child::Spawn(Shell("exec sleep 60"));
  ASSERT_TRUE(child);
  auto early = child->WaitFor(20ms);
  ASSERT_TRUE(early);
  EXPECT_FALSE(early->has_value());
  EXPECT_TRUE(child->running());
  ASSERT_TRUE(child->Signal(SIGTERM));
  auto late = child->WaitFor(10s);
  ASSERT_TRUE(late && late->has_value());
  EXPECT_EQ((*late)->Text(), "killed by signal 15 (SIGTERM)");
  EXPECT_FALSE(child->running());
  EXPECT_EQ(child->Wait().error().code(), Errc::kInternal);
  EXPECT_EQ(child->WaitFor(1ms).error().code(), Errc::kInternal);
  EXPECT_EQ(child->Signal(SIGTERM).error().code(), Errc::kGone);
}

TEST_F(ChildTest, MovingKeepsOneOwner) {
  auto first = Child::Spawn(Shell("exit 4"));
  Child second = std::move(*first);
  EXPECT_FALSE(first->running());
  EXPECT_EQ(second.Wait()->code, 4);
}

TEST_F(ChildTest, ADisownedChildIsLeftAlone) {
  auto child = Child::Spawn(Shell("exit 5"));
  pid_t pid = child->pid();
  child->Disown();
  EXPECT_FALSE(child->running());
  int status = 0;
  EXPECT_EQ(::waitpid(pid, &status, 0), pid);
  EXPECT_EQ(WEXITSTATUS(status), 5);
}

TEST_F(ChildTest, ManyThreadsStartChildrenWhileOthersAllocate) {
  std::atomic<bool> stop{false};
  std::thread allocator([&] {
    while (!stop) {
      auto block = std::make_unique<std::string>(100000, 'x');
      if (block->empty()) std::abort();
    }
  });
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([t] {
      for (int i = 0; i < 15; ++i)
        EXPECT_EQ(RunToEnd(Shell(fmt::format("echo {}-{}", t, i))).output,
                  fmt::format("{}-{}\n", t, i));
    });
  for (std::thread& thread : threads) thread.join();
  stop = true;
  allocator.join();
}

TEST_F(ChildTest, StartingOneLeaksNoDescriptor) {
  auto count = [] { return ListDir(Open("/proc/self/fd", O_RDONLY | O_DIRECTORY)->get())->size(); };
  size_t before = count();
  for (int i = 0; i < 3; ++i) {
    (void)RunToEnd(Shell("true"));
    ChildOptions wrong;
    wrong.argv = {"/nonexistent"};
    EXPECT_FALSE(Child::Spawn(wrong));
  }
  EXPECT_EQ(count(), before);
}

TEST_F(ChildTest, AdoptedZombiesAreReapedAndChildrenAreNot) {
  ASSERT_EQ(::prctl(PR_SET_CHILD_SUBREAPER, 1), 0);
  // The shell ends at once; its child, which prints its pid and ends when told, becomes ours.
  auto tell = MakePipe();
  ASSERT_TRUE(tell);
  auto output = MakePipe();
  ASSERT_TRUE(output);
  ChildOptions options = Shell("sh -c 'echo $$; read line' <&3 & exit 0");
  options.stdout_fd = output->second.get();
  options.pass_fds = {tell->first.get()};
  auto shell = Child::Spawn(options);
  ASSERT_TRUE(shell);
  char text[16] = {};
  ASSERT_GT(::read(output->first.get(), text, sizeof text - 1), 0);
  pid_t orphan = std::atoi(text);
  siginfo_t ended;
  ASSERT_EQ(::waitid(P_PID, static_cast<id_t>(shell->pid()), &ended, WEXITED | WNOWAIT), 0);
  tell->second.Reset();
  ASSERT_EQ(::waitid(P_PID, static_cast<id_t>(orphan), &ended, WEXITED | WNOWAIT), 0);
  ReapAdopted({orphan});
  EXPECT_EQ(::kill(orphan, 0), 0) << "it was to be spared";
  ReapAdopted({});
  EXPECT_NE(::kill(orphan, 0), 0) << "it is still there";
  auto status = shell->Wait();
  ASSERT_TRUE(status) << status.error().Text();
  EXPECT_TRUE(status->Success());
  ::prctl(PR_SET_CHILD_SUBREAPER, 0);
}

}  // namespace
}  // namespace ckptfs
