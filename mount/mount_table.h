// The mounts of this machine, as /proc/self/mountinfo tells them.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"

namespace ckptfs {

struct MountedTree {
  std::string mountpoint;
  std::string source;  // the store
  std::string type;
  unsigned major = 0, minor = 0;
};

// All of type fuse.ckptfs, in the order in which they were mounted.
Result<std::vector<MountedTree>> FindMounts();
// The topmost mount of any type exactly at `path` (absolute, resolved).
Result<std::vector<MountedTree>> MountsAt(const std::string& path);

// Takes the mount at `path` out of the tree of names, also while files in it are
// open: as root by umount2, else by fusermount3. No mount there is success.
Result<void> DetachMount(const std::string& path);

// Makes `path` fit to be mounted on: a folder, with no ckptfs that is alive on it.
// One whose daemon is dead is detached first. Gives the resolved path.
Result<std::string> PrepareMountpoint(const std::string& path);

}  // namespace ckptfs
