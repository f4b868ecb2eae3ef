// What happens to jobs by itself: ends, waiters, intervals, restarts, and a
// daemon that goes and comes back.
#include <gmock/gmock.h>
#include <signal.h>

#include <limits>
#include <thread>

#include "agent/job.h"
#include "agent/supervisor.h"
#include "tests/agent/agent_test.h"

namespace ckptfs {
namespace {

using testing::HasSubstr;
using testing::Not;

class LifecycleTest : public AgentTest {
 protected:
  std::shared_future<Result<std::string>> Wait(const std::string& job, uint64_t* id = nullptr) {
    auto promise = std::make_shared<std::promise<Result<std::string>>>();
    promises_.push_back(promise);  // one that is dropped unanswered would look like an answer
    auto added = agent_->WaitForEnd(
        job, {}, [promise](Result<std::string> line) { promise->set_value(std::move(line)); });
    if (!added) promise->set_value(added.error());
    if (id != nullptr && added) *id = *added;
    return promise->get_future().share();
  }
  std::string Line(const std::shared_future<Result<std::string>>& answer) {
    if (answer.wait_for(std::chrono::seconds(20)) != std::future_status::ready) return "(nothing)";
    return answer.get() ? *answer.get() : answer.get().error().Text();
  }
  std::vector<std::shared_ptr<std::promise<Result<std::string>>>> promises_;
  bool HasEvent(const std::string& text) const { return Events().find(text) != std::string::npos; }
  void KillRestored() {
    for (Child& child : *script_->restored.Lock()) (void)child.Signal(SIGKILL);
  }
};

TEST_F(LifecycleTest, WaitTellsHowTheJobEnded) {
  Sleeper exits({"/bin/sh", "-c", "read x < /dev/null; sleep 0.2; exit 3"}), killed, good;
  MakeJob("exits", {{"main", exits.pid()}});
  MakeJob("killed", {{"main", killed.pid()}});
  auto exited = Wait("exits"), ended = Wait("killed");
  ::kill(killed.pid(), SIGTERM);
  EXPECT_EQ(Line(exited), "exit 3\n");
  EXPECT_EQ(Line(ended), "killed by signal 15 (SIGTERM)\n");
  EXPECT_EQ(UnitOf("exits").exit, "exit 3");
  EXPECT_EQ(StatusOf("exits").state, JobState::kEnded);
  EXPECT_EQ(Line(Wait("exits")), "exit 3\n");
  ASSERT_TRUE(agent_->MakeJob("empty", {}));
  EXPECT_THAT(Line(Wait("empty")), HasSubstr("has never run"));
  EXPECT_THAT(Line(Wait("nosuch")), HasSubstr("no job"));
}

TEST_F(LifecycleTest, AJobEndsWithItsLastUnitAndTellsTheFirstFailure) {
  Sleeper a, b;
  MakeJob("sim", {{"a", a.pid()}, {"b", b.pid()}});
  auto ended = Wait("sim");
  a.Kill();
  AwaitEvent("unit a ended");
  EXPECT_EQ(StatusOf("sim").state, JobState::kRunning);
  EXPECT_EQ(ended.wait_for(std::chrono::seconds(0)), std::future_status::timeout);
  ::kill(b.pid(), SIGTERM);
  EXPECT_THAT(Line(ended), testing::EndsWith("\n"));
  EXPECT_EQ(StatusOf("sim").state, JobState::kEnded);
}

TEST_F(LifecycleTest, FiveHundredWaitersAreAllAnswered) {
  Sleeper sleeper;
  MakeJob("sim", {{"main", sleeper.pid()}});
  std::vector<std::shared_future<Result<std::string>>> answers;
  std::vector<uint64_t> ids(500);
  for (uint64_t& id : ids) answers.push_back(Wait("sim", &id));
  for (size_t i = 0; i < 500; i += 10) agent_->CancelWait(ids[i]);
  ::kill(sleeper.pid(), SIGTERM);
  for (size_t i = 0; i < 500; ++i) {
    if (i % 10 == 0) continue;
    ASSERT_EQ(Line(answers[i]), "killed by signal 15 (SIGTERM)\n") << i;
  }
  for (size_t i = 0; i < 500; i += 10)
    EXPECT_EQ(answers[i].wait_for(std::chrono::seconds(0)), std::future_status::timeout);
}

TEST_F(LifecycleTest, WaitersLearnThatAJobIsForgottenOrTheDaemonEnds) {
  Sleeper a, b;
  MakeJob("a", {{"main", a.pid()}});
  MakeJob("b", {{"main", b.pid()}});
  auto forgotten = Wait("a"), ended = Wait("b");
  ASSERT_TRUE(agent_->ForgetJob("a", {}));
  EXPECT_THAT(Line(forgotten), HasSubstr("was forgotten"));
  agent_.reset();
  ASSERT_FALSE(ended.get().ok());
  EXPECT_EQ(ended.get().error().code(), Errc::kCancelled);
  EXPECT_TRUE(IsAlive(a.id()));
}

TEST_F(LifecycleTest, StoppedIsNoEnd) {
  Sleeper sleeper;
  MakeJob("sim", {{"main", sleeper.pid()}});
  auto ended = Wait("sim");
  ASSERT_TRUE(Do("sim", Cmd("checkpoint stop")));
  EXPECT_EQ(ended.wait_for(std::chrono::milliseconds(50)), std::future_status::timeout);
  ASSERT_TRUE(Do("sim", Cmd("restart")));
  ASSERT_TRUE(Do("sim", Cmd("kill")));
  EXPECT_EQ(Line(ended), "killed by signal 9 (SIGKILL)\n");
}

TEST_F(LifecycleTest, JobsSurviveTheDaemon) {
  Sleeper lives, ends, frozen;
  MakeJob("lives", {{"main", lives.pid()}});
  MakeJob("ends", {{"main", ends.pid()}});
  MakeJob("frozen", {{"main", frozen.pid()}});
  SetPolicy("lives", "keep 4\ntcp keep\n");
  ASSERT_TRUE(Do("lives", Cmd("checkpoint")));
  ASSERT_TRUE(Do("frozen", Cmd("suspend")));
  RestartAgent();
  EXPECT_EQ(StatusOf("lives").state, JobState::kRunning);
  EXPECT_EQ(StatusOf("lives").last_version, 1u);
  EXPECT_EQ(StatusOf("lives").last_operation->command, "checkpoint");
  EXPECT_EQ(agent_->GetPolicy("lives", {})->keep, 4u);
  EXPECT_EQ(StatusOf("frozen").state, JobState::kSuspended);
  ASSERT_TRUE(Do("lives", Cmd("checkpoint")));
  ASSERT_TRUE(Do("frozen", Cmd("resume")));
  EXPECT_FALSE(frozen.Stopped());
  agent_.reset();
  ends.Kill();
  RestartAgent();
  AwaitState("ends", JobState::kEnded);
  EXPECT_EQ(UnitOf("ends").exit, "unknown");
  // Watched again: its end is noticed.
  ::kill(lives.pid(), SIGTERM);
  AwaitState("lives", JobState::kEnded);
}

TEST_F(LifecycleTest, APidThatNamesAnotherProcessNowIsNotTheJobs) {
  Sleeper sleeper;
  JobData data;
  data.units["main"].state = JobState::kRunning;
  ProcessId wrong{sleeper.pid(), sleeper.id().start_ticks - 1};
  data.units["main"].processes = UnitProcesses{.root = wrong, .owner = {}, .namespace_init = {}};
  ASSERT_TRUE(store_->PutRecord("job/old", FormatRecord(data, BootId())));
  // Of another boot: its processes are gone whatever the pids say now.
  data.units["main"].processes->root = sleeper.id();
  ASSERT_TRUE(store_->PutRecord("job/boot", FormatRecord(data, "another boot")));
  RestartAgent();
  for (const char* job : {"old", "boot"}) {
    AwaitState(job, JobState::kEnded);
    EXPECT_EQ(Do(job, Cmd("checkpoint")).error().code(), Errc::kGone);
    EXPECT_EQ(Do(job, Cmd("kill")).error().code(), Errc::kGone);
  }
  EXPECT_TRUE(IsAlive(sleeper.id()));
}

TEST_F(LifecycleTest, WhatAForgottenJobLeftBehindIsNotDoubled) {
  Sleeper sleeper;
  MakeJob("sim", {{"main", sleeper.pid()}});
  ASSERT_TRUE(Do("sim", Cmd("checkpoint")));
  ASSERT_TRUE(agent_->ForgetJob("sim", {}));
  EXPECT_TRUE(IsAlive(sleeper.id()));
  ASSERT_TRUE(agent_->MakeJob("sim", {}));
  auto restarted = Do("sim", Cmd("restart"));
  ASSERT_FALSE(restarted.ok());
  EXPECT_EQ(restarted.error().code(), Errc::kWouldRunTwice);
  EXPECT_THAT(restarted.error().message(), HasSubstr(std::to_string(sleeper.pid())));
  sleeper.Kill();
  EXPECT_TRUE(Do("sim", Cmd("restart")).ok());
}

TEST_F(LifecycleTest, WhatAForgottenUnitLeftBehindIsNotDoubled) {
  Sleeper sleeper;
  MakeJob("sim", {{"main", sleeper.pid()}});
  ASSERT_TRUE(Do("sim", Cmd("checkpoint")));
  auto expect_refused = [&] {
    auto restarted = Do("sim", Cmd("restart"));
    ASSERT_FALSE(restarted.ok());
    EXPECT_EQ(restarted.error().code(), Errc::kWouldRunTwice);
    EXPECT_THAT(restarted.error().message(), HasSubstr(std::to_string(sleeper.pid())));
  };
  ASSERT_TRUE(agent_->ForgetUnit("sim", "main", {}));
  EXPECT_TRUE(IsAlive(sleeper.id()));
  expect_refused();
  ASSERT_TRUE(agent_->MakeUnit("sim", "main", {}));
  expect_refused();
  RestartAgent();
  expect_refused();
  ASSERT_TRUE(agent_->ForgetJob("sim", {}));
  ASSERT_TRUE(agent_->MakeJob("sim", {}));
  expect_refused();
  sleeper.Kill();
  EXPECT_TRUE(Do("sim", Cmd("restart")).ok());
}

// A daemon that is killed in between knows of it at its next start.
TEST_F(LifecycleTest, ASuspendIsRecordedBeforeItIsDone) {
  Sleeper sleeper;
  MakeJob("sim", {{"main", sleeper.pid()}});
  std::string record;
  script_->Set([&](std::string_view phase, std::string_view) -> Result<void> {
    if (phase == "suspend") record = store_->Records("job/").begin()->second;
    return phase == "suspend" ? Fail(Errc::kIo, "it cannot be stopped") : Result<void>();
  });
  EXPECT_FALSE(Do("sim", Cmd("suspend")));
  EXPECT_THAT(record, HasSubstr("state suspended"));
  EXPECT_EQ(StatusOf("sim").state, JobState::kRunning);
  EXPECT_THAT(store_->Records("job/").begin()->second, HasSubstr("state running"));
}

TEST_F(LifecycleTest, ARestartOfASuspendedJobIsRecordedAsSuspendedUntilItRuns) {
  Sleeper sleeper;
  MakeJob("sim", {{"main", sleeper.pid()}});
  ASSERT_TRUE(Do("sim", Cmd("suspend")));
  ASSERT_TRUE(Do("sim", Cmd("checkpoint stop")));
  std::string record;
  script_->Set([&](std::string_view phase, std::string_view) -> Result<void> {
    if (phase == "unsuspend") record = store_->Records("job/").begin()->second;
    return {};
  });
  ASSERT_TRUE(Do("sim", Cmd("restart")));
  EXPECT_THAT(record, HasSubstr("state suspended"));
  EXPECT_EQ(StatusOf("sim").state, JobState::kRunning);
}

TEST_F(LifecycleTest, AtItsStartTheDaemonSeesWhetherWhatIsSuspendedStandsStill) {
  Sleeper stands, runs;
  MakeJob("stands", {{"main", stands.pid()}});
  MakeJob("runs", {{"main", runs.pid()}});
  for (const char* job : {"stands", "runs"}) ASSERT_TRUE(Do(job, Cmd("suspend")));
  ::kill(runs.pid(), SIGCONT);
  RestartAgent();
  EXPECT_EQ(StatusOf("stands").state, JobState::kSuspended);
  EXPECT_EQ(StatusOf("runs").state, JobState::kRunning);
  EXPECT_TRUE(stands.Stopped());
  ASSERT_TRUE(Do("stands", Cmd("resume")));
  EXPECT_FALSE(stands.Stopped());
}

TEST_F(LifecycleTest, OldVersionsGoAsThePolicySays) {
  Sleeper sleeper;
  MakeJob("sim", {{"main", sleeper.pid()}});
  SetPolicy("sim", "keep 2\n");
  for (int i = 0; i < 4; ++i) ASSERT_TRUE(Do("sim", Cmd("checkpoint")));
  EXPECT_EQ(store_->Versions("sim"), (std::vector<uint64_t>{3, 4}));
  EXPECT_THAT(Events(), HasSubstr("sim version deleted version=1 by=policy"));
  ASSERT_TRUE(agent_->DeleteVersion("sim", 4, {}));
  EXPECT_EQ(StatusOf("sim").last_version, 3u);
}

class ClockTest : public LifecycleTest {
 protected:
  void SetUp() override {
    clock_seconds_ = std::make_shared<std::atomic<int64_t>>(1000);
    LifecycleTest::SetUp();
  }
};

TEST_F(ClockTest, IntervalsMakeCheckpointsAndLeaveOutWhatCannotBe) {
  Sleeper sleeper, frozen, busy;
  MakeJob("sim", {{"main", sleeper.pid()}});
  MakeJob("frozen", {{"main", frozen.pid()}});
  ASSERT_TRUE(Do("frozen", Cmd("suspend")));
  for (const char* job : {"sim", "frozen"}) SetPolicy(job, "interval 1h\n");
  *clock_seconds_ += 3599;
  EXPECT_TRUE(store_->Versions("sim").empty());
  *clock_seconds_ += 1;
  AwaitEvent("sim checkpoint ok");
  EXPECT_THAT(Events(), HasSubstr("sim checkpoint started by=policy"));
  // One of its own accord counts as well.
  *clock_seconds_ += 1800;
  ASSERT_TRUE(Do("sim", Cmd("checkpoint")));
  *clock_seconds_ += 1801;
  EXPECT_EQ(store_->Versions("sim").size(), 2u);
  *clock_seconds_ += 1800;
  AwaitEvent("version=3");
  EXPECT_TRUE(store_->Versions("frozen").empty());
}

TEST_F(LifecycleTest, AFailedJobIsRestartedThreeTimesAtMost) {
  Sleeper a, b;
  MakeJob("sim", {{"a", a.pid()}, {"b", b.pid()}});
  SetPolicy("sim", "restart on-failure\n");
  ASSERT_TRUE(Do("sim", Cmd("checkpoint")));
  auto ended = Wait("sim");
  ::kill(a.pid(), SIGKILL);
  // The unit that still lives ends, then both come back.
  for (int i = 1; i <= 3; ++i) {
    AwaitEvent("sim restart ok", i);
    ASSERT_FALSE(HasFailure());
    EXPECT_EQ(ended.wait_for(std::chrono::seconds(0)), std::future_status::timeout);
    KillRestored();
  }
  EXPECT_EQ(Line(ended), "killed by signal 9 (SIGKILL)\n");
  EXPECT_FALSE(IsAlive(b.id()));
}

// Its end is noticed before the restart that made it has said that it is done.
TEST_F(LifecycleTest, AJobThatFailsAsItsRestartEndsIsRestartedAgain) {
  Sleeper sleeper;
  MakeJob("sim", {{"main", sleeper.pid()}});
  SetPolicy("sim", "restart on-failure\n");
  ASSERT_TRUE(Do("sim", Cmd("checkpoint")));
  std::atomic<bool> killed = false;
  uint64_t id = events_->Subscribe([&] {
    if (!HasEvent("sim restart ok") || killed.exchange(true)) return;
    KillRestored();
    AwaitState("sim", JobState::kEnded);
  });
  sleeper.Kill();
  AwaitEvent("sim restart ok", 2);
  events_->Unsubscribe(id);
}

// Both units fail at once: the one that was to be killed is gone already.
TEST_F(LifecycleTest, ARestartIsNotGivenUpForAUnitThatIsGoneAlready) {
  Sleeper a, b;
  MakeJob("sim", {{"a", a.pid()}, {"b", b.pid()}});
  SetPolicy("sim", "restart on-failure\n");
  ASSERT_TRUE(Do("sim", Cmd("checkpoint")));
  std::atomic<bool> killed = false;
  uint64_t id = events_->Subscribe([&] {
    if (!HasEvent("sim kill started by=policy") || killed.exchange(true)) return;
    b.Kill();
    AwaitState("sim", JobState::kEnded);
  });
  a.Kill();
  AwaitEvent("sim restart ok");
  events_->Unsubscribe(id);
  EXPECT_TRUE(killed);
}

TEST_F(LifecycleTest, AJobKilledOnPurposeIsNotRestartedForAnEarlierFailure) {
  Sleeper a, b;
  MakeJob("sim", {{"a", a.pid()}, {"b", b.pid()}});
  SetPolicy("sim", "restart on-failure\n");
  ASSERT_TRUE(Do("sim", Cmd("checkpoint")));
  auto ended = Wait("sim");
  // Begun while the end of `a` is told of, and so before a tick can answer it.
  std::optional<std::future<Result<void>>> killing;
  uint64_t id = events_->Subscribe([&] {
    if (!killing && HasEvent("unit a ended")) killing = Begin("sim", Cmd("kill"));
  });
  a.Kill();
  EXPECT_EQ(Line(ended), "killed by signal 9 (SIGKILL)\n");
  events_->Unsubscribe(id);
  EXPECT_TRUE(killing->get());
  EXPECT_THAT(Events(), Not(HasSubstr("restart")));
}

// What is left of the job must not become the version that it is restarted from.
TEST_F(LifecycleTest, AJobThatLacksAFailedUnitIsNotSavedBeforeItsRestart) {
  Sleeper a, b;
  MakeJob("sim", {{"a", a.pid()}, {"b", b.pid()}});
  SetPolicy("sim", "restart on-failure\n");
  ASSERT_TRUE(Do("sim", Cmd("checkpoint")));
  std::optional<std::future<Result<void>>> saving;
  uint64_t id = events_->Subscribe([&] {
    if (!saving && HasEvent("unit a ended")) saving = Begin("sim", Cmd("checkpoint"));
  });
  a.Kill();
  AwaitEvent("sim restart ok");
  events_->Unsubscribe(id);
  EXPECT_EQ(saving->get().error().code(), Errc::kBusy);
  EXPECT_EQ(UnitOf("sim", "a").state, JobState::kRunning);
  EXPECT_EQ(UnitOf("sim", "b").state, JobState::kRunning);
}

TEST_F(LifecycleTest, ARestartThatIsDueIsNotForgottenByADaemonThatEnds) {
  Sleeper a, b;
  MakeJob("sim", {{"a", a.pid()}, {"b", b.pid()}});
  SetPolicy("sim", "restart on-failure\n");
  ASSERT_TRUE(Do("sim", Cmd("checkpoint")));
  std::string record;
  script_->Set([&](std::string_view phase, std::string_view) -> Result<void> {
    if (phase == "kill") record = store_->Records("job/").at("job/sim");
    return {};
  });
  a.Kill();
  AwaitEvent("sim restart ok");
  ASSERT_THAT(record, HasSubstr("\nrestart_pending yes\n"));
  // As if the daemon had ended there, and `b` with it.
  script_->Set(nullptr);
  ASSERT_TRUE(Do("sim", Cmd("kill")));
  agent_.reset();
  std::string ended = store_->Records("job/").at("job/sim");
  ASSERT_THAT(ended, Not(HasSubstr("restart_pending")));
  ended.insert(ended.find("policy "), "restart_pending yes\n");
  ASSERT_TRUE(store_->PutRecord("job/sim", ended));
  RestartAgent();
  AwaitEvent("sim restart ok", 2);
}

TEST_F(LifecycleTest, WhatEndsWellOrIsKilledOnPurposeIsNotRestarted) {
  Sleeper good({"/bin/sh", "-c", "sleep 0.3"}), killed;
  MakeJob("good", {{"main", good.pid()}});
  MakeJob("killed", {{"main", killed.pid()}});
  for (const char* job : {"good", "killed"}) {
    SetPolicy(job, "restart on-failure\n");
    ASSERT_TRUE(Do(job, Cmd("checkpoint")));
  }
  auto ended = Wait("good");
  ASSERT_TRUE(Do("killed", Cmd("kill")));
  EXPECT_EQ(Line(ended), "exit 0\n");
  EXPECT_EQ(Line(Wait("killed")), "killed by signal 9 (SIGKILL)\n");
  EXPECT_THAT(Events(), Not(HasSubstr("restart")));
}

TEST_F(LifecycleTest, MetricsAreInPrometheusForm) {
  Sleeper sleeper;
  MakeJob("sim", {{"main", sleeper.pid()}});
  ASSERT_TRUE(Do("sim", Cmd("checkpoint")));
  std::string text = agent_->Metrics({});
  EXPECT_THAT(text, HasSubstr("# TYPE ckptfs_jobs gauge\nckptfs_jobs{state=\"empty\"} 0\n"
                              "ckptfs_jobs{state=\"running\"} 1\n"));
  EXPECT_THAT(text, HasSubstr("ckptfs_operations_total{verb=\"checkpoint\",result=\"ok\"} 1\n"));
  EXPECT_THAT(text, HasSubstr("node=\"here\""));
  EXPECT_THAT(text, Not(HasSubstr("sim")));
}

TEST(KeptExits, AreReadFromTheNameOfInit) {
  EXPECT_EQ(KeptExit("ckpt:exit=0"), "exit 0");
  EXPECT_EQ(KeptExit("ckpt:sig=9"), "killed by signal 9 (SIGKILL)");
  for (const char* other : {"", "ckpt:", "ckpt:exit=", "ckpt:exit=x", "ckpt:exit=1x", "bash"})
    EXPECT_EQ(KeptExit(other), "") << other;
}

TEST(Records, SurviveARoundTrip) {
  JobData data;
  data.owner_uid = 1000;
  data.owner_gid = 100;
  data.clone_of = "sim";
  data.last_version = 12;
  data.restarts_tried = 2;
  data.restart_pending = true;
  data.policy.keep = 3;
  data.last_operation = OperationReport{.command = "checkpoint\nstop",
                                        .result = "io",
                                        .error = "it failed",
                                        .seconds = 1.5,
                                        .standstill_seconds = 0.25,
                                        .version = 12,
                                        .memory_bytes = 5,
                                        .written_bytes = 6};
  Unit& unit = data.units["main"];
  unit.state = JobState::kSuspended;
  unit.uses = "criu";
  unit.warning = "two\nlines";
  unit.processes = UnitProcesses{.root = {7, 70}, .owner = {}, .namespace_init = ProcessId{6, 60}};
  unit.processes->owner.groups = {1, 2, 3};
  for (int i = 1; i < 900; ++i) unit.members.push_back({i, 1234567890123ull});
  std::string text = FormatRecord(data, "boot");
  auto again = ParseRecord(text, "boot");
  ASSERT_TRUE(again.ok()) << again.error().Text();
  EXPECT_EQ(FormatRecord(*again, "boot"), text);
  EXPECT_EQ(again->units["main"].processes->owner, unit.processes->owner);
  EXPECT_EQ(again->last_operation->command, "checkpoint stop");
  for (int i = 0; i < 200; ++i) data.units[fmt::format("unit{}", i)] = unit;
  EXPECT_LE(FormatRecord(data, "boot").size(), kRecordLimitBytes);
  for (size_t cut = 0; cut < text.size(); cut += 7) (void)ParseRecord(text.substr(0, cut), "boot");
  for (const char* bad :
       {"ckptfs-job 2\n", "ckptfs-job 1\nowner x 1\n", "ckptfs-job 1\nunit ../x\n",
        "ckptfs-job 1\nunit a\nroot 1\n", "ckptfs-job 1\nboot b\nunit a\nstate running\n"}) {
    EXPECT_FALSE(ParseRecord(bad, "b").ok()) << bad;
  }
}

TEST(Records, ATimeThatIsNoneIsRefused) {
  auto with_start = [](int64_t milliseconds) {
    return ParseRecord(fmt::format("ckptfs-job 1\nlast {} 1 2 3 4 5 ok\n", milliseconds), "b");
  };
  // Milliseconds that the clock, which counts nanoseconds in 64 bits, can hold.
  constexpr int64_t kLast = std::numeric_limits<int64_t>::max() / 1'000'000;
  EXPECT_TRUE(with_start(0).ok());
  EXPECT_TRUE(with_start(kLast).ok());
  for (int64_t none : {int64_t{-1}, kLast + 1, std::numeric_limits<int64_t>::max()})
    EXPECT_FALSE(with_start(none).ok()) << none;
}

}  // namespace
}  // namespace ckptfs
