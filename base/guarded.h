// Guarded<T>: a value that can be reached only under its own lock.
#pragma once

#include <condition_variable>
#include <mutex>
#include <utility>

namespace ckptfs {

template <typename T>
class Guarded {
 public:
  // Holds the lock for as long as it lives. Movable, so that it can be returned.
  class Locked {
   public:
    T* operator->() { return value_; }
    T& operator*() { return *value_; }
    // Waits on `changed` until `ready()`; the lock is free while waiting.
    template <typename Predicate>
    void Wait(std::condition_variable& changed, Predicate ready) {
      changed.wait(lock_, std::move(ready));
    }
    // The same, at most `limit`; false when the time ran out first.
    template <typename Duration, typename Predicate>
    bool WaitFor(std::condition_variable& changed, Duration limit, Predicate ready) {
      return changed.wait_for(lock_, limit, std::move(ready));
    }

   private:
    friend class Guarded;
    Locked(std::mutex& mutex, T* value) : lock_(mutex), value_(value) {}
    std::unique_lock<std::mutex> lock_;
    T* value_;
  };

  template <typename... Args>
  explicit Guarded(Args&&... args) : value_(std::forward<Args>(args)...) {}
  Guarded(const Guarded&) = delete;
  Guarded& operator=(const Guarded&) = delete;

  Locked Lock() { return Locked(mutex_, &value_); }
  // For const methods of the owner: same lock, same value.
  Locked Lock() const { return Locked(mutex_, &value_); }

 private:
  mutable std::mutex mutex_;
  mutable T value_;
};

}  // namespace ckptfs
