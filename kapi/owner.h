// Whether processes are within what a job's owner may have: asked of running
// ones before they are saved, and of restored ones before they run.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/process.h"
#include "base/result.h"

namespace ckptfs {

// In what `process` has more than `owner`: "runs as uid 0", "holds the capability
// CAP_SYS_ADMIN"; nullopt if in nothing. Root (effective uid 0) may be anyone,
// but no process may hold a capability that the owner does not.
std::optional<std::string> ExceedsOwner(const Credentials& process, const Credentials& owner);

// kNotYours naming the first process that exceeds the owner.
Result<void> CheckAllWithin(const std::vector<ProcessInfo>& tree, const Credentials& owner);

}  // namespace ckptfs
