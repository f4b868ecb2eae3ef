// events: the growing log of the node as a file. cat ends, tail -f follows, and
// poll(2) says POLLIN when there is more than this descriptor has read.
#pragma once

#include <memory>

#include "fs/node.h"
#include "fs/view.h"

namespace ckptfs {

std::shared_ptr<OpenedFile> OpenEvents(const View* view);

}  // namespace ckptfs
