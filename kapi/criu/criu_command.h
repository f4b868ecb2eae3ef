// Which criu there is and how it is run: as the job's owner with no capability
// beyond those that checkpointing needs, in a work folder, or inside the pid
// namespace of a unit that was restarted with new pids.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/child.h"
#include "base/process.h"
#include "base/result.h"

namespace ckptfs {

struct CriuProgram {
  std::string path;
  std::string version;     // "4.1.1"
  bool locks_tcp = false;  // can hold TCP connections still while they are saved
};

// CKPTFS_CRIU if set; else the system's criu if its own check passes; else the
// one that scripts/setup installed. Runs them: blocks for a tenth of a second.
// Errors: kUnsupported, with what criu said and what to do.
Result<CriuProgram> FindCriu();

// ckptfs-init: CKPTFS_INIT if set, else beside our own program or in ../libexec/ckptfs.
Result<std::string> FindInit();

struct CriuStart {
  std::vector<std::string> argv;  // criu's, without the options that every run has
  Credentials owner;
  int work_dir_fd = -1;   // criu's folder for images, log and sockets
  std::string work_dir;   // its path
  std::string init_path;  // ckptfs-init
  // A new terminal as standard input; controlling: of criu's session, which the job will be in.
  enum class Terminal { kNone, kForTheJob, kControlling } terminal = Terminal::kNone;
  // At most one of these:
  std::optional<ProcessId> enter;  // run inside this namespace init's pid namespace
  struct NewNamespace {
    pid_t last_pid = 0;  // criu's own pids come after this one
    pid_t root = 0;      // the pid inside whose exit status counts
  };
  std::optional<NewNamespace> new_namespace;
};

inline constexpr char kCriuLog[] = "criu.log";
inline constexpr char kHookSocket[] = "hook.sock";

// The child is criu, or ckptfs-init standing above it and ending with its status.
// It is in a session of its own and survives us.
Result<Child> StartCriu(const CriuProgram& criu, const CriuStart& start);

}  // namespace ckptfs
