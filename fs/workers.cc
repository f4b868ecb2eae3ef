#include "fs/workers.h"

namespace ckptfs {

Workers::Workers(size_t threads) {
  for (size_t i = 0; i < threads; ++i) threads_.emplace_back([this] { Work(); });
}

Workers::~Workers() {
  state_.Lock()->ending = true;
  changed_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

void Workers::Post(std::function<void()> task) {
  state_.Lock()->tasks.push_back(std::move(task));
  changed_.notify_one();
}

void Workers::Work() {
  for (;;) {
    std::function<void()> task;
    {
      auto state = state_.Lock();
      state.Wait(changed_,
                 [&] { return !state->tasks.empty() || (state->ending && state->busy == 0); });
      if (state->tasks.empty()) break;
      task = std::move(state->tasks.front());
      state->tasks.pop_front();
      ++state->busy;
    }
    task();
    task = nullptr;  // what it holds goes before we count as idle
    bool last;
    {
      auto state = state_.Lock();
      last = --state->busy == 0 && state->ending;
    }
    if (last) changed_.notify_all();
  }
}

}  // namespace ckptfs
