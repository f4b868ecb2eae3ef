// Waiters: who waits for a job's end. Hundreds may; none holds a thread.
#pragma once

#include <condition_variable>
#include <map>
#include <memory>
#include <string>
#include <thread>

#include "agent/job.h"

namespace ckptfs {

class Waiters {
 public:
  // 0 is never an id.
  uint64_t Add(std::shared_ptr<Job> job, Agent::Ended done);
  // After it returns `done` is not called and no call of it is under way, but for
  // one that is itself calling this.
  void Remove(uint64_t id);
  // Calls, without locks held, those of `job`, each once; null: all of them.
  void Tell(const Job* job, const Result<std::string>& outcome);

 private:
  struct State {
    std::map<uint64_t, std::pair<std::shared_ptr<Job>, Agent::Ended>> waiting;
    std::map<uint64_t, std::thread::id> calling;
    uint64_t next_id = 1;
  };
  Guarded<State> state_;
  std::condition_variable called_;
};

}  // namespace ckptfs
