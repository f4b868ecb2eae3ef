// What /proc tells of processes: credentials, kinship, identity.
//
// A pid alone names nothing for long. ProcessId adds the start time, which the
// kernel never repeats for the same pid within one boot.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/fd.h"
#include "base/result.h"

namespace ckptfs {

struct ProcessId {
  pid_t pid = 0;
  uint64_t start_ticks = 0;  // field 22 of /proc/PID/stat, since boot
  friend bool operator==(const ProcessId&, const ProcessId&) = default;
};

struct Credentials {
  uid_t real_uid = 0, effective_uid = 0, saved_uid = 0, fs_uid = 0;
  gid_t real_gid = 0, effective_gid = 0, saved_gid = 0, fs_gid = 0;
  std::vector<gid_t> groups;  // sorted
  uint64_t permitted_capabilities = 0;
  friend bool operator==(const Credentials&, const Credentials&) = default;
};

struct ProcessInfo {
  ProcessId id;
  pid_t thread_group = 0;  // != id.pid: this is a thread
  pid_t parent = 0;
  pid_t group = 0;
  pid_t session = 0;
  int tty = 0;  // 0: no controlling terminal
  char state = '?';
  bool kernel_thread = false;
  bool exiting = false;        // past its last instruction, still giving back what it holds
  bool kill_pending = false;   // a SIGKILL waits for it
  std::string name;            // comm
  std::vector<pid_t> ns_pids;  // NStgid: outermost first; size > 1: in a pid namespace
  Credentials credentials;
};

// nullopt: no such process. Zombies are there (state 'Z').
Result<std::optional<ProcessInfo>> ReadProcess(pid_t pid);
// Still the same process, and not a zombie.
bool IsAlive(const ProcessId& id);
// On its way out, or gone: killed (SIGKILL waits for it) or exiting, which takes a
// while for a process with much memory. It will not run another instruction of its own.
bool IsDying(const ProcessId& id);

// `root` and all its descendants, parents first, read from the kernel's lists of
// children. A tree that changes meanwhile is answered as some mixture of its states.
Result<std::vector<ProcessInfo>> ReadTree(pid_t root);
// Whether `pid` is `root` or below it, by following parents.
bool IsInTree(pid_t pid, pid_t root);

// A pidfd for exactly this process: kGone when the pid now names another.
Result<Fd> OpenPidfd(const ProcessId& id);

// Path in the v2 hierarchy (or the named systemd one), "" if unreadable.
std::string CgroupOf(pid_t pid);

}  // namespace ckptfs
