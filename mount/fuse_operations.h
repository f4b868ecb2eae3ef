// The callbacks that libfuse calls: each takes the kernel's request apart, asks
// the tree, and lets mount/fuse_answers.h answer.
#pragma once

#include "mount/fuse_api.h"

namespace ckptfs {

const fuse_lowlevel_ops& FuseOperations();

// The largest read and write that the kernel may send.
inline constexpr unsigned kMaxRequestBytes = 1 << 20;

}  // namespace ckptfs
