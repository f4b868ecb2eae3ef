#include <fcntl.h>
#include <stdlib.h>

#include <condition_variable>
#include <sstream>
#include <thread>

#include "tests/agent/agent_test.h"

namespace ckptfs {

void AgentTest::SetUp() {
  char name[] = "/tmp/ckptfs-agent-test-XXXXXX";
  ASSERT_NE(::mkdtemp(name), nullptr);
  dir_ = name;
  auto dir = Open(dir_, O_RDONLY | O_DIRECTORY);
  ASSERT_TRUE(EnsureDir(dir->get(), "work", 0711));
  StartAgent();
}

void AgentTest::TearDown() {
  agent_.reset();
  events_.reset();
  store_.reset();
  for (Child& child : *script_->restored.Lock()) {
    (void)child.Signal(SIGKILL);
    if (child.running()) (void)child.Wait();
  }
  auto tmp = Open("/tmp", O_RDONLY | O_DIRECTORY);
  if (!dir_.empty()) {
    EXPECT_TRUE(RemoveTree(tmp->get(), dir_.substr(5)));
  }
}

std::vector<std::unique_ptr<Checkpointer>> AgentTest::Checkpointers() {
  std::vector<std::unique_ptr<Checkpointer>> all;
  all.push_back(MakeScripted(script_));
  return all;
}

void AgentTest::StartAgent() {
  auto store = Store::Open({.dir = dir_ + "/store", .node = "here", .ask_passphrase = {}}, log_);
  ASSERT_TRUE(store.ok()) << store.error().Text();
  store_ = std::move(*store);
  auto dir = Open(dir_, O_RDONLY | O_DIRECTORY);
  auto events = EventLog::Open(dir->get(), 1 << 20);
  ASSERT_TRUE(events.ok()) << events.error().Text();
  events_ = std::move(*events);
  AgentOptions options;
  options.store = store_.get();
  options.checkpointers = Checkpointers();
  options.node = "here";
  options.work_dir = dir_ + "/work";
  options.events = events_.get();
  options.log = &log_;
  if (clock_seconds_)
    options.now = [clock = clock_seconds_] {
      return std::chrono::steady_clock::time_point(std::chrono::seconds(*clock));
    };
  auto agent = Agent::Start(std::move(options));
  ASSERT_TRUE(agent.ok()) << agent.error().Text();
  agent_ = std::move(*agent);
}

void AgentTest::RestartAgent() {
  agent_.reset();
  events_.reset();
  store_.reset();
  StartAgent();
}

void AgentTest::MakeJob(const std::string& name, const std::map<std::string, pid_t>& units) {
  auto made = agent_->MakeJob(name, {});
  ASSERT_TRUE(made.ok()) << made.error().Text();
  if (!units.contains("main")) {
    ASSERT_TRUE(agent_->ForgetUnit(name, "main", {}));
  }
  for (const auto& [unit, pid] : units) {
    if (unit != "main") {
      ASSERT_TRUE(agent_->MakeUnit(name, unit, {}));
    }
    if (pid == 0) continue;
    auto attached = agent_->Attach(name, unit, pid, {});
    ASSERT_TRUE(attached.ok()) << attached.error().Text();
  }
}

std::future<Result<void>> AgentTest::Begin(const std::string& job, Command command, Caller caller,
                                           std::shared_ptr<CancelToken> cancel) {
  auto promise = std::make_shared<std::promise<Result<void>>>();
  agent_->Execute(job, command, caller, std::move(cancel),
                  [promise](Result<void> result) { promise->set_value(std::move(result)); });
  return promise->get_future();
}

Result<void> AgentTest::Do(const std::string& job, Command command, Caller caller) {
  auto answer = Begin(job, std::move(command), caller);
  if (answer.wait_for(std::chrono::seconds(60)) != std::future_status::ready)
    return Fail(Errc::kTimedOut, "no answer");
  return answer.get();
}

JobStatus AgentTest::StatusOf(const std::string& job) {
  auto status = agent_->Status(job, {});
  EXPECT_TRUE(status.ok()) << status.error().Text();
  return status ? *status : JobStatus{};
}

UnitStatus AgentTest::UnitOf(const std::string& job, const std::string& unit) {
  for (const UnitStatus& each : StatusOf(job).units)
    if (each.name == unit) return each;
  ADD_FAILURE() << "job " << job << " has no unit " << unit;
  return {};
}

std::string AgentTest::Events() const {
  auto text = events_->Read(0, 1 << 20);
  return text ? *text : text.error().Text();
}

void AgentTest::SetPolicy(const std::string& job, const std::string& text) {
  auto policy = agent_->GetPolicy(job, {});
  ASSERT_TRUE(policy.ok());
  auto changed = policy->With(text);
  ASSERT_TRUE(changed.ok()) << changed.error().Text();
  ASSERT_TRUE(agent_->SetPolicy(job, *changed, {}));
}

void AgentTest::AwaitEvent(const std::string& text, int times) {
  auto is_there = [&] {
    std::string events = Events();
    int count = 0;
    for (size_t at = 0; (at = events.find(text, at)) != std::string::npos; ++at) ++count;
    return count >= times;
  };
  std::mutex mutex;
  std::condition_variable added;
  uint64_t id = events_->Subscribe([&] {
    std::lock_guard lock(mutex);
    added.notify_all();
  });
  {
    std::unique_lock lock(mutex);
    EXPECT_TRUE(added.wait_for(lock, std::chrono::seconds(20), is_there))
        << "no event '" << text << "' in:\n"
        << Events();
  }
  events_->Unsubscribe(id);
}

void AgentTest::AwaitState(const std::string& job, JobState state) {
  (void)Eventually([&] { return StatusOf(job).state == state; }, std::chrono::seconds(20));
  EXPECT_EQ(JobStateName(StatusOf(job).state), JobStateName(state));
}

// The words of a command as fs/ would understand them.
Command AgentTest::Cmd(const std::string& text) {
  Command command;
  command.text = text;
  std::istringstream words(text);
  std::string word;
  words >> word;
  for (Verb verb : {Verb::kCheckpoint, Verb::kRestart, Verb::kSuspend, Verb::kResume, Verb::kKill,
                    Verb::kMigrate, Verb::kCancel}) {
    const char* const names[] = {"checkpoint", "restart", "suspend", "resume",
                                 "kill",       "migrate", "cancel"};
    if (word == names[static_cast<size_t>(verb)]) command.verb = verb;
  }
  while (words >> word) {
    if (word == "stop") command.stop = true;
    if (word == "full") command.full = true;
    if (word == "clone") command.clone = true;
    if (word == "&") command.background = true;
    if (word.starts_with("node=")) command.node = word.substr(5);
    if (word.find_first_not_of("0123456789") == std::string::npos)
      command.version = std::stoull(word);
  }
  return command;
}

}  // namespace ckptfs
