// An agent on a real store in a folder of its own, for tests.
#pragma once

#include <gtest/gtest.h>

#include <future>

#include "agent/agent.h"
#include "tests/agent/scripted_checkpointer.h"
#include "tests/base/eventually.h"

namespace ckptfs {

class AgentTest : public testing::Test {
 protected:
  void SetUp() override;
  void TearDown() override;

  void StartAgent();
  // As a daemon that ends and comes back: store and all.
  void RestartAgent();
  virtual std::vector<std::unique_ptr<Checkpointer>> Checkpointers();

  // A job `name` whose units are these processes.
  void MakeJob(const std::string& name, const std::map<std::string, pid_t>& units);
  Result<void> Do(const std::string& job, Command command, Caller caller = {});
  std::future<Result<void>> Begin(const std::string& job, Command command, Caller caller = {},
                                  std::shared_ptr<CancelToken> cancel = nullptr);
  JobStatus StatusOf(const std::string& job);
  UnitStatus UnitOf(const std::string& job, const std::string& unit = "main");
  std::string Events() const;
  void SetPolicy(const std::string& job, const std::string& text);
  // Waits, on events and not on time, until the text is there so many times; fails after 20 s.
  void AwaitEvent(const std::string& text, int times = 1);
  void AwaitState(const std::string& job, JobState state);

  static Command Cmd(const std::string& text);

  std::string dir_;
  Log log_{2, Log::Level::kWarning};
  std::shared_ptr<Script> script_ = std::make_shared<Script>();
  std::shared_ptr<std::atomic<int64_t>> clock_seconds_;  // set: the agent's clock
  std::unique_ptr<Store> store_;
  std::unique_ptr<EventLog> events_;
  std::unique_ptr<Agent> agent_;
};

}  // namespace ckptfs
