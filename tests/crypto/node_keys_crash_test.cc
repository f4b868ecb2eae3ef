// NodeKeys::Save, killed at each of its system calls, and with each of them failing: there is never
// a public key without its secret key, never half a file, and what was saved loads.
#include <gtest/gtest.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>

#include "tests/base/sanitizers.h"
#include "tests/base/temp_dir.h"
#include "tests/crypto/test_keys.h"

namespace ckptfs {
namespace {

Result<SecretBytes> NobodyToAsk() { return Fail(Errc::kInternal, "nobody to ask"); }

enum class Fault { kKill, kFail };

struct Outcome {
  bool reached = false;  // the child made that many system calls
  int exit_code = -1;    // 0: Save succeeded, 1: it failed; -1: killed
};

#ifdef __x86_64__
// At the begin of a system call: makes it none. False for the exit, which must not fail.
bool SkipCall(pid_t pid) {
  user_regs_struct registers{};
  ::ptrace(PTRACE_GETREGS, pid, nullptr, &registers);
  if (registers.orig_rax == SYS_exit_group) return false;
  registers.orig_rax = static_cast<unsigned long long>(-1);
  ::ptrace(PTRACE_SETREGS, pid, nullptr, &registers);
  return true;
}
// At its end.
void SetResult(pid_t pid, int64_t result) {
  user_regs_struct registers{};
  ::ptrace(PTRACE_GETREGS, pid, nullptr, &registers);
  registers.rax = static_cast<unsigned long long>(result);
  ::ptrace(PTRACE_SETREGS, pid, nullptr, &registers);
}
#else
bool SkipCall(pid_t) { return false; }
void SetResult(pid_t, int64_t) {}
#endif

// Saves in a traced child; its `nth` system call is where the fault happens.
Outcome SaveWithFault(const TempDir& source, const TempDir& dir, int nth, Fault fault) {
  pid_t pid = ::fork();
  if (pid == 0) {
    // Loaded here: secrets do not survive a fork.
    NodeKeys keys = Must(NodeKeys::Load(source.fd(), NobodyToAsk));
    ::ptrace(PTRACE_TRACEME, 0, nullptr, nullptr);
    ::raise(SIGSTOP);
    ::_exit(keys.Save(dir.fd(), std::nullopt) ? 0 : 1);
  }
  int status = 0;
  ::waitpid(pid, &status, 0);
  ::ptrace(PTRACE_SETOPTIONS, pid, nullptr, PTRACE_O_EXITKILL | PTRACE_O_TRACESYSGOOD);
  Outcome outcome;
  long signal_number = 0;
  for (int stop = 1;;) {  // odd: a call begins, even: it ends
    ::ptrace(PTRACE_SYSCALL, pid, nullptr, signal_number);
    ::waitpid(pid, &status, 0);
    if (WIFEXITED(status)) outcome.exit_code = WEXITSTATUS(status);
    if (WIFEXITED(status) || WIFSIGNALED(status)) return outcome;
    if (!WIFSTOPPED(status) || WSTOPSIG(status) != (SIGTRAP | 0x80)) {
      signal_number = WIFSTOPPED(status) ? WSTOPSIG(status) : 0;
      continue;
    }
    signal_number = 0;
    if (fault == Fault::kKill && stop == 2 * nth - 1) {
      outcome.reached = true;
      ::kill(pid, SIGKILL);
    }
    if (fault == Fault::kFail && stop == 2 * nth - 1) outcome.reached = SkipCall(pid);
    if (fault == Fault::kFail && stop == 2 * nth && outcome.reached) SetResult(pid, -EIO);
    ++stop;
  }
}

class SaveSweep : public testing::Test {
 protected:
  void SetUp() override {
    if (kSanitized) GTEST_SKIP() << "a sanitized program makes system calls of its own";
    ASSERT_TRUE(keys_.Save(source_.fd(), std::nullopt));
  }
  void ExpectLoads(const TempDir& dir, int nth) {
    auto loaded = NodeKeys::Load(dir.fd(), NobodyToAsk);
    ASSERT_TRUE(loaded) << nth << ": " << loaded.error().Text();
    EXPECT_EQ(loaded->public_key(), keys_.public_key());
    EXPECT_EQ(dir.Read("self.pub"), keys_.public_key().Format());
  }
  TempDir source_;
  NodeKeys keys_ = Must(NodeKeys::Generate("node-1"));
};

TEST_F(SaveSweep, KilledAnywhereItLeavesNoPublicKeyAlone) {
  int with_key = 0, nth = 1;
  for (;; ++nth) {
    TempDir dir;
    if (!SaveWithFault(source_, dir, nth, Fault::kKill).reached) break;
    if (dir.Has("self.pub")) {
      EXPECT_TRUE(dir.Has("self.key")) << nth;
    }
    if (dir.Has("self.key")) {
      ExpectLoads(dir, nth);
      ++with_key;
    } else {
      EXPECT_TRUE(keys_.Save(dir.fd(), std::nullopt)) << nth;
      ExpectLoads(dir, nth);
    }
  }
  EXPECT_GT(nth, 15);
  EXPECT_GT(with_key, 5);
  EXPECT_LT(with_key, nth - 5);
}

TEST_F(SaveSweep, AnyCallFailingLeavesAllOrNothing) {
#ifndef __x86_64__
  GTEST_SKIP() << "system calls are made to fail on x86-64 only";
#endif
  int failures = 0;
  for (int nth = 1;; ++nth) {
    TempDir dir;
    Outcome outcome = SaveWithFault(source_, dir, nth, Fault::kFail);
    if (!outcome.reached) break;
    EXPECT_EQ(dir.Has("self.pub"), dir.Has("self.key")) << nth;
    EXPECT_EQ(dir.Has("self.key"), outcome.exit_code == 0) << nth;
    if (outcome.exit_code == 0) ExpectLoads(dir, nth);
    failures += outcome.exit_code == 1;
  }
  EXPECT_GT(failures, 10);
}

}  // namespace
}  // namespace ckptfs
