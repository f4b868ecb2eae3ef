// What makes a daemon of the mount: detaching from the terminal once all is up,
// its surroundings, its log, its private folder in memory, and its end.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <thread>

#include "base/fd.h"
#include "base/log.h"
#include "base/result.h"

namespace ckptfs {

// Forks. The parent waits for the child's word and ends with its exit code; only
// the child returns, still on the terminal until Up. Before any thread is made.
class Detaching {
 public:
  // `foreground`: does not fork, and Up changes nothing.
  static Result<Detaching> Begin(bool foreground);
  // All is up: lets the parent end well, and leaves the terminal.
  Result<void> Up();

 private:
  explicit Detaching(Fd word) : word_(std::move(word)) {}
  Fd word_;  // invalid: in the foreground
};

// Subreaper, core dumps, memory that may be locked, open files, the OOM killer.
// What may not be done is left; `log` says so.
Result<void> SettleProcess(const Log& log);

// stderr, the system's log (/dev/log takes what Log writes, a line a datagram),
// or a file. The descriptor for Log.
Result<Fd> OpenLog(const std::string& log_file, bool foreground);

// The private folder in memory for checkpointers' sockets, emptied now and removed
// at the end. Named after the store, whose lock keeps others out of it.
class WorkDir {
 public:
  static Result<WorkDir> Make(const std::string& store_dir);
  WorkDir(WorkDir&& other) noexcept : path_(std::exchange(other.path_, {})) {}
  WorkDir& operator=(WorkDir&&) = delete;
  ~WorkDir();
  const std::string& path() const { return path_; }

 private:
  explicit WorkDir(std::string path) : path_(std::move(path)) {}
  std::string path_;
};

// Calls `stop` once (from its own thread) on SIGTERM, SIGINT or SIGHUP, or when
// `gone()`, asked after each change of the table of mounts, says true.
class EndWatch {
 public:
  // Blocks the signals in this thread and all that are made later.
  static Result<std::unique_ptr<EndWatch>> Make();
  void Watch(std::function<bool()> gone, std::function<void()> stop);
  ~EndWatch();

 private:
  EndWatch(Fd signals, Fd mounts, Fd end)
      : signals_(std::move(signals)), mounts_(std::move(mounts)), end_(std::move(end)) {}
  Fd signals_;
  Fd mounts_;
  Fd end_;
  std::thread thread_;
};

}  // namespace ckptfs
