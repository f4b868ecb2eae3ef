// The one place that turns our errors back into the kernel's numbers; the table
// is in docs/control_files.md.
#pragma once

#include "base/result.h"

namespace ckptfs {

int ErrnoOf(Errc code);

}  // namespace ckptfs
