// Supervisor: one thread that watches the root of every live unit, and ticks.
//
// A root that is ckptfs-init stays behind its program to keep how that ended in
// its name ("ckpt:exit=3"); the supervisor reads it there and lets it go.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "base/process.h"
#include "base/result.h"

namespace ckptfs {

// Thread-safe. Callbacks come from its one thread, without locks held.
class Supervisor {
 public:
  // "exit 3", "killed by signal 9 (SIGKILL)", "unknown".
  using Ended = std::function<void(std::string exit)>;

  // `tick` is called every second, and about every 200 ms while it answers true or
  // after Hurry.
  static Result<std::unique_ptr<Supervisor>> Start(std::function<bool()> tick);
  ~Supervisor();
  // Joins its thread: no callback is under way or comes any more. Watch and the
  // rest may still be called.
  void Stop();

  // `ended` is called once when the process has ended, unless Unwatch comes first.
  // kGone if it has ended already: how is not to be learned then.
  Result<uint64_t> Watch(const ProcessId& process, Ended ended);
  // The callback may still be under way when this returns.
  void Unwatch(uint64_t id);
  void Hurry();

 private:
  struct State;
  explicit Supervisor(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

// What ckptfs-init keeps in its name: "exit 3" for "ckpt:exit=3", "" for any other name.
std::string KeptExit(std::string_view comm);

}  // namespace ckptfs
