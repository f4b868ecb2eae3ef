// Child: a process that we started, held by a pidfd and always reaped.
//
// The daemon has many threads and large buffers, so children are made the way
// vfork does: nothing is copied, and between the clone and the exec only system
// calls run.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <optional>
#include <string>
#include <vector>

#include "base/fd.h"
#include "base/result.h"

namespace ckptfs {

// Whom a child runs as. Ambient capabilities are numbers (CAP_…); with an empty
// list and a uid that is not 0 the child has none. Starting one under other
// credentials makes this process undumpable (PR_SET_DUMPABLE 0): until its exec
// the child is the other user's and shares our memory.
struct ChildCredentials {
  uid_t uid = 0;
  gid_t gid = 0;
  std::vector<gid_t> groups;
  std::vector<int> ambient_capabilities;
};

struct ChildOptions {
  std::vector<std::string> argv;                        // argv[0] is a path, not searched for
  std::optional<std::vector<std::string>> environment;  // unset: ours
  int stdin_fd = -1;                                    // -1: /dev/null
  int stdout_fd = -1;
  int stderr_fd = -1;
  // Borrowed; passed on under the numbers 3, 4, … in this order. All else is closed.
  std::vector<int> pass_fds;
  std::optional<ChildCredentials> credentials;  // unset: ours
  // Borrowed descriptors of namespaces (setns) entered before the credentials change.
  // A pid namespace is entered by the child's own children only.
  std::vector<int> enter_namespaces;
  std::string working_directory;  // empty: "/"
  bool new_session = true;        // setsid: a ^C on our terminal is not for it
};

// How a process ended.
struct ExitStatus {
  bool signalled = false;
  int code = 0;  // exit code, or the signal's number
  bool Success() const { return !signalled && code == 0; }
  std::string Text() const;  // "exit 3", "killed by signal 9 (SIGKILL)"
  static ExitStatus FromWait(int wait_status);
};

class Child {
 public:
  // An exec that fails is an error here, with its errno.
  static Result<Child> Spawn(const ChildOptions& options);

  Child(Child&& other) noexcept;
  Child& operator=(Child&& other) noexcept;
  // Waits for the child: kill it first, or Disown it, if that must not block.
  ~Child();

  pid_t pid() const { return pid_; }
  int pidfd() const { return pidfd_.get(); }  // readable when it has ended
  bool running() const { return pid_ > 0; }

  // Blocks. Once only; after it `running()` is false.
  Result<ExitStatus> Wait();
  // nullopt when the time ran out; then it still runs.
  Result<std::optional<ExitStatus>> WaitFor(std::chrono::milliseconds limit);
  Result<void> Signal(int signal_number) const;
  // Leaves it alone: it outlives us and is reaped by whoever inherits it.
  void Disown();

 private:
  Child(pid_t pid, Fd pidfd) : pid_(pid), pidfd_(std::move(pidfd)) {}
  pid_t pid_ = -1;
  Fd pidfd_;
};

// Reaps the zombies that became our children without being started by us, as a
// subreaper's do, but for those in `spare`, whose status somebody else waits for.
// Never takes a Child's. Does not block; cheap enough for a regular tick.
void ReapAdopted(const std::vector<pid_t>& spare);

}  // namespace ckptfs
