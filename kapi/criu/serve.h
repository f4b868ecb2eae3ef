// The restore side: answers a restoring criu's requests for image files and
// feeds each that exists through its pipe, all of them at once.
#pragma once

#include "kapi/checkpointer.h"
#include "kapi/criu/capture.h"
#include "kapi/criu/criu_run.h"

namespace ckptfs {

// Blocks. After an error the caller hangs up on criu, which then ends what it
// had built. Errors: the source's, kCancelled, kCorrupt for what criu may not say.
Result<RunEnd> Serve(CriuRun& run, ImageSource& source, const CancelToken* cancel);

}  // namespace ckptfs
