// Commands of a job over all its units: what each does, in which order, and what
// is left when it fails.
#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <thread>

#include "agent/command_table.h"
#include "agent/job_restarter.h"
#include "kapi/needs.h"
#include "tests/agent/agent_test.h"

namespace ckptfs {
namespace {

using CommandsTest = AgentTest;

// Holds one phase of one unit until let go; says when it was reached.
class Held {
 public:
  Held(Script& script, std::string phase, std::string unit) : phase_(phase), unit_(unit) {
    script.Set([this](std::string_view at, std::string_view who) -> Result<void> {
      if (at != phase_ || who != unit_) return {};
      if (!said_.exchange(true)) reached_.set_value();
      go_future_.wait();
      return {};
    });
  }
  void Await() {
    ASSERT_EQ(reached_.get_future().wait_for(std::chrono::seconds(20)), std::future_status::ready);
  }
  void Go() { go_.set_value(); }

 private:
  std::string phase_, unit_;
  std::atomic<bool> said_{false};
  std::promise<void> reached_, go_;
  std::shared_future<void> go_future_ = go_.get_future().share();
};

void FailAt(Script& script, std::string phase, std::string unit, Errc code = Errc::kIo) {
  script.Set([=](std::string_view at, std::string_view who) -> Result<void> {
    if (at == phase && who == unit) return Fail(code, "{} is made to fail", phase);
    return {};
  });
}

TEST_F(CommandsTest, CheckpointMakesAVersionAndTheJobGoesOn) {
  Sleeper sleeper;
  MakeJob("sim", {{"main", sleeper.pid()}});
  auto done = Do("sim", Cmd("checkpoint"));
  ASSERT_TRUE(done.ok()) << done.error().Text();
  EXPECT_EQ(store_->Versions("sim"), std::vector<uint64_t>{1});
  JobStatus status = StatusOf("sim");
  EXPECT_EQ(status.state, JobState::kRunning);
  EXPECT_EQ(status.last_version, 1u);
  ASSERT_TRUE(status.last_operation);
  EXPECT_EQ(status.last_operation->result, "ok");
  EXPECT_GE(status.last_operation->memory_bytes, 10000u);
  EXPECT_DOUBLE_EQ(status.last_operation->standstill_seconds, 0.012);
  EXPECT_FALSE(sleeper.Stopped());
  EXPECT_NE(Events().find("sim checkpoint ok seconds="), std::string::npos) << Events();
}

TEST_F(CommandsTest, StopEndsTheProcessesAndRestartBringsThemBackAgainAndAgain) {
  Sleeper sleeper;
  MakeJob("sim", {{"main", sleeper.pid()}});
  auto done = Do("sim", Cmd("checkpoint stop"));
  ASSERT_TRUE(done.ok()) << done.error().Text();
  EXPECT_EQ(StatusOf("sim").state, JobState::kStopped);
  EXPECT_EQ(UnitOf("sim").exit, "");
  EXPECT_FALSE(IsAlive({sleeper.pid(), 0}));
  for (int i = 0; i < 3; ++i) {
    auto restarted = Do("sim", Cmd("restart"));
    ASSERT_TRUE(restarted.ok()) << restarted.error().Text();
    EXPECT_EQ(StatusOf("sim").state, JobState::kRunning);
    auto twice = Do("sim", Cmd("restart"));
    ASSERT_FALSE(twice.ok());
    EXPECT_EQ(twice.error().code(), Errc::kWouldRunTwice);
    auto killed = Do("sim", Cmd("kill"));
    ASSERT_TRUE(killed.ok()) << killed.error().Text();
    EXPECT_EQ(StatusOf("sim").state, JobState::kEnded);
    EXPECT_EQ(UnitOf("sim").exit, "killed by signal 9 (SIGKILL)");
  }
}

TEST_F(CommandsTest, NoUnitGoesOnBeforeAllAreSavedAndCommitted) {
  Sleeper a, b;
  MakeJob("sim", {{"a", a.pid()}, {"b", b.pid()}});
  Held held(*script_, "checkpoint", "b");
  auto answer = Begin("sim", Cmd("checkpoint"));
  held.Await();
  while (!script_->Has("a:files")) std::this_thread::yield();
  EXPECT_TRUE(a.Stopped());
  EXPECT_TRUE(b.Stopped());
  EXPECT_FALSE(script_->Has("a:go-on"));
  EXPECT_TRUE(store_->Versions("sim").empty());
  held.Go();
  ASSERT_TRUE(answer.get().ok());
  EXPECT_GT(script_->At("a:go-on"), script_->At("b:files"));
  EXPECT_EQ(store_->Info("sim", 1)->units.size(), 2u);
}

TEST_F(CommandsTest, OneUnitFailsAndAllGoOnAndNothingIsKept) {
  Sleeper a, b;
  for (const char* phase : {"prepare", "stop", "checkpoint", "files"}) {
    MakeJob(phase, {{"a", a.pid()}, {"b", b.pid()}});
    FailAt(*script_, phase, "b");
    auto done = Do(phase, Cmd("checkpoint"));
    ASSERT_FALSE(done.ok()) << phase;
    EXPECT_EQ(done.error().message(), fmt::format("unit b: {} is made to fail", phase));
    EXPECT_TRUE(store_->Versions(phase).empty());
    EXPECT_FALSE(a.Stopped()) << phase;
    EXPECT_FALSE(b.Stopped()) << phase;
    EXPECT_EQ(StatusOf(phase).state, JobState::kRunning);
    EXPECT_NE(agent_->JobErrors(phase, {})->find("made to fail"), std::string::npos);
    EXPECT_NE(agent_->NodeErrors({}).find("made to fail"), std::string::npos);
    ASSERT_TRUE(agent_->ForgetJob(phase, {}));
  }
}

TEST_F(CommandsTest, DurableGoesOnAfterTheCommitAndFastBefore) {
  Sleeper sleeper;
  MakeJob("sim", {{"main", sleeper.pid()}});
  size_t versions_at_go_on = 0;
  script_->Set([&](std::string_view at, std::string_view) -> Result<void> {
    if (at == "go-on") versions_at_go_on = store_->Versions("sim").size();
    return {};
  });
  ASSERT_TRUE(Do("sim", Cmd("checkpoint")));
  EXPECT_EQ(versions_at_go_on, 1u);
  SetPolicy("sim", "commit fast\n");
  ASSERT_TRUE(Do("sim", Cmd("checkpoint")));
  EXPECT_EQ(versions_at_go_on, 1u);
  EXPECT_EQ(store_->Versions("sim").size(), 2u);
}

TEST_F(CommandsTest, IndependentUnitsGoOnAsSoonAsSavedThemselves) {
  Sleeper a, b;
  MakeJob("sim", {{"a", a.pid()}, {"b", b.pid()}});
  SetPolicy("sim", "protocol independent\n");
  Held held(*script_, "checkpoint", "b");
  auto answer = Begin("sim", Cmd("checkpoint"));
  held.Await();
  while (!script_->Has("a:go-on")) std::this_thread::yield();
  EXPECT_TRUE(store_->Versions("sim").empty());
  held.Go();
  ASSERT_TRUE(answer.get().ok());
  EXPECT_EQ(store_->Info("sim", 1)->units.size(), 2u);
}

TEST_F(CommandsTest, ACommitThatFailsLeavesTheJobRunningAlsoForStop) {
  Sleeper sleeper;
  for (const char* command : {"checkpoint", "checkpoint stop"}) {
    MakeJob("sim", {{"main", sleeper.pid()}});
    // A file takes the place of the job's folder of versions before the commit.
    std::string folder = dir_ + "/store/images/sim";
    script_->Set([&](std::string_view at, std::string_view) -> Result<void> {
      if (at != "files") return {};
      auto images = Open(dir_ + "/store/images", O_RDONLY | O_DIRECTORY);
      EXPECT_TRUE(RemoveTree(images->get(), "sim"));
      EXPECT_TRUE(OpenAt(images->get(), "sim", O_WRONLY | O_CREAT | O_EXCL, 0600));
      return {};
    });
    auto done = Do("sim", Cmd(command));
    script_->Set(nullptr);
    ASSERT_EQ(::unlink(folder.c_str()), 0);
    ASSERT_FALSE(done.ok());
    EXPECT_TRUE(done.error().message().starts_with("commit: ")) << done.error().message();
    EXPECT_TRUE(store_->Versions("sim").empty());
    EXPECT_EQ(StatusOf("sim").state, JobState::kRunning);
    EXPECT_FALSE(sleeper.Stopped());
    EXPECT_FALSE(script_->Has("main:end"));
    ASSERT_TRUE(agent_->ForgetJob("sim", {}));
  }
}

TEST_F(CommandsTest, CancelUndoesTheCommandAtEveryPhase) {
  Sleeper a, b;
  MakeJob("sim", {{"a", a.pid()}, {"b", b.pid()}});
  for (const char* phase : {"prepare", "stop", "checkpoint", "files"}) {
    Held held(*script_, phase, "a");
    auto answer = Begin("sim", Cmd("checkpoint"));
    held.Await();
    ASSERT_TRUE(Do("sim", Cmd("cancel")));
    held.Go();
    auto done = answer.get();
    ASSERT_FALSE(done.ok()) << phase;
    EXPECT_EQ(done.error().code(), Errc::kCancelled) << phase << done.error().Text();
    EXPECT_FALSE(a.Stopped()) << phase;
    EXPECT_FALSE(b.Stopped()) << phase;
    EXPECT_TRUE(store_->Versions("sim").empty());
    EXPECT_EQ(StatusOf("sim").last_operation->result, "cancelled");
  }
  script_->Set(nullptr);
  ASSERT_TRUE(Do("sim", Cmd("checkpoint")));
}

TEST_F(CommandsTest, TheTokenCancelsToo) {
  Sleeper sleeper;
  MakeJob("sim", {{"main", sleeper.pid()}});
  Held held(*script_, "stop", "main");
  auto token = *CancelToken::Make();
  auto answer = Begin("sim", Cmd("checkpoint"), {}, token);
  held.Await();
  token->Cancel();
  held.Go();
  EXPECT_EQ(answer.get().error().code(), Errc::kCancelled);
}

TEST_F(CommandsTest, ASecondCommandIsBusyAndNamesTheFirst) {
  Sleeper sleeper, other;
  MakeJob("sim", {{"main", sleeper.pid()}});
  Held held(*script_, "stop", "main");
  auto answer = Begin("sim", Cmd("checkpoint full"));
  held.Await();
  for (const char* command : {"checkpoint", "restart", "suspend", "resume", "kill"}) {
    auto busy = Do("sim", Cmd(command));
    ASSERT_FALSE(busy.ok());
    EXPECT_EQ(busy.error().code(), Errc::kBusy);
    EXPECT_EQ(busy.error().message(), "'checkpoint full' is at work on job sim");
  }
  EXPECT_EQ(agent_->ForgetJob("sim", {}).error().code(), Errc::kBusy);
  EXPECT_EQ(agent_->Attach("sim", "main", other.pid(), {}).error().code(), Errc::kBusy);
  EXPECT_EQ(agent_->ProgressOf("sim", {})->phase, "stop");
  EXPECT_EQ(StatusOf("sim").running_command, "checkpoint full");
  held.Go();
  EXPECT_TRUE(answer.get().ok());
  EXPECT_EQ(agent_->ProgressOf("sim", {})->phase, "idle");
}

TEST_F(CommandsTest, BackgroundAnswersOnceStarted) {
  Sleeper sleeper;
  MakeJob("sim", {{"main", sleeper.pid()}});
  Held held(*script_, "checkpoint", "main");
  EXPECT_TRUE(Do("sim", Cmd("checkpoint &")).ok());
  held.Await();
  EXPECT_TRUE(StatusOf("sim").running_command);
  held.Go();
  AwaitEvent("checkpoint & ok");
}

TEST_F(CommandsTest, ACallerInsideIsAnsweredBeforeTheFreeze) {
  Sleeper sleeper({"/bin/sh", "-c", "sleep 1000 & wait"});
  ASSERT_TRUE(Eventually([&] { return ReadTree(sleeper.pid())->size() == 2; }));
  pid_t child = (*ReadTree(sleeper.pid()))[1].id.pid;
  MakeJob("sim", {{"main", sleeper.pid()}});
  for (const char* command : {"checkpoint", "suspend"}) {
    std::string phase = std::string(command) == "checkpoint" ? "stop" : "suspend";
    Held held(*script_, phase, phase == "stop" ? "main" : "");
    auto answer = Begin("sim", Cmd(command), Caller{.pid = child});
    held.Await();
    EXPECT_EQ(answer.wait_for(std::chrono::seconds(0)), std::future_status::ready) << command;
    EXPECT_TRUE(answer.get().ok());
    held.Go();
    AwaitEvent(std::string(command) + " ok");
  }
  // What cannot even be prepared is still said to it.
  script_->Set(nullptr);
  ASSERT_TRUE(Do("sim", Cmd("resume")));
  FailAt(*script_, "prepare", "main");
  EXPECT_FALSE(Do("sim", Cmd("checkpoint"), Caller{.pid = child}).ok());
}

TEST_F(CommandsTest, ASuspendedJobIsSavedAndStaysSuspended) {
  Sleeper sleeper;
  MakeJob("sim", {{"main", sleeper.pid()}});
  ASSERT_TRUE(Do("sim", Cmd("suspend")));
  EXPECT_TRUE(sleeper.Stopped());
  ASSERT_TRUE(Do("sim", Cmd("checkpoint")));
  EXPECT_EQ(StatusOf("sim").state, JobState::kSuspended);
  EXPECT_TRUE(sleeper.Stopped());
  FailAt(*script_, "checkpoint", "main");
  EXPECT_FALSE(Do("sim", Cmd("checkpoint")));
  EXPECT_TRUE(sleeper.Stopped());
  script_->Set(nullptr);
  ASSERT_TRUE(Do("sim", Cmd("resume")));
  EXPECT_FALSE(sleeper.Stopped());
  // Saved while suspended, it runs once restarted.
  ASSERT_TRUE(Do("sim", Cmd("suspend")));
  ASSERT_TRUE(Do("sim", Cmd("checkpoint stop")));
  script_->Forget();
  auto restarted = Do("sim", Cmd("restart"));
  ASSERT_TRUE(restarted.ok()) << restarted.error().Text();
  EXPECT_EQ(StatusOf("sim").state, JobState::kRunning);
  EXPECT_TRUE(script_->Has(":unsuspend"));
}

TEST_F(CommandsTest, ARestartThatFailsStartsNothing) {
  Sleeper a, b;
  MakeJob("sim", {{"a", a.pid()}, {"b", b.pid()}});
  ASSERT_TRUE(Do("sim", Cmd("checkpoint stop")));
  for (const char* phase : {"prepare-rebuild", "rebuild", "rebuild-resume"}) {
    FailAt(*script_, phase, "b");
    auto done = Do("sim", Cmd("restart"));
    ASSERT_FALSE(done.ok()) << phase;
    EXPECT_EQ(StatusOf("sim").state, JobState::kStopped) << phase;
    for (Child& child : *script_->restored.Lock())
      EXPECT_FALSE(IsAlive((*ReadProcess(child.pid())).value_or(ProcessInfo{}).id)) << phase;
  }
  script_->Set(nullptr);
  auto restarted = Do("sim", Cmd("restart 1"));
  EXPECT_TRUE(restarted.ok()) << restarted.error().Text();
  auto none = Do("sim", Cmd("restart 7"));
  EXPECT_FALSE(none.ok());
}

TEST_F(CommandsTest, ATakenPidGivesANamespaceOfItsOwn) {
  Sleeper sleeper;
  MakeJob("sim", {{"main", sleeper.pid()}});
  ASSERT_TRUE(Do("sim", Cmd("checkpoint stop")));
  script_->pids_taken = true;
  ASSERT_TRUE(Do("sim", Cmd("restart")));
  EXPECT_TRUE(script_->Has("main:rebuild-new-pids"));
  EXPECT_NE(UnitOf("sim").warning.find("pid 4242 is in use"), std::string::npos);
}

TEST_F(CommandsTest, ATakenPortIsNoReasonForAPidNamespace) {
  Sleeper sleeper;
  MakeJob("sim", {{"main", sleeper.pid()}});
  ASSERT_TRUE(Do("sim", Cmd("checkpoint stop")));
  script_->Set([](std::string_view phase, std::string_view) -> Result<void> {
    if (phase == "rebuild") return Fail(Errc::kBusy, "port 80 is in use");
    return {};
  });
  EXPECT_EQ(Do("sim", Cmd("restart")).error().code(), Errc::kBusy);
  EXPECT_FALSE(script_->Has("main:rebuild-new-pids"));
}

TEST(CheckNeedsTest, OnlyInstructionSetsAreRequired) {
  EXPECT_TRUE(CheckNeeds({.cpu_features = {"hypervisor", "ibrs", "tsc_known_freq", "nopl"}}).ok());
#ifdef __x86_64__
  EXPECT_EQ(CheckNeeds({.cpu_features = {"avx_of_tomorrow"}}).error().code(), Errc::kUnsupported);
  std::vector<std::string> here = CpuFeatures();
  EXPECT_TRUE(std::binary_search(here.begin(), here.end(), "sse2"));
  EXPECT_FALSE(std::binary_search(here.begin(), here.end(), "nopl"));
  EXPECT_TRUE(CheckNeeds({.cpu_features = here}).ok());
#endif
}

TEST_F(CommandsTest, ACloneIsAJobOfItsOwnAndTheOriginalIsUntouched) {
  Sleeper sleeper;
  MakeJob("sim", {{"main", sleeper.pid()}});
  SetPolicy("sim", "keep 3\n");
  ASSERT_TRUE(Do("sim", Cmd("checkpoint")));
  auto cloned = Do("sim", Cmd("restart clone"));
  ASSERT_TRUE(cloned.ok()) << cloned.error().Text();
  EXPECT_TRUE(script_->Has("main:rebuild-new-pids"));
  JobStatus clone = StatusOf("sim.clone1");
  EXPECT_EQ(clone.clone_of, "sim");
  EXPECT_EQ(clone.state, JobState::kRunning);
  EXPECT_EQ(agent_->GetPolicy("sim.clone1", {})->keep, 3u);
  EXPECT_NE(clone.units[0].warning.find("shares its files"), std::string::npos);
  EXPECT_EQ(UnitOf("sim").root, sleeper.pid());
  EXPECT_EQ(StatusOf("sim").state, JobState::kRunning);
  ASSERT_TRUE(Do("sim", Cmd("restart clone")));
  EXPECT_EQ(StatusOf("sim.clone2").state, JobState::kRunning);
  // A clone is a job: it has versions of its own.
  ASSERT_TRUE(Do("sim.clone1", Cmd("checkpoint")));
  EXPECT_EQ(store_->Versions("sim.clone1"), std::vector<uint64_t>{1});
  // One that cannot be made leaves no job behind.
  FailAt(*script_, "rebuild-new-pids", "main");
  EXPECT_FALSE(Do("sim", Cmd("restart clone")));
  EXPECT_FALSE(agent_->HasJob("sim.clone3", {}));
}

TEST_F(CommandsTest, OthersDoNotSeeTheJob) {
  Sleeper sleeper;
  MakeJob("sim", {{"main", sleeper.pid()}});
  Caller stranger{.pid = 0, .uid = 4242, .gid = 4242};
  EXPECT_EQ(Do("sim", Cmd("checkpoint"), stranger).error().code(), Errc::kNotFound);
  EXPECT_EQ(agent_->Status("sim", stranger).error().code(), Errc::kNotFound);
  EXPECT_FALSE(agent_->HasJob("sim", stranger));
  EXPECT_TRUE(agent_->Jobs(stranger).empty());
  ASSERT_TRUE(Do("sim", Cmd("checkpoint")));
  EXPECT_EQ(agent_->CheckImageAccess("sim", 1, stranger).error().code(), Errc::kNotFound);
  EXPECT_EQ(agent_->DeleteVersion("sim", 1, stranger).error().code(), Errc::kNotFound);
  EXPECT_EQ(agent_->MakeIncoming("sim", 9, stranger).error().code(), Errc::kNotYours);
  EXPECT_EQ(agent_->MakeJob("sim", stranger).error().code(), Errc::kNotYours);
}

TEST_F(CommandsTest, WhatNeedsAGridIsUnsupported) {
  MakeJob("sim", {{"main", 0}});
  EXPECT_EQ(Do("sim", Cmd("migrate")).error().code(), Errc::kUnsupported);
  auto away = Do("sim", Cmd("restart node=there"));
  EXPECT_EQ(away.error().code(), Errc::kUnsupported);
  EXPECT_NE(away.error().message().find("node there"), std::string::npos);
}

TEST_F(CommandsTest, TheDestructorUndoesWhatRuns) {
  Sleeper sleeper;
  MakeJob("sim", {{"main", sleeper.pid()}});
  Held held(*script_, "stop", "main");
  auto answer = Begin("sim", Cmd("checkpoint"));
  held.Await();
  auto cancel = *script_->cancel.Lock();
  std::thread end([&] { agent_.reset(); });
  pollfd cancelled{cancel->fd(), POLLIN, 0};
  EXPECT_EQ(::poll(&cancelled, 1, 20'000), 1);
  held.Go();
  end.join();
  EXPECT_EQ(answer.get().error().code(), Errc::kCancelled);
  EXPECT_FALSE(sleeper.Stopped());
}

// Every state and verb: what the table says, in the words that users get.
TEST(CommandTable, HasARuleForEveryStateAndVerb) {
  struct Expected {
    Verb verb;
    bool clone;
    const char*
        rules;  // one letter a state: y yes, d done, g gone, t would run twice, u unsupported
  };
  const Expected table[] = {
      {Verb::kCheckpoint, false, "gyygg"}, {Verb::kRestart, false, "yttyy"},
      {Verb::kRestart, true, "yyyyy"},     {Verb::kSuspend, false, "gydgg"},
      {Verb::kResume, false, "gdygg"},     {Verb::kKill, false, "gyygg"},
      {Verb::kMigrate, false, "uuuuu"},    {Verb::kCancel, false, "ddddd"},
  };
  for (const Expected& row : table)
    for (size_t state = 0; state < 5; ++state) {
      Command command;
      command.verb = row.verb;
      command.clone = row.clone;
      Rule rule = RuleFor(command, static_cast<JobState>(state));
      char letter = rule.allowed == Allowed::kYes           ? 'y'
                    : rule.allowed == Allowed::kNothingToDo ? 'd'
                    : rule.code == Errc::kGone              ? 'g'
                    : rule.code == Errc::kWouldRunTwice     ? 't'
                    : rule.code == Errc::kUnsupported       ? 'u'
                                                            : '?';
      EXPECT_EQ(letter, row.rules[state]) << static_cast<int>(row.verb) << " in " << state;
      if (rule.allowed == Allowed::kRefused) {
        EXPECT_NE(std::string(rule.words), "");
        EXPECT_NE(std::string(rule.remedy), "");
      }
    }
}

}  // namespace
}  // namespace ckptfs
