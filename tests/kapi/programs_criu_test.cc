// Programs as users have them: each goes on after a checkpoint, and again after
// it was stopped and restored.
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>

#include "kapi/exit_watch.h"
#include "tests/kapi/criu_test.h"

namespace ckptfs {
namespace {

// The first process below `pid` (or itself) with this name.
std::optional<ProcessInfo> FindBelow(pid_t pid, const std::string& name) {
  auto tree = ReadTree(pid);
  if (!tree) return std::nullopt;
  for (ProcessInfo& process : *tree)
    if (process.name == name) return std::move(process);
  return std::nullopt;
}

class CriuPrograms : public CriuTest {
 protected:
  // What became of a program that does not count any more.
  static std::string What(RunningProgram& program, const Counter& counter) {
    std::string text = *ReadFile(counter.path(), 4096);
    if (auto tree = ReadTree(program.pid()))
      for (const ProcessInfo& p : *tree)
        text += fmt::format("\n{} {} {}", p.id.pid, p.name, p.state);
    auto watch = ExitWatch::Open(program.unit().root);
    if (!watch) {
      int status = 0;
      if (::waitpid(program.pid(), &status, WNOHANG) > 0)
        text += ExitStatus::FromWait(status).Text();
    }
    return text;
  }
  // Checkpoint and go on; checkpoint and stop; restore; once more, as a clone.
  void SurvivesEverything(const UnitProcesses& unit, const Counter& counter) {
    ASSERT_TRUE(counter.GrowsFrom(0)) << *ReadFile(counter.path(), 4096);
    MemoryImage image;
    Save(unit, &image);
    if (HasFatalFailure()) return;
    ASSERT_TRUE(counter.GrowsFrom(counter.Value())) << *ReadFile(counter.path(), 4096);
    Save(unit, &image, false);
    if (HasFatalFailure()) return;
    UnitProcesses back;
    Restore(image, &back);
    if (HasFatalFailure()) return;
    RunningProgram restored(back);
    ASSERT_TRUE(counter.GrowsFrom(counter.Value())) << What(restored, counter);
    Save(restored.unit(), &image);
    if (HasFatalFailure()) return;
    restored.KillAll();
    UnitProcesses again;
    Restore(image, &again, Pids::kNewNamespace);
    if (HasFatalFailure()) return;
    RunningProgram clone(again);
    ASSERT_TRUE(counter.GrowsFrom(counter.Value())) << What(clone, counter);
    Save(clone.unit(), &image);
    ASSERT_TRUE(counter.GrowsFrom(counter.Value()));
  }
};

TEST_F(CriuPrograms, TwoHundredThreads) {
  Counter counter(work_ / "count");
  RunningProgram program({Program("threads"), counter.path(), "200"});
  SurvivesEverything(program.unit(), counter);
}

TEST_F(CriuPrograms, AllKindsOfState) {
  Counter counter(work_ / "count");
  RunningProgram program({Program("state"), counter.path()});
  SurvivesEverything(program.unit(), counter);
}

TEST_F(CriuPrograms, ShellWithAPipeline) {
  Counter counter(work_ / "count");
  RunningProgram program({"/bin/sh", "-c",
                          "while :; do echo line; done | "
                          "while read line; do n=$((n+1)); printf '%-20d\\n' $n 1<>" +
                              counter.path() + "; done"});
  SurvivesEverything(program.unit(), counter);
}

TEST_F(CriuPrograms, PythonWithThreads) {
  if (::access("/usr/bin/python3", X_OK) != 0) GTEST_SKIP() << "no /usr/bin/python3";
  Counter counter(work_ / "count");
  RunningProgram program({"/usr/bin/python3", "-c",
                          "import sys,threading,time,queue\n"
                          "q=queue.Queue(10)\n"
                          "def make():\n"
                          "  n=0\n"
                          "  while True: n+=1; q.put(n); time.sleep(.005)\n"
                          "threading.Thread(target=make,daemon=True).start()\n"
                          "f=open(sys.argv[1],'r+b',buffering=0)\n"
                          "while True:\n"
                          "  f.seek(0); f.write(b'%-20d\\n'%q.get())\n",
                          counter.path()});
  SurvivesEverything(program.unit(), counter);
}

TEST_F(CriuPrograms, UnderOurInit) {
  Counter counter(work_ / "count");
  RunningProgram program(
      {CKPTFS_BUILD_DIR "/ckptfs-init", "run", "--", Program("state"), counter.path()});
  SurvivesEverything(program.unit(), counter);
}

TEST_F(CriuPrograms, ChildOfASessionThatStaysBehind) {
  Counter counter(work_ / "count");
  RunningProgram shell({"/bin/sh", "-c", Program("count") + " " + counter.path() + " & wait"});
  ASSERT_TRUE(counter.GrowsFrom(0));
  auto child = FindBelow(shell.pid(), "count");
  ASSERT_TRUE(child.has_value());
  UnitProcesses unit{child->id, owner_, std::nullopt};
  SurvivesEverything(unit, counter);
}

TEST_F(CriuPrograms, LeaderOfASessionWithATerminal) {
  if (::access("/usr/bin/script", X_OK) != 0) GTEST_SKIP() << "no script(1)";
  Counter counter(work_ / "count");
  RunningProgram script(
      {"/usr/bin/script", "-qfc", "exec " + Program("count") + " " + counter.path(), "/dev/null"});
  ASSERT_TRUE(counter.GrowsFrom(0));
  auto child = FindBelow(script.pid(), "count");
  ASSERT_TRUE(child.has_value());
  EXPECT_NE(child->tty, 0);
  EXPECT_EQ(child->session, child->id.pid);
  SurvivesEverything({child->id, owner_, std::nullopt}, counter);
}

TEST_F(CriuPrograms, MemberOfASessionWithATerminal) {
  if (::access("/usr/bin/script", X_OK) != 0) GTEST_SKIP() << "no script(1)";
  Counter counter(work_ / "count");
  RunningProgram script(
      {"/usr/bin/script", "-qfc", Program("count") + " " + counter.path() + "; exit", "/dev/null"});
  ASSERT_TRUE(counter.GrowsFrom(0));
  auto child = FindBelow(script.pid(), "count");
  ASSERT_TRUE(child.has_value());
  EXPECT_NE(child->session, child->id.pid);
  SurvivesEverything({child->id, owner_, std::nullopt}, counter);
}

TEST_F(CriuPrograms, StoppedProcessStaysStopped) {
  Counter counter(work_ / "count");
  RunningProgram program({Program("count"), counter.path()});
  ASSERT_TRUE(counter.GrowsFrom(0));
  ASSERT_TRUE(checkpointer().Suspend(program.unit()).ok());
  ASSERT_TRUE(checkpointer().Suspend(program.unit()).ok());
  MemoryImage image;
  Save(program.unit(), &image);
  if (HasFatalFailure()) return;
  EXPECT_TRUE(Eventually([&] { return (*ReadProcess(program.pid()))->state == 'T'; }));
  Save(program.unit(), &image, false);
  if (HasFatalFailure()) return;
  UnitProcesses unit;
  Restore(image, &unit);
  if (HasFatalFailure()) return;
  RunningProgram restored(unit);
  EXPECT_TRUE(Eventually([&] { return (*ReadProcess(restored.pid()))->state == 'T'; }));
  long before = counter.Value();
  ASSERT_TRUE(checkpointer().Unsuspend(restored.unit()).ok());
  EXPECT_TRUE(counter.GrowsFrom(before));
}

TEST_F(CriuPrograms, SuspendLeavesWhatWasStoppedBefore) {
  RunningProgram program({"/bin/sh", "-c", "sleep 1000 & sleep 1001 & wait"});
  ASSERT_TRUE(Eventually([&] { return ReadTree(program.pid())->size() == 3; }));
  pid_t child = (*ReadTree(program.pid()))[1].id.pid;
  ASSERT_EQ(::kill(child, SIGSTOP), 0);
  ASSERT_TRUE(Eventually([&] { return (*ReadProcess(child))->state == 'T'; }));
  ASSERT_TRUE(checkpointer().Suspend(program.unit()).ok());
  EXPECT_EQ((*ReadProcess(program.pid()))->state, 'T');
  ASSERT_TRUE(checkpointer().Unsuspend(program.unit()).ok());
  EXPECT_TRUE(Eventually([&] { return (*ReadProcess(program.pid()))->state != 'T'; }));
  EXPECT_EQ((*ReadProcess(child))->state, 'T');
}

TEST_F(CriuPrograms, TracedProcessIsRefusedWithTheTracersName) {
  Counter counter(work_ / "count");
  RunningProgram program({Program("count"), counter.path()});
  ASSERT_TRUE(counter.GrowsFrom(0));
  ASSERT_EQ(::ptrace(PTRACE_SEIZE, program.pid(), nullptr, nullptr), 0);
  auto saving = checkpointer().Prepare(ToSave(program.unit()));
  ASSERT_FALSE(saving.ok());
  EXPECT_EQ(saving.error().code(), Errc::kBusy);
  EXPECT_NE(saving.error().message().find(fmt::format("(pid {})", ::getpid())), std::string::npos)
      << saving.error().Text();
  ASSERT_EQ(::kill(program.pid(), SIGKILL), 0);
  int status;
  while (::waitpid(program.pid(), &status, __WALL) < 0 && errno == EINTR) {
  }
}

TEST_F(CriuPrograms, ProcessThatHasEndedIsGone) {
  RunningProgram program({"/bin/true"});
  ASSERT_TRUE(Eventually([&] { return !program.alive(); }));
  auto saving = checkpointer().Prepare(ToSave(program.unit()));
  ASSERT_FALSE(saving.ok());
  EXPECT_EQ(saving.error().code(), Errc::kGone);
}

TEST_F(CriuPrograms, ListeningSocketIsKept) {
  if (::access("/usr/bin/python3", X_OK) != 0) GTEST_SKIP() << "no /usr/bin/python3";
  if (checkpointer().Probe().version < "4.2")
    GTEST_SKIP() << "criu before 4.2 cannot save network sockets on kernels from 6.16 on";
  Counter counter(work_ / "count");
  // Connects to itself again and again; one connection stays open over everything.
  RunningProgram program(
      {"/usr/bin/python3", "-c",
       "import socket,sys,time\n"
       "s=socket.socket(); s.setsockopt(socket.SOL_SOCKET,socket.SO_REUSEADDR,1); "
       "s.bind(('127.0.0.1',0)); s.listen(5)\n"
       "keep=socket.create_connection(s.getsockname()); other=s.accept()[0]\n"
       "f=open(sys.argv[1],'r+b',buffering=0); n=0\n"
       "while True:\n"
       "  a=socket.create_connection(s.getsockname()); b=s.accept()[0]\n"
       "  a.send(b'x'); assert b.recv(1)==b'x'; a.close(); b.close(); n+=1\n"
       "  f.seek(0); f.write(b'%-20d\\n'%n); time.sleep(.01)\n",
       counter.path()});
  SurvivesEverything(program.unit(), counter);
}

}  // namespace
}  // namespace ckptfs
