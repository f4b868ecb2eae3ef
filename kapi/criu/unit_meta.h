// What a restore must know and criu's own files do not tell: a small stream of
// ours in the image, beside criu's.
#pragma once

#include <string>
#include <vector>

#include "base/process.h"
#include "base/result.h"
#include "kapi/image.h"

namespace ckptfs {

inline constexpr char kUnitMetaStream[] = "ckptfs-unit";

// A process as it was when it was saved: by this a restart knows it again.
struct SavedProcess {
  ProcessId id;       // in the daemon's pid namespace
  pid_t inside = 0;   // in its own: what a restart gives it again
  std::string words;  // the front of its command line
};

struct UnitMeta {
  bool leader_outside = false;  // the root's session is led by a process outside of the tree
  bool terminal = false;        // a terminal is used in the tree; its other end is outside
  std::string boot_id;          // of the machine it was saved on; "": not known
  std::vector<SavedProcess> processes;
  bool shell_job() const { return leader_outside || terminal; }  // criu's word for it
};

// `tree` as it is now, kMostSavedProcesses of it at most.
void AddProcesses(const std::vector<ProcessInfo>& tree, UnitMeta* meta);

// kWouldRunTwice, with what to do, if the unit's processes live: the very ones that
// were saved, wherever on this machine; or, if `same_pids`, ones with their pids and
// their command lines, which an earlier restart has made. Waits for those that are
// dying, for 10 s at most.
Result<void> CheckNotAlive(const UnitMeta& meta, bool same_pids);

inline constexpr size_t kMostSavedProcesses = 4096;

Result<void> WriteUnitMeta(ImageSink& sink, const UnitMeta& meta);
Result<UnitMeta> ReadUnitMeta(ImageSource& source);

}  // namespace ckptfs
