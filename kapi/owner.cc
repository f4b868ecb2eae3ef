#include "kapi/owner.h"

#include <sys/capability.h>

#include <algorithm>
#include <bit>

namespace ckptfs {
namespace {

std::string CapabilityName(int number) {
  char* name = ::cap_to_name(number);
  if (name == nullptr) return fmt::format("{}", number);
  std::string upper(name);
  ::cap_free(name);
  for (char& c : upper)
    if (c >= 'a' && c <= 'z') c = static_cast<char>(c - 'a' + 'A');
  return upper;
}

}  // namespace

std::optional<std::string> ExceedsOwner(const Credentials& process, const Credentials& owner) {
  uint64_t more = process.permitted_capabilities & ~owner.permitted_capabilities;
  if (more != 0)
    return fmt::format("holds the capability {}", CapabilityName(std::countr_zero(more)));
  if (owner.effective_uid == 0) return std::nullopt;
  for (uid_t uid : {process.real_uid, process.effective_uid, process.saved_uid, process.fs_uid})
    if (uid != owner.real_uid && uid != owner.effective_uid && uid != owner.saved_uid)
      return fmt::format("runs as uid {}", uid);
  auto is_owners_group = [&](gid_t gid) {
    return gid == owner.real_gid || gid == owner.effective_gid || gid == owner.saved_gid ||
           std::binary_search(owner.groups.begin(), owner.groups.end(), gid);
  };
  for (gid_t gid : {process.real_gid, process.effective_gid, process.saved_gid, process.fs_gid})
    if (!is_owners_group(gid)) return fmt::format("runs as gid {}", gid);
  for (gid_t gid : process.groups)
    if (!is_owners_group(gid)) return fmt::format("is in the group {}", gid);
  return std::nullopt;
}

Result<void> CheckAllWithin(const std::vector<ProcessInfo>& tree, const Credentials& owner) {
  for (const ProcessInfo& process : tree) {
    if (process.state == 'Z' || process.state == 'X') continue;
    if (auto excess = ExceedsOwner(process.credentials, owner))
      return Fail(Errc::kNotYours, "pid {} ('{}') {}, which the job's owner (uid {}) may not",
                  process.id.pid, process.name, *excess, owner.effective_uid)
          .WithRemedy("let root run this job, or leave that process out of it");
  }
  return {};
}

}  // namespace ckptfs
