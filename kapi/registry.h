// All checkpointers there are, by name.
#pragma once

#include <memory>
#include <vector>

#include "kapi/checkpointer.h"

namespace ckptfs {

// One of each, in the order in which they are asked whether they fit a unit.
std::vector<std::unique_ptr<Checkpointer>> MakeCheckpointers();

}  // namespace ckptfs
