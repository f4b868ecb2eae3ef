// The callbacks that libfuse calls: each takes the kernel's request apart, asks
// the tree, and lets mount/fuse_answers.h answer.
#pragma once

#include "mount/fuse_api.h"

namespace ckptfs {

const fuse_lowlevel_ops& FuseOperations();

// The largest write that the kernel may send.
inline constexpr unsigned kMaxWriteBytes = 1 << 20;
// The largest read: its answer and a header have to fit into a pipe of the usual
// greatest size, else libfuse copies it through memory of its own.
inline constexpr unsigned kMaxReadBytes = 512 << 10;

}  // namespace ckptfs
