// FuseSession: one mount of a tree, from mount(2) until nothing is to be answered.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/log.h"
#include "base/result.h"
#include "fs/tree.h"

namespace ckptfs {

struct FuseMountOptions {
  std::string mountpoint;            // absolute
  std::string source;                // shown by mount(8): the store
  std::vector<std::string> options;  // for -o, one each: "allow_other", "ro"
};

class FuseSession {
 public:
  // Mounts. From here on callers block until Loop runs. Borrows `tree` and
  // `workers`, which must outlive this.
  static Result<std::unique_ptr<FuseSession>> Mount(Tree* tree, Workers* workers,
                                                    FuseMountOptions options, const Log* log);
  // Unmounts, if nobody has yet. Requests may still be answered until here.
  virtual ~FuseSession() = default;

  // Answers requests until the mount is gone or Stop is called. Once, in the
  // thread that mounted.
  virtual Result<void> Loop() = 0;
  // From any thread, more than once: takes the mount out of the tree of names
  // (lazily, so also while files are open) and ends Loop.
  virtual void Stop() = 0;
};

}  // namespace ckptfs
