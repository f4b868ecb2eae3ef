// How mount(8) calls us: as mount.fuse.ckptfs (or mount.ckptfs), or through
// mount.fuse3 as `ckptfs STORE MOUNTPOINT -o OPTIONS`.
#pragma once

#include <optional>
#include <string_view>

#include "mount/commands.h"

namespace ckptfs {

// nullopt: a command line of ours.
std::optional<MountRequest> ParseMountHelper(int argc, char** argv);

// One comma-separated -o: ours (name=, passphrase_file=, log_file=) and those of
// fstab that say nothing to a file system are taken out, the rest is libfuse's.
void AddMountOptions(std::string_view text, MountRequest* request);

}  // namespace ckptfs
