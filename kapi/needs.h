// What a process tree needs from the node that it is restarted on.
#pragma once

#include <sys/types.h>

#include <map>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

#include "base/guarded.h"
#include "base/process.h"
#include "kapi/checkpointer.h"

namespace ckptfs {

// Remembers build ids between checkpoints, so that only new files are read.
class NeedsReader {
 public:
  Result<Needs> Read(const std::vector<ProcessInfo>& tree);

 private:
  struct FileKey {
    dev_t device;
    ino_t inode;
    int64_t modified_seconds;
    int64_t modified_nanoseconds;
    friend bool operator<(const FileKey& a, const FileKey& b) {
      return std::tie(a.device, a.inode, a.modified_seconds, a.modified_nanoseconds) <
             std::tie(b.device, b.inode, b.modified_seconds, b.modified_nanoseconds);
    }
  };
  std::string BuildIdOf(const std::string& magic_link);

  Guarded<std::map<FileKey, std::string>> build_ids_;  // "" for files without one
};

// Whether a word of /proc/cpuinfo's flags is of instructions that programs may be using.
// The others tell of the kernel, the hypervisor and the CPU's faults, and differ between
// machines on which the same programs run. On other architectures than x86-64 all are.
bool IsInstructionSet(std::string_view flag);

// The instruction sets of this CPU, sorted; empty if /proc does not tell.
std::vector<std::string> CpuFeatures();

// The GNU build id in the notes of an ELF file's start; "" if there is none there.
std::string ParseBuildId(Bytes file);

}  // namespace ckptfs
