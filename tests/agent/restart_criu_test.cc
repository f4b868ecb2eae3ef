// Real programs through the agent: saved by criu into a real store and restarted.
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include <sstream>

#include "kapi/registry.h"
#include "tests/agent/agent_test.h"

namespace ckptfs {
namespace {

class RestartCriuTest : public AgentTest {
 protected:
  void SetUp() override {
    ::setenv("CKPTFS_INIT", CKPTFS_BUILD_DIR "/ckptfs-init", 1);
    AgentTest::SetUp();
    bool criu = false;
    for (const CheckpointerStatus& each : agent_->Checkpointers()) {
      if (each.name == "criu" && !each.availability.available)
        GTEST_SKIP() << each.availability.why_not;
      criu = criu || each.name == "criu";
    }
    if (!criu) GTEST_SKIP() << "this build has no criu checkpointer";
  }
  void TearDown() override {
    if (agent_)
      for (const std::string& job : agent_->Jobs({}))
        if (StatusOf(job).state == JobState::kRunning) (void)Do(job, Cmd("kill"));
    AgentTest::TearDown();
  }
  std::vector<std::unique_ptr<Checkpointer>> Checkpointers() override {
    return MakeCheckpointers();
  }
  std::string Output(const std::string& name) const { return dir_ + "/" + name; }
  // Appends 0, 1, 2 … to its file, a line each 5 ms.
  std::unique_ptr<Sleeper> Counter(const std::string& name) {
    std::string script = fmt::format(
        "import time\nout = open('{}', 'a', buffering=1)\nn = 0\nwhile True:\n"
        "  out.write(f'{{n}}\\n')\n  n += 1\n  time.sleep(0.005)\n",
        Output(name));
    auto counter =
        std::make_unique<Sleeper>(std::vector<std::string>{"/usr/bin/python3", "-c", script});
    AwaitLines(name, 3);
    return counter;
  }
  std::string Text(const std::string& name) const {
    auto text = ReadFile(Output(name), 1 << 24);
    return text ? *text : "";
  }
  size_t Lines(const std::string& name) const {
    std::string text = Text(name);
    return static_cast<size_t>(std::count(text.begin(), text.end(), '\n'));
  }
  void AwaitLines(const std::string& name, size_t count) {
    ASSERT_TRUE(Eventually([&] { return Lines(name) >= count; })) << name << " does not grow";
  }
  // Every line is its own number: nothing was lost, doubled or written over.
  void ExpectUnbroken(const std::string& name) {
    std::istringstream lines(Text(name));
    size_t expected = 0;
    for (std::string line; std::getline(lines, line) && !lines.eof(); ++expected)
      ASSERT_EQ(line, std::to_string(expected));
  }
  void Good(const std::string& job, const std::string& command) {
    auto done = Do(job, Cmd(command));
    ASSERT_TRUE(done.ok()) << command << ": " << done.error().Text() << "\n"
                           << *agent_->UnitLog(job, UnitNames(job), {});
  }
  std::string UnitNames(const std::string& job) { return StatusOf(job).units.front().name; }
};

TEST_F(RestartCriuTest, AGrowingFileIsAsItWasAndGoesOnFromThere) {
  auto counter = Counter("out");
  MakeJob("sim", {{"main", counter->pid()}});
  Good("sim", "checkpoint stop");
  EXPECT_EQ(StatusOf("sim").state, JobState::kStopped);
  size_t saved = Lines("out");
  {
    auto more = Open(Output("out"), O_WRONLY | O_APPEND);
    ASSERT_TRUE(WriteAll(more->get(), AsBytes("written after the checkpoint\n")));
  }
  Good("sim", "restart");
  AwaitLines("out", saved + 10);
  ExpectUnbroken("out");
  auto aside = ReadFile(Output("out") + ".before-restart-1", 1 << 24);
  ASSERT_TRUE(aside.ok());
  EXPECT_NE(aside->find("written after the checkpoint"), std::string::npos);
}

TEST_F(RestartCriuTest, AJobThatGoesOnIsRefusedThenRestartedAgainAndAgain) {
  auto counter = Counter("out");
  MakeJob("sim", {{"main", counter->pid()}});
  Good("sim", "checkpoint");
  size_t saved = Lines("out");
  AwaitLines("out", saved + 10);
  EXPECT_EQ(Do("sim", Cmd("restart")).error().code(), Errc::kWouldRunTwice);
  for (int i = 1; i <= 3; ++i) {
    Good("sim", "kill");
    EXPECT_EQ(StatusOf("sim").state, JobState::kEnded);
    Good("sim", "restart 1");
    AwaitLines("out", saved + 10);
    ExpectUnbroken("out");
    EXPECT_EQ(::access(fmt::format("{}.before-restart-{}", Output("out"), i).c_str(), F_OK), 0);
  }
  Good("sim", "checkpoint");
  EXPECT_EQ(store_->Versions("sim").size(), 2u);
}

TEST_F(RestartCriuTest, UnitsOfOneJobComeBackTogether) {
  auto a = Counter("a"), b = Counter("b");
  MakeJob("pair", {{"a", a->pid()}, {"b", b->pid()}});
  Good("pair", "checkpoint stop");
  size_t at_a = Lines("a"), at_b = Lines("b");
  Good("pair", "restart");
  AwaitLines("a", at_a + 10);
  AwaitLines("b", at_b + 10);
  ExpectUnbroken("a");
  ExpectUnbroken("b");
  EXPECT_EQ(StatusOf("pair").state, JobState::kRunning);
}

TEST_F(RestartCriuTest, ASuspendedJobIsSavedAsItIsAndRunsOnceRestarted) {
  auto counter = Counter("out");
  MakeJob("sim", {{"main", counter->pid()}});
  Good("sim", "suspend");
  size_t saved = Lines("out");
  Good("sim", "checkpoint");
  EXPECT_EQ(StatusOf("sim").state, JobState::kSuspended);
  EXPECT_EQ(Lines("out"), saved);
  EXPECT_TRUE(counter->Stopped());
  Good("sim", "kill");
  Good("sim", "restart");
  AwaitLines("out", saved + 10);
  ExpectUnbroken("out");
}

TEST_F(RestartCriuTest, RedisKeepsItsDataAndItsPort) {
  const std::string server = "/usr/bin/redis-server";
  if (::access(server.c_str(), X_OK) != 0) GTEST_SKIP() << "redis-server is not installed";
  auto cli = [&](const std::string& words) {
    FILE* pipe = ::popen(("redis-cli -p 27391 " + words + " 2>&1").c_str(), "re");
    char text[256] = "";
    size_t n = ::fread(text, 1, sizeof text - 1, pipe);
    ::pclose(pipe);
    return std::string(text, n);
  };
  Sleeper redis({server, "--port", "27391", "--save", "", "--dir", dir_});
  ASSERT_TRUE(Eventually([&] { return cli("ping") == "PONG\n"; }));
  ASSERT_EQ(cli("set fruit apple"), "OK\n");
  MakeJob("redis", {{"main", redis.pid()}});
  auto saved = Do("redis", Cmd("checkpoint stop"));
  if (!saved.ok() && saved.error().code() == Errc::kUnsupported) {
    EXPECT_EQ(cli("get fruit"), "apple\n") << "it goes on when it cannot be saved";
    GTEST_SKIP() << saved.error().Text();
  }
  ASSERT_TRUE(saved.ok()) << saved.error().Text();
  EXPECT_NE(cli("ping"), "PONG\n");
  Good("redis", "restart");
  EXPECT_EQ(cli("get fruit"), "apple\n");
  EXPECT_EQ(cli("set fruit pear"), "OK\n");
}

}  // namespace
}  // namespace ckptfs
