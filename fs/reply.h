// Reply: the one answer to one request of the tree. The tree may answer at once,
// later, or from another thread; an answer that was forgotten becomes an error
// when the last copy goes, so that no caller hangs in the kernel.
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <utility>

#include "base/result.h"

namespace ckptfs {

// The part of a Reply that whoever asked can use to say "I no longer want it".
class Interruption {
 public:
  // Runs what the tree left for this case, if the answer is still open. Once.
  void Interrupt() {
    std::function<void()> act;
    {
      std::lock_guard lock(mutex_);
      if (over_) return;
      interrupted_ = true;
      act = std::move(act_);
      act_ = nullptr;
    }
    if (act) act();
  }

 protected:
  // `arm` runs under the lock, so that no answer can come while it does, and not
  // at all after the answer.
  void Keep(std::function<void()> act, const std::function<void()>& arm) {
    {
      std::lock_guard lock(mutex_);
      if (over_) return;
      if (!interrupted_) {
        act_ = std::move(act);
        if (arm) arm();
        return;
      }
    }
    act();
  }
  // True for the first caller alone.
  bool Close() {
    std::function<void()> dropped;  // may hold the reply itself: destroyed outside of the lock
    std::lock_guard lock(mutex_);
    dropped = std::move(act_);
    act_ = nullptr;
    return !std::exchange(over_, true);
  }

 private:
  std::mutex mutex_;
  std::function<void()> act_;
  bool interrupted_ = false;
  bool over_ = false;
};

// Copies share the one answer. Thread-safe.
template <typename T>
class Reply {
 public:
  using Answer = std::function<void(Result<T>)>;

  // `interruptible` is called at most once, when the tree first asks to be told
  // of an interruption: most requests never need to be found again. It must not
  // answer or interrupt before it returns.
  explicit Reply(Answer answer,
                 std::function<void(std::weak_ptr<Interruption>)> interruptible = nullptr)
      : state_(std::make_shared<State>(std::move(answer), std::move(interruptible))) {}

  // Exactly once over all copies; a second answer is our bug and is dropped.
  void operator()(Result<T> result) const { state_->Give(std::move(result)); }

  // `act` runs (in any thread, at once if it has already happened) when the
  // caller gives up before the answer. It must lead to an answer.
  void OnInterrupt(std::function<void()> act) const { state_->Arm(state_, std::move(act)); }

 private:
  class State : public Interruption {
   public:
    State(Answer answer, std::function<void(std::weak_ptr<Interruption>)> interruptible)
        : answer_(std::move(answer)), interruptible_(std::move(interruptible)) {}
    State(const State&) = delete;
    State& operator=(const State&) = delete;
    ~State() { Give(Fail(Errc::kInternal, "a request was left without an answer")); }
    void Give(Result<T> result) {
      if (Close()) answer_(std::move(result));
    }
    void Arm(const std::shared_ptr<State>& self, std::function<void()> act) {
      Keep(std::move(act), [&] {
        if (interruptible_) std::exchange(interruptible_, nullptr)(self);
      });
    }

   private:
    Answer answer_;
    std::function<void(std::weak_ptr<Interruption>)> interruptible_;
  };
  std::shared_ptr<State> state_;
};

}  // namespace ckptfs
