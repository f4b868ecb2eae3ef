#include "base/fd.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <thread>

#include "tests/base/temp_dir.h"

namespace ckptfs {
namespace {

bool IsOpen(int fd) { return ::fcntl(fd, F_GETFD) >= 0; }

TEST(Fd, ClosesWhenItEndsOrIsReplaced) {
  int number = -1;
  {
    auto fd = Open("/dev/null", O_RDONLY);
    ASSERT_TRUE(fd);
    number = fd->get();
    EXPECT_TRUE((::fcntl(number, F_GETFD) & FD_CLOEXEC) != 0);
    Fd moved = std::move(*fd);
    EXPECT_FALSE(fd->valid());
    EXPECT_TRUE(IsOpen(number));
    auto other = Open("/dev/zero", O_RDONLY);
    moved = std::move(*other);
    EXPECT_FALSE(IsOpen(number));
    number = moved.get();
  }
  EXPECT_FALSE(IsOpen(number));
}

TEST(Fd, ReleaseGivesItUpAndCloseReports) {
  auto fd = Open("/dev/null", O_RDONLY);
  int number = fd->Release();
  EXPECT_FALSE(fd->valid());
  EXPECT_TRUE(IsOpen(number));
  Fd again(number);
  EXPECT_TRUE(again.Close());
  EXPECT_TRUE(again.Close());  // nothing is open any more
  EXPECT_FALSE(IsOpen(number));
  EXPECT_FALSE(Fd(number).Close());
}

TEST(Open, SaysWhichFileIsMissing) {
  auto fd = Open("/nonexistent/x", O_RDONLY);
  ASSERT_FALSE(fd);
  EXPECT_EQ(fd.error().code(), Errc::kNotFound);
  EXPECT_THAT(fd.error().message(), testing::HasSubstr("/nonexistent/x"));
}

TEST(WriteAll, PassesEverythingThroughASlowPipe) {
  auto made = MakePipe();
  ASSERT_TRUE(made);
  auto [in, out] = std::move(*made);
  std::string sent(1 << 20, 'x'), received;
  std::thread reader([&, fd = in.get()] {
    char chunk[1000];
    for (ssize_t n; (n = ::read(fd, chunk, sizeof chunk)) > 0;)
      received.append(chunk, static_cast<size_t>(n));
  });
  EXPECT_TRUE(WriteAll(out.get(), AsBytes(sent)));
  out.Reset();
  reader.join();
  EXPECT_EQ(received, sent);
}

TEST(WriteAll, WritesAtAnOffset) {
  TempDir dir;
  dir.Write("f", "0123456789");
  auto fd = Open(dir / "f", O_RDWR);
  ASSERT_TRUE(WriteAll(fd->get(), AsBytes("ab"), 4));
  EXPECT_EQ(dir.Read("f"), "0123ab6789");
}

TEST(WriteAll, SaysNoSpaceWhenTheDiskIsFull) {
  auto full = Open("/dev/full", O_WRONLY);
  ASSERT_TRUE(full);
  EXPECT_EQ(WriteAll(full->get(), AsBytes("x")).error().code(), Errc::kNoSpace);
}

TEST(ReadExactly, RefusesAFileThatEndsEarly) {
  TempDir dir;
  dir.Write("f", "0123456789");
  auto fd = Open(dir / "f", O_RDONLY);
  std::vector<uint8_t> out(4);
  ASSERT_TRUE(ReadExactly(fd->get(), out, 6));
  EXPECT_EQ(AsText(out), "6789");
  EXPECT_EQ(ReadExactly(fd->get(), out, 7).error().code(), Errc::kCorrupt);
  ASSERT_TRUE(ReadExactly(fd->get(), out));
  EXPECT_EQ(AsText(out), "0123");
}

TEST(ReadFile, StopsAtItsLimit) {
  TempDir dir;
  dir.Write("f", std::string(20000, 'x'));
  EXPECT_EQ(ReadFile(dir / "f", 20000)->size(), 20000u);
  EXPECT_EQ(ReadFile(dir / "f", 19999).error().code(), Errc::kTooBig);
  EXPECT_EQ(ReadFileAt(dir.fd(), "f", 20000)->size(), 20000u);
}

TEST(ReadFile, WorksInProc) {
  EXPECT_THAT(*ReadFile("/proc/self/stat", 4096), testing::HasSubstr("("));
}

TEST(ReplaceFile, ReplacesAndLeavesNothingElse) {
  TempDir dir;
  for (std::string_view content : {"one", "two, longer", ""}) {
    ASSERT_TRUE(ReplaceFileAt(dir.fd(), "f", AsBytes(content), 0600));
    EXPECT_EQ(dir.Read("f"), content);
  }
  EXPECT_EQ(ListDir(dir.fd())->size(), 1u);
}

TEST(ReplaceFile, WorksByPathAndThroughAnOPathFolder) {
  TempDir dir;
  EXPECT_TRUE(ReplaceFileAt(kCwd, dir / "f", AsBytes("a"), 0600));
  EXPECT_EQ(dir.Read("f"), "a");
  auto folder = Open(dir.path(), O_PATH | O_DIRECTORY);
  EXPECT_TRUE(ReplaceFileAt(folder->get(), "f", AsBytes("b"), 0600));
  EXPECT_EQ(dir.Read("f"), "b");
}

TEST(ReplaceFile, AFailureLeavesTheOldFileAndNoTemporary) {
  TempDir dir;
  ASSERT_EQ(::mkdir((dir / "f").c_str(), 0700), 0);  // rename cannot replace a folder
  auto replaced = ReplaceFileAt(dir.fd(), "f", AsBytes("x"), 0600);
  ASSERT_FALSE(replaced);
  EXPECT_EQ(replaced.error().code(), Errc::kIsDirectory);
  EXPECT_THAT(*ListDir(dir.fd()), testing::ElementsAre("f"));
}

TEST(ListDir, NamesEverythingAgainAndAgain) {
  TempDir dir;
  for (const char* name : {"a", ".b", "c d"}) dir.Write(name, "");
  for (int i = 0; i < 2; ++i)
    EXPECT_THAT(*ListDir(dir.fd()), testing::UnorderedElementsAre("a", ".b", "c d"));
}

TEST(RemoveTree, RemovesAllAndFollowsNoSymlink) {
  TempDir dir, outside;
  outside.Write("precious", "x");
  ASSERT_EQ(::mkdir((dir / "t").c_str(), 0700), 0);
  ASSERT_EQ(::mkdir((dir / "t/sub").c_str(), 0700), 0);
  dir.Write("t/sub/file", "x");
  ASSERT_EQ(::symlink(outside.path().c_str(), (dir / "t/link").c_str()), 0);
  ASSERT_EQ(::symlink(outside.path().c_str(), (dir / "top").c_str()), 0);
  EXPECT_TRUE(RemoveTree(dir.fd(), "t"));
  EXPECT_TRUE(RemoveTree(dir.fd(), "top"));
  EXPECT_TRUE(RemoveTree(dir.fd(), "absent"));
  EXPECT_TRUE(ListDir(dir.fd())->empty());
  EXPECT_EQ(outside.Read("precious"), "x");
}

TEST(EnsureDir, AnExistingFolderIsSuccess) {
  TempDir dir;
  EXPECT_TRUE(EnsureDir(dir.fd(), "d", 0700));
  EXPECT_TRUE(EnsureDir(dir.fd(), "d", 0700));
  EXPECT_EQ(EnsureDir(dir.fd(), "x/y", 0700).error().code(), Errc::kNotFound);
}

}  // namespace
}  // namespace ckptfs
