// Yielding: a thread that lets all others go first until it is told to hurry.
#pragma once

#include <sched.h>
#include <unistd.h>

#include <mutex>

namespace ckptfs {

// Thread-safe. The thread that called Begin calls Leave before it ends.
class Yielding {
 public:
  void Begin() {
    std::lock_guard lock(mutex_);
    if (hurried_) return;
    tid_ = ::gettid();
    Set(0, SCHED_IDLE);
  }
  void Leave() {
    std::lock_guard lock(mutex_);
    tid_ = 0;
  }
  // From now on, and for good. Where the kernel does not let us, it stays as it is.
  void Hurry() {
    std::lock_guard lock(mutex_);
    hurried_ = true;
    if (tid_ != 0) Set(tid_, SCHED_OTHER);
  }

 private:
  static void Set(pid_t tid, int policy) {
    sched_param none{};
    ::sched_setscheduler(tid, policy, &none);
  }
  std::mutex mutex_;
  pid_t tid_ = 0;
  bool hurried_ = false;
};

}  // namespace ckptfs
