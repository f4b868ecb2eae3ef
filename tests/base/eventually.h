// For conditions that nothing announces. What can be waited for, by a promise, a
// pipe or an event, is waited for there.
#pragma once

#include <chrono>
#include <thread>

namespace ckptfs {

// True once `condition` holds; false when it does not within `limit`.
template <typename Condition>
bool Eventually(Condition condition, std::chrono::seconds limit = std::chrono::seconds(60)) {
  auto deadline = std::chrono::steady_clock::now() + limit;
  while (!condition()) {
    if (std::chrono::steady_clock::now() > deadline) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  return true;
}

}  // namespace ckptfs
