// Whether a process tree may become a unit, and whose it is.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "agent/agent.h"

namespace ckptfs {

// What a job of this owner may never exceed: the user with the groups of the
// system's database, or `groups` where they are known better; root with the
// capabilities that this daemon has.
Credentials OwnerCredentials(uid_t uid, gid_t gid,
                             const std::optional<std::vector<gid_t>>& groups = std::nullopt);
// The supplementary groups that the caller has now; of the database if its
// process cannot be looked at.
std::vector<gid_t> GroupsOf(const Caller& caller);
std::string UserName(uid_t uid);  // "1000" if it has none

struct Tree {
  ProcessInfo root;
  std::vector<ProcessInfo> processes;
  std::string warning;  // kin outside of the tree
};
// All checks of Agent::Attach that look at the process alone, each with its own
// words. Reads /proc only.
Result<Tree> CheckAttachable(pid_t pid, const Credentials& owner);
// kGone unless the root is the same process as ever; then the tree, checked as above.
Result<std::vector<ProcessInfo>> RecheckTree(const UnitProcesses& unit);

}  // namespace ckptfs
