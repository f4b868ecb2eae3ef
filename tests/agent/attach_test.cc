// What may become a unit, and the words for what may not.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <filesystem>
#include <thread>

#include "tests/agent/agent_test.h"

namespace ckptfs {
namespace {

using testing::HasSubstr;

class AttachTest : public AgentTest {
 protected:
  void SetUp() override {
    AgentTest::SetUp();
    ASSERT_TRUE(agent_->MakeJob("sim", {}));
  }
  Error Refused(pid_t pid, Caller caller = {}, const std::string& job = "sim") {
    auto attached = agent_->Attach(job, "main", pid, caller);
    EXPECT_FALSE(attached.ok());
    return attached ? Fail(Errc::kInternal, "was not refused") : attached.error();
  }
};

TEST_F(AttachTest, ATreeBecomesTheUnit) {
  Sleeper sleeper({"/bin/sh", "-c", "sleep 1000 & wait"});
  ASSERT_TRUE(Eventually([&] { return ReadTree(sleeper.pid())->size() == 2; }));
  ASSERT_TRUE(agent_->Attach("sim", "main", sleeper.pid(), {}));
  UnitStatus unit = UnitOf("sim");
  EXPECT_EQ(unit.state, JobState::kRunning);
  EXPECT_EQ(unit.root, sleeper.pid());
  EXPECT_EQ(unit.processes.size(), 2u);
  EXPECT_EQ(unit.checkpointer, "auto");
  EXPECT_EQ(unit.uses, "scripted");
  EXPECT_THAT(Events(), HasSubstr("sim unit main attached pid="));
}

TEST_F(AttachTest, NoProcess) {
  EXPECT_EQ(Refused(0).code(), Errc::kInvalid);
  EXPECT_THAT(Refused(-5).message(), HasSubstr("-5 is no pid"));
  Error none = Refused(1 << 22);
  EXPECT_EQ(none.code(), Errc::kGone);
  EXPECT_THAT(none.message(), HasSubstr("no process has the pid"));
}

TEST_F(AttachTest, AThread) {
  std::promise<pid_t> tid;
  std::promise<void> go;
  std::thread thread([&] {
    tid.set_value(static_cast<pid_t>(::syscall(SYS_gettid)));
    go.get_future().wait();
  });
  Error refused = Refused(tid.get_future().get());
  go.set_value();
  thread.join();
  EXPECT_EQ(refused.code(), Errc::kInvalid);
  EXPECT_THAT(refused.message(), HasSubstr(fmt::format("is a thread of {}", ::getpid())));
  EXPECT_EQ(refused.remedy(), fmt::format("write {}", ::getpid()));
}

TEST_F(AttachTest, TheKernelsOwn) {
  if (auto info = ReadProcess(2); !info || !*info || !(*info)->kernel_thread)
    GTEST_SKIP() << "pid 2 is no kernel thread in this pid namespace";
  EXPECT_THAT(Refused(2).message(), HasSubstr("is a thread of the kernel"));
}

TEST_F(AttachTest, InitTheDaemonAndItsAncestors) {
  EXPECT_THAT(Refused(1).message(), HasSubstr("pid 1 is the init"));
  EXPECT_THAT(Refused(::getpid()).message(), HasSubstr("is the ckptfs daemon itself"));
  if (::getppid() > 1) {
    EXPECT_THAT(Refused(::getppid()).message(), HasSubstr("is an ancestor of the ckptfs daemon"));
  }
}

TEST_F(AttachTest, AZombie) {
  auto child = Child::Spawn({.argv = {"/bin/true"}});
  while ((*ReadProcess(child->pid()))->state != 'Z') std::this_thread::yield();
  Error refused = Refused(child->pid());
  EXPECT_EQ(refused.code(), Errc::kGone);
  EXPECT_THAT(refused.message(), HasSubstr("has ended"));
}

TEST_F(AttachTest, AnotherUnitsProcess) {
  Sleeper sleeper({"/bin/sh", "-c", "sleep 1000 & wait"});
  ASSERT_TRUE(Eventually([&] { return ReadTree(sleeper.pid())->size() == 2; }));
  pid_t child = (*ReadTree(sleeper.pid()))[1].id.pid;
  MakeJob("other", {{"main", sleeper.pid()}});
  for (pid_t pid : {sleeper.pid(), child}) {
    Error refused = Refused(pid);
    EXPECT_EQ(refused.code(), Errc::kBusy);
    EXPECT_THAT(refused.message(), HasSubstr("overlap with a unit of another job"));
  }
  // The other way round: a unit inside of what is attached.
  ASSERT_TRUE(agent_->ForgetJob("other", {}));
  MakeJob("inner", {{"main", child}});
  EXPECT_EQ(Refused(sleeper.pid()).code(), Errc::kBusy);
  EXPECT_EQ(UnitOf("sim").state, JobState::kEmpty);
}

TEST_F(AttachTest, AUnitThatLives) {
  Sleeper sleeper, second;
  ASSERT_TRUE(agent_->Attach("sim", "main", sleeper.pid(), {}));
  Error refused = Refused(second.pid());
  EXPECT_EQ(refused.code(), Errc::kBusy);
  EXPECT_THAT(refused.message(), HasSubstr(fmt::format("has the live process {}", sleeper.pid())));
  sleeper.Kill();
  EXPECT_TRUE(agent_->Attach("sim", "main", second.pid(), {}).ok());
}

TEST_F(AttachTest, SomeoneElsesProcess) {
  Caller user{.pid = 0, .uid = 4242, .gid = 4242};
  ASSERT_TRUE(agent_->MakeJob("users", user));
  Sleeper roots;
  Error refused = Refused(roots.pid(), user, "users");
  EXPECT_EQ(refused.code(), Errc::kNotYours);
  // Root gets no further with a job that is not root's.
  EXPECT_EQ(Refused(roots.pid(), {}, "users").code(), Errc::kNotYours);
  Sleeper half({"/bin/sleep", "1000"}, ChildCredentials{.uid = 4242, .gid = 0});
  EXPECT_THAT(Refused(half.pid(), user, "users").message(), HasSubstr("gid 0"));
  Sleeper grouped({"/bin/sleep", "1000"},
                  ChildCredentials{.uid = 4242, .gid = 4242, .groups = {7}});
  EXPECT_THAT(Refused(grouped.pid(), user, "users").message(), HasSubstr("group 7"));
  Sleeper capable({"/bin/sleep", "1000"},
                  ChildCredentials{.uid = 4242, .gid = 4242, .ambient_capabilities = {8}});
  EXPECT_THAT(Refused(capable.pid(), user, "users").message(), HasSubstr("CAP_SETPCAP"));
  Sleeper own({"/bin/sleep", "1000"}, ChildCredentials{.uid = 4242, .gid = 4242});
  auto attached = agent_->Attach("users", "main", own.pid(), user);
  EXPECT_TRUE(attached.ok()) << attached.error().Text();
}

TEST_F(AttachTest, KinOutsideOfTheTreeIsNamed) {
  // A daemon's way: the grandchild stays in the session and leaves the tree.
  Sleeper sleeper({"/bin/sh", "-c", "(sleep 999 & ); exec sleep 1000"});
  ASSERT_TRUE(Eventually([&] { return (*ReadProcess(sleeper.pid()))->name == "sleep"; }));
  std::vector<pid_t> outside;
  auto everyone = ReadTree(1);
  for (const ProcessInfo& info : *everyone)
    if (info.session == sleeper.pid() && info.id.pid != sleeper.pid() &&
        info.parent != sleeper.pid())
      outside.push_back(info.id.pid);
  if (outside.empty()) GTEST_SKIP() << "the shell's child was not re-parented";
  ASSERT_TRUE(agent_->Attach("sim", "main", sleeper.pid(), {}));
  EXPECT_THAT(UnitOf("sim").warning, HasSubstr(fmt::format("({})", outside[0])));
  for (pid_t pid : outside) ::kill(pid, SIGKILL);
}

// A program that its owner may run, and that has root's rights once it runs.
TEST_F(AttachTest, RightsGainedSinceTheAttachStopTheNextCheckpoint) {
  std::string folder = dir_ + "/setuid", go = folder + "/go", program = folder + "/sleep";
  ASSERT_EQ(::chmod(dir_.c_str(), 0755), 0);
  ASSERT_EQ(::mkdir(folder.c_str(), 0755), 0);
  ASSERT_EQ(::chmod(folder.c_str(), 0755), 0);
  std::filesystem::copy_file("/bin/sleep", program);
  ASSERT_EQ(::chmod(program.c_str(), 04755), 0);
  ASSERT_EQ(::mkfifo(go.c_str(), 0600), 0);
  ASSERT_EQ(::chown(go.c_str(), 4242, 4242), 0);
  Caller user{.pid = 0, .uid = 4242, .gid = 4242};
  ASSERT_TRUE(agent_->MakeJob("users", user));
  Sleeper own({"/bin/sh", "-c", fmt::format("read x <{}; exec {} 1000", go, program)},
              ChildCredentials{.uid = 4242, .gid = 4242});
  ASSERT_TRUE(agent_->Attach("users", "main", own.pid(), user));
  ASSERT_TRUE(Do("users", Cmd("checkpoint"), user));
  auto fifo = Open(go, O_WRONLY);
  ASSERT_TRUE(fifo);
  ASSERT_TRUE(WriteAll(fifo->get(), AsBytes("\n")));
  auto changed = [&] {
    auto now = ReadProcess(own.pid());
    return now && *now && (*now)->name == "sleep";
  };
  ASSERT_TRUE(Eventually(changed));
  if ((*ReadProcess(own.pid()))->credentials.effective_uid != 0)
    GTEST_SKIP() << "setuid programs have no effect here (mounted nosuid)";
  auto refused = Do("users", Cmd("checkpoint"), user);
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code(), Errc::kNotYours) << refused.error().Text();
  EXPECT_EQ(store_->Versions("users").size(), 1u);
}

TEST_F(AttachTest, AProcessThatEndedIsGoneAtTheNextCheckpoint) {
  Caller user{.pid = 0, .uid = 4242, .gid = 4242};
  ASSERT_TRUE(agent_->MakeJob("users", user));
  Sleeper own({"/bin/sh", "-c", "exec sleep 1000"}, ChildCredentials{.uid = 4242, .gid = 4242});
  ASSERT_TRUE(agent_->Attach("users", "main", own.pid(), user));
  own.Kill();
  auto gone = Do("users", Cmd("checkpoint"), user);
  ASSERT_FALSE(gone.ok());
  EXPECT_EQ(gone.error().code(), Errc::kGone);
}

TEST_F(AttachTest, TheCheckpointerIsChosenByName) {
  EXPECT_EQ(agent_->SetCheckpointer("sim", "main", "nosuch", {}).error().code(), Errc::kInvalid);
  EXPECT_EQ(agent_->SetCheckpointer("sim", "nosuch", "auto", {}).error().code(), Errc::kNotFound);
  EXPECT_TRUE(agent_->SetCheckpointer("sim", "main", "scripted", {}).ok());
  EXPECT_EQ(UnitOf("sim").checkpointer, "scripted");
  EXPECT_EQ(agent_->Checkpointers().at(0).name, "scripted");
  EXPECT_TRUE(agent_->Checkpointers().at(0).availability.available);
}

}  // namespace
}  // namespace ckptfs
