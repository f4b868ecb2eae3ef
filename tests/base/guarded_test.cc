#include "base/guarded.h"

#include <gtest/gtest.h>

#include <chrono>
#include <thread>
#include <vector>

namespace ckptfs {
namespace {

using namespace std::chrono_literals;

TEST(Guarded, OneThreadAtATimeIsInside) {
  Guarded<int> count(0);
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&] {
      for (int i = 0; i < 1000; ++i) ++*count.Lock();
    });
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(*count.Lock(), 4000);
}

TEST(Guarded, WaitingLeavesTheLockFree) {
  Guarded<std::vector<int>> queue;
  std::condition_variable changed;
  std::thread producer([&] {
    queue.Lock()->push_back(1);
    changed.notify_all();
  });
  auto locked = queue.Lock();
  locked.Wait(changed, [&] { return !locked->empty(); });
  EXPECT_EQ(locked->front(), 1);
  producer.join();
}

TEST(Guarded, WaitForTellsWhenTheTimeRanOut) {
  Guarded<bool> ready(false);
  std::condition_variable changed;
  auto locked = ready.Lock();
  EXPECT_FALSE(locked.WaitFor(changed, 5ms, [&] { return *locked; }));
  *locked = true;
  EXPECT_TRUE(locked.WaitFor(changed, 5ms, [&] { return *locked; }));
}

TEST(Guarded, CanBeLockedInAConstOwner) {
  const Guarded<int> value(7);
  EXPECT_EQ(*value.Lock(), 7);
}

}  // namespace
}  // namespace ckptfs
