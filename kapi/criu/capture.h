// The dump side: takes the image files that a dumping criu names and hands over,
// all of them at once, and moves their bytes into the sink.
#pragma once

#include "kapi/checkpointer.h"
#include "kapi/criu/criu_run.h"

namespace ckptfs {

enum class RunEnd {
  kHeld,   // criu stands in its action script; every byte has been moved
  kEnded,  // criu ended without getting there: its log knows why
};

// Blocks. After an error the caller hangs up on criu.
// Errors: the sink's, kCancelled, kCorrupt for what criu may not say.
Result<RunEnd> Capture(CriuRun& run, ImageSink& sink, const CancelToken* cancel);

}  // namespace ckptfs
