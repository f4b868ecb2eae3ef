// Checks of whole images that lie in a folder: what came by copying.
#pragma once

#include <memory>
#include <set>
#include <string>

#include "agent/store/unit_image.h"
#include "agent/store/version_files.h"

namespace ckptfs {

// kCorrupt unless the folder holds exactly the manifest's files.
Result<void> CheckFileSet(int dir_fd, const Manifest& manifest, const std::string& shown);

// UNIT.img in the folder: sizes and head verified.
Result<std::shared_ptr<const UnitImage>> OpenImageFile(int dir_fd, const Manifest& manifest,
                                                       const ManifestUnit& unit,
                                                       const std::string& shown);

// Reads every frame and checks its hash, two at once. Needs no secret.
Result<void> CheckFrames(const UnitImage& image);

}  // namespace ckptfs
