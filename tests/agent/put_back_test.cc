// Files that a job writes are as they were saved when it is restarted.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/open_files.h"
#include "tests/agent/agent_test.h"

namespace ckptfs {
namespace {

using testing::HasSubstr;

class PutBackTest : public AgentTest {
 protected:
  void SetUp() override {
    AgentTest::SetUp();
    out_ = dir_ + "/out";
    Write(out_, "as it was\n");
    (*script_->files.Lock())["main"] = {out_};
    MakeJob("sim", {{"main", sleeper_.pid()}});
  }
  void Save(const char* command = "checkpoint stop") {
    auto done = Do("sim", Cmd(command));
    ASSERT_TRUE(done.ok()) << done.error().Text();
  }
  static void Write(const std::string& path, std::string_view text) {
    auto fd = Open(path, O_WRONLY | O_CREAT | O_TRUNC, 0640);
    ASSERT_TRUE(fd.ok());
    ASSERT_TRUE(WriteAll(fd->get(), AsBytes(text)));
  }
  static std::string Read(const std::string& path) {
    auto text = ReadFile(path, 1 << 24);
    return text ? *text : text.error().Text();
  }
  std::string out_;
  Sleeper sleeper_;
};

TEST_F(PutBackTest, AFileThatHasGrownIsKeptAsideAndPutBack) {
  struct stat before {
  }, after{};
  ::chmod(out_.c_str(), 0604);
  ASSERT_EQ(::chown(out_.c_str(), 77, 78), 0);
  ASSERT_EQ(::stat(out_.c_str(), &before), 0);
  Save();
  for (int i = 1; i <= 2; ++i) {
    Write(out_, fmt::format("more {}", i));
    auto restarted = Do("sim", Cmd("restart"));
    ASSERT_TRUE(restarted.ok()) << restarted.error().Text();
    EXPECT_EQ(Read(out_), "as it was\n");
    EXPECT_EQ(Read(fmt::format("{}.before-restart-{}", out_, i)), fmt::format("more {}", i));
    ASSERT_TRUE(Do("sim", Cmd("kill")));
  }
  ASSERT_EQ(::stat(out_.c_str(), &after), 0);
  EXPECT_EQ(after.st_mode, before.st_mode);
  EXPECT_EQ(after.st_uid, 77u);
  EXPECT_EQ(after.st_gid, 78u);
  EXPECT_EQ(after.st_mtim.tv_sec, before.st_mtim.tv_sec);
  EXPECT_THAT(Events(), HasSubstr("out put back; what was there is"));
}

TEST_F(PutBackTest, AFileThatIsTheSameIsLeftAlone) {
  struct stat before {
  }, after{};
  Save();
  ASSERT_EQ(::stat(out_.c_str(), &before), 0);
  ASSERT_TRUE(Do("sim", Cmd("restart")));
  ASSERT_EQ(::stat(out_.c_str(), &after), 0);
  EXPECT_EQ(before.st_ino, after.st_ino);
  EXPECT_NE(::access((out_ + ".before-restart-1").c_str(), F_OK), 0);
}

TEST_F(PutBackTest, ADeletedFileComesBack) {
  Save();
  ASSERT_EQ(::unlink(out_.c_str()), 0);
  ASSERT_TRUE(Do("sim", Cmd("restart")));
  EXPECT_EQ(Read(out_), "as it was\n");
}

// The daemon may write there; the job's owner may not.
TEST_F(PutBackTest, FilesArePutBackWithTheOwnersRightsAlone) {
  Caller user{.pid = 0, .uid = 4242, .gid = 4242};
  std::string folder = dir_ + "/roots", roots = folder + "/f";
  ASSERT_EQ(::chmod(dir_.c_str(), 0755), 0);
  ASSERT_EQ(::mkdir(folder.c_str(), 0755), 0);
  ASSERT_EQ(::chmod(folder.c_str(), 0755), 0);
  Write(roots, "as it was\n");
  (*script_->files.Lock())["main"] = {roots};
  Sleeper own({"/bin/sleep", "1000"}, ChildCredentials{.uid = 4242, .gid = 4242});
  ASSERT_TRUE(agent_->MakeJob("users", user));
  ASSERT_TRUE(agent_->Attach("users", "main", own.pid(), user));
  ASSERT_TRUE(Do("users", Cmd("checkpoint stop"), user));
  Write(roots, "root wrote this since\n");
  auto refused = Do("users", Cmd("restart"), user);
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code(), Errc::kAccess) << refused.error().Text();
  EXPECT_EQ(Read(roots), "root wrote this since\n");
  EXPECT_NE(::access((roots + ".before-restart-1").c_str(), F_OK), 0);
  EXPECT_FALSE(script_->Has("main:rebuild"));
}

TEST_F(PutBackTest, NoSymlinkIsFollowed) {
  Save();
  std::string real = dir_ + "/real";
  Write(real, "not to be touched");
  ASSERT_EQ(::unlink(out_.c_str()), 0);
  ASSERT_EQ(::symlink(real.c_str(), out_.c_str()), 0);
  auto refused = Do("sim", Cmd("restart"));
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code(), Errc::kAccess);
  EXPECT_THAT(refused.error().message(), HasSubstr("symlink"));
  EXPECT_EQ(Read(real), "not to be touched");
  EXPECT_FALSE(script_->Has("main:rebuild"));
}

TEST_F(PutBackTest, NoSymlinkAboveItIsFollowedEither) {
  std::string folder = dir_ + "/folder", elsewhere = dir_ + "/elsewhere";
  ASSERT_EQ(::mkdir(folder.c_str(), 0700), 0);
  ASSERT_EQ(::mkdir(elsewhere.c_str(), 0700), 0);
  Write(folder + "/f", "saved");
  (*script_->files.Lock())["main"] = {folder + "/f"};
  Save();
  ASSERT_EQ(::unlink((folder + "/f").c_str()), 0);
  ASSERT_EQ(::rmdir(folder.c_str()), 0);
  ASSERT_EQ(::symlink(elsewhere.c_str(), folder.c_str()), 0);
  auto refused = Do("sim", Cmd("restart"));
  ASSERT_FALSE(refused.ok());
  EXPECT_THAT(refused.error().message(), HasSubstr("symlink"));
  EXPECT_NE(::access((elsewhere + "/f").c_str(), F_OK), 0);
}

TEST_F(PutBackTest, ThePolicyMayKeepOrRefuse) {
  Save();
  Write(out_, "changed");
  SetPolicy("sim", "files fail\n");
  auto refused = Do("sim", Cmd("restart"));
  EXPECT_EQ(refused.error().code(), Errc::kExists);
  EXPECT_THAT(refused.error().message(), HasSubstr("has changed since it was saved"));
  SetPolicy("sim", "files keep\n");
  ASSERT_TRUE(Do("sim", Cmd("restart")));
  EXPECT_EQ(Read(out_), "changed");
}

TEST_F(PutBackTest, ACloneLeavesTheFilesOfTheLiveOriginalAlone) {
  Save("checkpoint");
  Write(out_, "the original goes on");
  ASSERT_TRUE(Do("sim", Cmd("restart clone")));
  EXPECT_EQ(Read(out_), "the original goes on");
}

TEST_F(PutBackTest, AFileAboveTheLimitIsLeftOutWithAWarning) {
  SetPolicy("sim", "files_limit 4\n");
  Save();
  EXPECT_THAT(UnitOf("sim").warning, HasSubstr("is not saved: it has 10 bytes"));
  Write(out_, "changed");
  ASSERT_TRUE(Do("sim", Cmd("restart")));
  EXPECT_EQ(Read(out_), "changed");
}

TEST_F(PutBackTest, LargeFilesComeBackWhole) {
  std::string large(3 << 20, 'x');
  for (size_t i = 0; i < large.size(); i += 1000) large[i] = static_cast<char>(i / 1000);
  Write(out_, large);
  Save();
  Write(out_, "x");
  ASSERT_TRUE(Do("sim", Cmd("restart")));
  EXPECT_TRUE(Read(out_) == large);
}

TEST(SavedFilesList, RoundTripsAndIsBounded) {
  SavedFiles list;
  list.suspended = true;
  list.files.push_back({.path = "/a/b",
                        .saved = true,
                        .stream = 3,
                        .mode = 0644,
                        .uid = 1,
                        .gid = 2,
                        .size_bytes = 5,
                        .mtime_seconds = -6,
                        .mtime_nanoseconds = 7});
  list.files.push_back({.path = "/c"});
  std::string bytes = FormatSavedFiles(list);
  auto again = ParseSavedFiles(bytes);
  ASSERT_TRUE(again.ok()) << again.error().Text();
  EXPECT_EQ(FormatSavedFiles(*again), bytes);
  EXPECT_EQ(again->files[0].mtime_seconds, -6);
  for (size_t cut = 0; cut < bytes.size(); ++cut)
    EXPECT_FALSE(ParseSavedFiles(bytes.substr(0, cut)).ok()) << cut;
  EXPECT_FALSE(ParseSavedFiles(bytes + "x").ok());
  for (const char* path : {"", "/", "a", "/a/", "//a", "/./a", "/a/..", "/../etc", "/a//b"}) {
    list.files[1].path = path;
    EXPECT_FALSE(ParseSavedFiles(FormatSavedFiles(list)).ok()) << path;
  }
  list.files[1].path = "/a/b";
  EXPECT_FALSE(ParseSavedFiles(FormatSavedFiles(list)).ok()) << "twice the same";
  list.files[1].path = "/c";
  list.files[1].mode = 04755;
  EXPECT_FALSE(ParseSavedFiles(FormatSavedFiles(list)).ok()) << "set-user-id";
}

}  // namespace
}  // namespace ckptfs
