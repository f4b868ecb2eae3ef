// What a standing process tree has open for writing: the files whose content a
// restart must find as it was.
#pragma once

#include <vector>

#include "base/process.h"
#include "kapi/checkpointer.h"

namespace ckptfs {

// Regular files that have a name, on a real file system, open for writing or
// mapped shared and writable by any of `tree`; each once. The processes must
// stand still. Reads each through a descriptor of its own.
Result<std::vector<OpenFile>> FindFilesOpenForWriting(const std::vector<ProcessInfo>& tree);

}  // namespace ckptfs
