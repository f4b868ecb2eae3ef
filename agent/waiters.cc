#include "agent/waiters.h"

namespace ckptfs {

uint64_t Waiters::Add(std::shared_ptr<Job> job, Agent::Ended done) {
  auto state = state_.Lock();
  uint64_t id = state->next_id++;
  state->waiting.emplace(id, std::pair(std::move(job), std::move(done)));
  return id;
}

void Waiters::Remove(uint64_t id) {
  auto state = state_.Lock();
  state->waiting.erase(id);
  state.Wait(called_, [&] {
    auto it = state->calling.find(id);
    return it == state->calling.end() || it->second == std::this_thread::get_id();
  });
}

void Waiters::Tell(const Job* job, const Result<std::string>& outcome) {
  // One at a time, for each may be removed while another is called. Those that
  // come meanwhile have seen the job's new state.
  uint64_t before = state_.Lock()->next_id;
  for (;;) {
    uint64_t id = 0;
    Agent::Ended done;
    {
      auto state = state_.Lock();
      for (auto it = state->waiting.begin(); it != state->waiting.end(); ++it) {
        if (it->first >= before) break;
        if (job != nullptr && it->second.first.get() != job) continue;
        id = it->first;
        done = std::move(it->second.second);
        state->waiting.erase(it);
        state->calling.emplace(id, std::this_thread::get_id());
        break;
      }
    }
    if (id == 0) return;
    done(outcome);
    state_.Lock()->calling.erase(id);
    called_.notify_all();
  }
}

}  // namespace ckptfs
