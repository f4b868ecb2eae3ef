// Operation: one command at work on a job. Its phase and progress are read by
// anyone while its own thread runs it.
#pragma once

#include <atomic>
#include <chrono>
#include <deque>
#include <functional>
#include <list>
#include <memory>
#include <string>
#include <thread>

#include "agent/agent.h"
#include "base/guarded.h"

namespace ckptfs {

std::string_view VerbName(Verb verb);

class Operation {
 public:
  Operation(Verb verb, std::string command, std::shared_ptr<CancelToken> cancel)
      : verb_(verb), command_(std::move(command)), cancel_(std::move(cancel)) {}

  Verb verb() const { return verb_; }
  const std::string& command() const { return command_; }
  const std::shared_ptr<CancelToken>& cancel() const { return cancel_; }
  std::chrono::system_clock::time_point started() const { return started_; }
  double seconds() const;

  // A phase begins: bytes and rate are of the phase.
  void Enter(std::string_view phase);
  // One unit's counters, alive as long as the operation. The same again for the same unit.
  Progress* OfUnit(std::string_view unit);
  JobProgress Snapshot() const;
  // kCancelled once the token was set.
  Result<void> CheckCancelled() const;

 private:
  struct State {
    std::string phase = "idle";
    std::chrono::steady_clock::time_point entered = std::chrono::steady_clock::now();
    uint64_t bytes_at_entry = 0;
    std::deque<std::pair<std::string, Progress>> units;
    uint64_t BytesDone() const;
  };
  const Verb verb_;
  const std::string command_;
  const std::shared_ptr<CancelToken> cancel_;
  const std::chrono::system_clock::time_point started_ = std::chrono::system_clock::now();
  const std::chrono::steady_clock::time_point begun_ = std::chrono::steady_clock::now();
  Guarded<State> state_;
};

// The caller's answer: given once, by whoever comes first.
class Answer {
 public:
  explicit Answer(Agent::Done done) : done_(std::move(done)) {}
  // Without locks held. Later calls do nothing.
  void Give(Result<void> result) {
    if (!given_.exchange(true)) done_(std::move(result));
  }
  bool given() const { return given_; }

 private:
  Agent::Done done_;
  std::atomic<bool> given_{false};
};

// The threads that operations run on.
class OperationThreads {
 public:
  ~OperationThreads() { JoinAll(); }
  // Joins those that have ended meanwhile. kNoMemory and the like: no thread is to be had.
  Result<void> Start(std::function<void()> work);
  void JoinAll();

 private:
  struct Entry {
    std::thread thread;
    std::shared_ptr<std::atomic<bool>> ended;
  };
  Guarded<std::list<Entry>> entries_;
};

}  // namespace ckptfs
