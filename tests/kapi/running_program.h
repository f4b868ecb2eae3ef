// Real programs for tests: started, watched, and gone when the test ends.
#pragma once

#include <string>
#include <vector>

#include "base/child.h"
#include "base/process.h"
#include "kapi/checkpointer.h"
#include "tests/base/eventually.h"

namespace ckptfs {

// A private folder that goes away with its content.
class TestDir {
 public:
  // In memory, owned by uid:gid.
  explicit TestDir(uid_t uid = 0, gid_t gid = 0);
  ~TestDir();
  const std::string& path() const { return path_; }
  std::string operator/(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

// One program, in a session of its own unless told otherwise. Ended, with all that
// descends from it, by the destructor.
class RunningProgram {
 public:
  explicit RunningProgram(const std::vector<std::string>& argv, ChildOptions options = {});
  // A process that a restore brought.
  explicit RunningProgram(UnitProcesses unit) : unit_(std::move(unit)) {}
  ~RunningProgram();
  RunningProgram(const RunningProgram&) = delete;
  RunningProgram& operator=(const RunningProgram&) = delete;

  UnitProcesses& unit() { return unit_; }
  pid_t pid() const { return unit_.root.pid; }
  bool alive() const { return IsAlive(unit_.root); }
  void KillAll();

 private:
  UnitProcesses unit_;
};

// A file of fixed size that a program counts in, so that its size never differs
// from that in an image: `$0 FILE` in tests/programs write decimal numbers there.
class Counter {
 public:
  explicit Counter(const std::string& path, uid_t uid = 0, gid_t gid = 0);
  const std::string& path() const { return path_; }
  long Value() const;
  // It has grown by at least `by` since `from`.
  bool GrowsFrom(long from, int by = 2) const {
    return Eventually([&] { return Value() >= from + by; }, std::chrono::seconds(20));
  }

 private:
  std::string path_;
};

Credentials RootCredentials();
Credentials UserCredentials(uid_t uid, gid_t gid);

}  // namespace ckptfs
