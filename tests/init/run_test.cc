// The init of a unit's tree, as the program that it is.
#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include "base/child.h"
#include "base/process.h"
#include "tests/base/eventually.h"

namespace ckptfs {
namespace {

class InitRun : public testing::Test {
 protected:
  Child Start(std::vector<std::string> arguments, ChildOptions options = {}) {
    options.argv = {CKPTFS_BUILD_DIR "/ckptfs-init", "run", "--"};
    options.argv.insert(options.argv.end(), arguments.begin(), arguments.end());
    auto child = Child::Spawn(options);
    EXPECT_TRUE(child.ok());
    return std::move(*child);
  }
  // Blocks until the program has closed the pipe.
  static std::string ReadToEnd(int fd) {
    std::string text;
    char chunk[256];
    for (ssize_t n; (n = ::read(fd, chunk, sizeof chunk)) > 0;)
      text.append(chunk, static_cast<size_t>(n));
    return text;
  }
  static bool GetsName(pid_t pid, const std::string& name) {
    return Eventually([&] {
      auto info = ReadProcess(pid);
      return info && *info && (*info)->name == name;
    });
  }
};

TEST_F(InitRun, KeepsTheExitStatusUntilItIsTold) {
  Child init = Start({"/bin/sh", "-c", "exit 3"});
  ASSERT_TRUE(GetsName(init.pid(), "ckpt:exit=3"));
  ASSERT_TRUE(init.Signal(SIGTERM).ok());
  auto status = init.Wait();
  ASSERT_TRUE(status.ok());
  EXPECT_EQ(status->Text(), "exit 3");
}

TEST_F(InitRun, EndsByTheSignalThatEndedTheProgram) {
  Child init = Start({"/bin/sh", "-c", "kill -9 $$"});
  ASSERT_TRUE(GetsName(init.pid(), "ckpt:sig=9"));
  ASSERT_TRUE(init.Signal(SIGTERM).ok());
  auto status = init.Wait();
  ASSERT_TRUE(status.ok());
  EXPECT_TRUE(status->signalled);
  EXPECT_EQ(status->code, SIGKILL);
}

TEST_F(InitRun, PassesSignalsOn) {
  auto pipe = MakePipe();
  ChildOptions options;
  options.stdout_fd = pipe->second.get();
  Child init = Start(
      {"/bin/sh", "-c", "trap 'exit 5' TERM; echo ready; while :; do sleep 0.01; done"}, options);
  pipe->second.Reset();
  char ready[6];
  ASSERT_EQ(::read(pipe->first.get(), ready, sizeof ready), 6);
  ASSERT_TRUE(init.Signal(SIGTERM).ok());
  ASSERT_TRUE(GetsName(init.pid(), "ckpt:exit=5"));
  ASSERT_TRUE(init.Signal(SIGTERM).ok());
  EXPECT_EQ(init.Wait()->Text(), "exit 5");
}

TEST_F(InitRun, WaitsForWhatTheProgramLeftBehind) {
  auto pipe = MakePipe();
  ChildOptions options;
  options.stdin_fd = pipe->first.get();
  // A daemon of the old kind: twice forked, in a session of its own.
  Child init = Start({"/bin/sh", "-c", "exec 3<&0; (setsid sh -c 'read x; exit 0' <&3 &) ; exit 0"},
                     options);
  pipe->first.Reset();
  // The program has ended; the daemon is a child of init's now.
  ASSERT_TRUE(Eventually([&] {
    auto tree = ReadTree(init.pid());
    return tree && tree->size() == 2 && (*tree)[1].session == (*tree)[1].id.pid;
  }));
  EXPECT_EQ((*ReadProcess(init.pid()))->name, "ckptfs-init");
  pipe->second.Reset();
  ASSERT_TRUE(GetsName(init.pid(), "ckpt:exit=0"));
  ASSERT_TRUE(init.Signal(SIGTERM).ok());
  EXPECT_EQ(init.Wait()->Text(), "exit 0");
}

TEST_F(InitRun, ReaderOfTheOutputSeesItsEnd) {
  auto pipe = MakePipe();
  ChildOptions options;
  options.stdout_fd = pipe->second.get();
  Child init = Start({"/bin/echo", "words"}, options);
  pipe->second.Reset();
  EXPECT_EQ(ReadToEnd(pipe->first.get()), "words\n");
  ASSERT_TRUE(GetsName(init.pid(), "ckpt:exit=0"));
  ASSERT_TRUE(init.Signal(SIGTERM).ok());
}

TEST_F(InitRun, ProgramThatCannotBeRunIsSaidAtOnce) {
  for (auto [program, code] : {std::pair{"/does/not/exist", 127}, {"/etc/passwd", 126}}) {
    auto pipe = MakePipe();
    ChildOptions options;
    options.stderr_fd = pipe->second.get();
    Child init = Start({program}, options);
    pipe->second.Reset();
    EXPECT_NE(ReadToEnd(pipe->first.get()).find(program), std::string::npos);
    EXPECT_EQ(init.Wait()->code, code);
  }
}

TEST_F(InitRun, StrayDescriptorsAreClosed) {
  auto pipe = MakePipe();
  auto out = MakePipe();
  ChildOptions options;
  options.stdout_fd = out->second.get();
  options.pass_fds = {pipe->first.get()};
  options.pass_fds.push_back(pipe->second.get());
  Child init = Start({"/bin/ls", "/proc/self/fd"}, options);
  out->second.Reset();
  // 3 is the folder that ls itself reads; 3 and 4 were passed to init.
  EXPECT_EQ(ReadToEnd(out->first.get()), "0\n1\n2\n3\n");
  ASSERT_TRUE(GetsName(init.pid(), "ckpt:exit=0"));
  ASSERT_TRUE(init.Signal(SIGTERM).ok());
}

}  // namespace
}  // namespace ckptfs
