// Puts the files that a unit had open for writing back as they were saved.
//
// A file whose content differs is kept aside first, as PATH.before-restart-N, and
// never written over; one that is the same is left alone. Paths come from an
// image and are data: no symlink is followed anywhere in them, and everything is
// done with the rights of the job's owner alone.
#pragma once

#include <string>
#include <vector>

#include "agent/open_files.h"
#include "agent/policy.h"
#include "base/process.h"

namespace ckptfs {

// What was done, a line a file, for events and warnings: "/x/out put back; what was
// there is /x/out.before-restart-1". With kKeep files that are there stay as they
// are and only missing ones are written; with kFail the first that differs is
// kExists and nothing has been touched. Blocks.
Result<std::vector<std::string>> PutFilesBack(const SavedFiles& saved, ImageSource& source,
                                              const Credentials& owner, FilesPolicy policy,
                                              const CancelToken& cancel);

}  // namespace ckptfs
