#include "crypto/secret_bytes.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/capability.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>
#include <type_traits>
#include <vector>

#include "base/fd.h"
#include "tests/base/sanitizers.h"
#include "tests/crypto/test_keys.h"

namespace ckptfs {
namespace {

static_assert(!std::is_copy_constructible_v<SecretBytes>);
static_assert(!std::is_copy_assignable_v<SecretBytes>);
static_assert(!fmt::is_formattable<SecretBytes>::value);

// What `body` returns, run in a forked child.
template <typename Body>
int ExitOfFork(Body body) {
  pid_t pid = ::fork();
  if (pid == 0) ::_exit(body());
  int status = 0;
  ::waitpid(pid, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

// The VmFlags of the mapping that holds `address`, " rd wr … " with spaces around.
std::string FlagsOf(const void* address) {
  std::ifstream smaps("/proc/self/smaps");
  bool inside = false;
  for (std::string line; std::getline(smaps, line);) {
    unsigned long first = 0, end = 0;
    if (std::sscanf(line.c_str(), "%lx-%lx ", &first, &end) == 2)
      inside = reinterpret_cast<unsigned long>(address) - first < end - first;
    else if (inside && line.starts_with("VmFlags:"))
      return line.substr(8) + " ";
  }
  return "";
}

TEST(SecretBytes, TwoRandomOnesDiffer) {
  SecretBytes one = Must(SecretBytes::Random(32)), two = Must(SecretBytes::Random(32));
  EXPECT_NE(ToHex(one.bytes()), ToHex(two.bytes()));
}

TEST(SecretBytes, CopyHoldsTheBytesWhateverTheirNumber) {
  for (size_t size : {size_t{0}, size_t{1}, size_t{15}, size_t{4095}, size_t{4096}, size_t{9999}}) {
    std::vector<uint8_t> bytes(size, 7);
    SecretBytes copy = Must(SecretBytes::Copy(bytes));
    EXPECT_EQ(copy.size_bytes(), size);
    EXPECT_TRUE(std::equal(bytes.begin(), bytes.end(), copy.bytes().begin()));
  }
}

TEST(SecretBytes, MovingLeavesNothingBehind) {
  SecretBytes one = Must(SecretBytes::Copy(AsBytes("secret")));
  SecretBytes two(std::move(one));
  EXPECT_EQ(one.size_bytes(), 0u);
  EXPECT_EQ(AsText(two.bytes()), "secret");
  SecretBytes three = Must(SecretBytes::Random(100));
  three = std::move(two);
  EXPECT_EQ(two.bytes().data(), nullptr);
  EXPECT_EQ(AsText(three.bytes()), "secret");
}

TEST(SecretBytes, IsLockedLeftOutOfDumpsAndWipedInForks) {
  if (kSanitized) GTEST_SKIP() << "sanitizers make mlock do nothing";
  SecretBytes secret = Must(SecretBytes::Random(32));
  std::string flags = FlagsOf(secret.bytes().data());
  EXPECT_THAT(flags, testing::HasSubstr(" lo "));
  EXPECT_THAT(flags, testing::HasSubstr(" dd "));
  EXPECT_THAT(flags, testing::HasSubstr(" wf "));
}

TEST(SecretBytes, AForkSeesZeros) {
  SecretBytes secret = Must(SecretBytes::Copy(AsBytes("secret")));
  EXPECT_EQ(ExitOfFork([&] { return AllZero(secret.bytes()) ? 0 : 1; }), 0);
  EXPECT_EQ(AsText(secret.bytes()), "secret");
}

TEST(SecretBytes, FreeingUnmapsIt) {
  const uint8_t* where = nullptr;
  {
    SecretBytes secret = Must(SecretBytes::Random(5000));
    where = secret.bytes().data();
  }
  EXPECT_EQ(FlagsOf(where), "");
}

TEST(SecretBytesDeathTest, ReadingPastItFaults) {
  SecretBytes secret = Must(SecretBytes::Random(32));
  const volatile uint8_t* data = secret.bytes().data();
  EXPECT_DEATH((void)data[32], "");
}

TEST(SecretBytes, IsRefusedWhenNoMemoryCanBeLocked) {
  if (kSanitized) GTEST_SKIP() << "sanitizers make mlock do nothing";
  EXPECT_EQ(ExitOfFork([] {
              __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
              __user_cap_data_struct none[2] = {};
              ::syscall(SYS_capset, &header, none);  // CAP_IPC_LOCK stands above the limit
              rlimit limit{0, 0};
              ::setrlimit(RLIMIT_MEMLOCK, &limit);
              auto secret = SecretBytes::Random(32);
              return !secret && secret.error().code() == Errc::kNoMemory &&
                             secret.error().remedy().find("ulimit -l") != std::string::npos
                         ? 0
                         : 1;
            }),
            0);
}

TEST(ForbidCoreDumps, LeavesNoDumpAndKeepsTheHardLimit) {
  EXPECT_EQ(ExitOfFork([] {
              rlimit before{}, after{};
              ::getrlimit(RLIMIT_CORE, &before);
              if (!ForbidCoreDumps() || !ForbidCoreDumps()) return 1;
              ::getrlimit(RLIMIT_CORE, &after);
              if (after.rlim_cur != 0 || after.rlim_max != before.rlim_max) return 2;
              return ::prctl(PR_GET_DUMPABLE) == 0 ? 0 : 3;
            }),
            0);
}

TEST(InitCrypto, CanBeCalledAgain) {
  EXPECT_TRUE(InitCrypto());
  EXPECT_TRUE(InitCrypto());
}

}  // namespace
}  // namespace ckptfs
