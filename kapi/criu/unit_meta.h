// What a restore must know and criu's own files do not tell: a small stream of
// ours in the image, beside criu's.
#pragma once

#include "base/result.h"
#include "kapi/image.h"

namespace ckptfs {

inline constexpr char kUnitMetaStream[] = "ckptfs-unit";

struct UnitMeta {
  bool leader_outside = false;  // the root's session is led by a process outside of the tree
  bool terminal = false;        // a terminal is used in the tree; its other end is outside
  bool shell_job() const { return leader_outside || terminal; }  // criu's word for it
};

Result<void> WriteUnitMeta(ImageSink& sink, const UnitMeta& meta);
Result<UnitMeta> ReadUnitMeta(ImageSource& source);

}  // namespace ckptfs
