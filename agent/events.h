// The event log of the node (one line an event) and the error logs (the last
// failed commands, of the node and of each job).
#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "base/fd.h"
#include "base/guarded.h"
#include "base/result.h"

namespace ckptfs {

// A growing file with a true size: readers see only whole lines. Kept in the
// store's folder; past a bound the oldest half goes and the file starts anew
// (inode number and size tell `tail -F`). Thread-safe.
//   2026-11-23T18:00:00.123Z JOB checkpoint ok seconds=0.512 version=3 bytes=1234 …
class EventLog {
 public:
  static Result<std::unique_ptr<EventLog>> Open(int dir_fd, uint64_t limit_bytes);
  ~EventLog();

  // One event; newlines and control characters in `text` are escaped. `job` may be "-".
  void Add(std::string_view job, std::string_view text);
  uint64_t size_bytes() const;
  Result<std::string> Read(uint64_t offset, size_t limit_bytes) const;

  // `wake` is called (from any thread, without the log's own locks held, one call at a time) after
  // each Add until Unsubscribe returns. It must not unsubscribe itself or add events.
  uint64_t Subscribe(std::function<void()> wake);
  void Unsubscribe(uint64_t id);

 private:
  struct State;
  explicit EventLog(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

// The last failed commands, newest last, each as three lines: when and what was
// written, what was wrong, what to do. Bounded. Thread-safe.
class ErrorLog {
 public:
  explicit ErrorLog(size_t limit_entries) : limit_entries_(limit_entries) {}
  void Add(std::string_view command, const Error& error);
  std::string Text() const;

 private:
  size_t limit_entries_;
  Guarded<std::deque<std::string>> entries_;
};

// 2026-11-23T18:00:00.123Z
std::string FormatTime(std::chrono::system_clock::time_point when);

}  // namespace ckptfs
