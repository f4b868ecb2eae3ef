// criu's pstree.img: which processes an image holds, with the pids that they
// will want to have again.
#pragma once

#include <sys/types.h>

#include <vector>

#include "base/bytes.h"
#include "base/result.h"
#include "kapi/image.h"

namespace ckptfs {

struct PstreeEntry {
  pid_t pid = 0, parent = 0, group = 0, session = 0;
  std::vector<pid_t> threads;
};

// At least one entry, the root first. kCorrupt for anything that is no pstree.img.
Result<std::vector<PstreeEntry>> ParsePstree(Bytes image);
Result<std::vector<PstreeEntry>> ReadPstree(ImageSource& source);

// A whole stream of `limit_bytes` at most; kTooBig beyond.
Result<std::string> ReadStream(ImageSource& source, std::string_view name, size_t limit_bytes);

// kExists naming who has a pid that the image needs; waits up to 3 s for pids
// that only zombies hold, whose parents are late; reaps those that are ours.
Result<void> CheckPidsAreFree(const std::vector<PstreeEntry>& tree);

// A pid after which at least 64 are free of the image's own, for criu itself.
pid_t PidClearOf(const std::vector<PstreeEntry>& tree);

}  // namespace ckptfs
