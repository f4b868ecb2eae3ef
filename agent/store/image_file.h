// One file of an image as it looks from outside, as pieces of the store's files.
#pragma once

#include <memory>

#include "agent/store/packs.h"

namespace ckptfs {

// UNIT.img: the head, then the frames in the head's order. `keep` is held as long
// as the file is open.
std::unique_ptr<ImageFile> MakeUnitFile(std::shared_ptr<const UnitImage> image,
                                        std::shared_ptr<const void> keep);
// A file that is there as it is.
Result<std::unique_ptr<ImageFile>> MakePlainFile(Fd fd);

}  // namespace ckptfs
