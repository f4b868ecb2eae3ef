// What a restore must know and criu's own files do not tell: a small stream of
// ours in the image, beside criu's.
#pragma once

#include "base/result.h"
#include "kapi/image.h"

namespace ckptfs {

inline constexpr char kUnitMetaStream[] = "ckptfs-unit";

struct UnitMeta {
  bool shell_job = false;  // the session's leader or the terminal is outside of the tree
  bool terminal = false;   // a terminal from outside is used in the tree
};

Result<void> WriteUnitMeta(ImageSink& sink, const UnitMeta& meta);
Result<UnitMeta> ReadUnitMeta(ImageSource& source);

}  // namespace ckptfs
