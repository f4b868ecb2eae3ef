// Workers: a few threads for what blocks (an fsync, the check of an image), so
// that no thread that serves the mount ever does.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <thread>
#include <vector>

#include "base/guarded.h"

namespace ckptfs {

class Workers {
 public:
  explicit Workers(size_t threads);
  // Finishes what was posted.
  ~Workers();
  Workers(const Workers&) = delete;
  Workers& operator=(const Workers&) = delete;

  // Runs `task` in one of the threads, in the order posted. After the destructor
  // has begun tasks may still post tasks.
  void Post(std::function<void()> task);

 private:
  void Work();
  struct State {
    std::deque<std::function<void()>> tasks;
    size_t busy = 0;
    bool ending = false;
  };
  Guarded<State> state_;
  std::condition_variable changed_;
  std::vector<std::thread> threads_;
};

}  // namespace ckptfs
