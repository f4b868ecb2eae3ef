#include "agent/attach.h"

#include <grp.h>
#include <pwd.h>
#include <unistd.h>

#include <algorithm>

#include "kapi/owner.h"

namespace ckptfs {
namespace {

constexpr size_t kNamedKin = 5;

struct User {
  std::string name;
  gid_t gid = 0;
};

std::optional<User> LookUpUser(uid_t uid) {
  std::vector<char> buffer(16384);
  passwd entry{};
  passwd* found = nullptr;
  if (::getpwuid_r(uid, &entry, buffer.data(), buffer.size(), &found) != 0 || found == nullptr)
    return std::nullopt;
  return User{found->pw_name, found->pw_gid};
}

std::vector<gid_t> DatabaseGroups(uid_t uid, gid_t gid) {
  auto user = LookUpUser(uid);
  if (!user) return {gid};
  int count = 256;
  std::vector<gid_t> groups(static_cast<size_t>(count));
  if (::getgrouplist(user->name.c_str(), gid, groups.data(), &count) < 0) return {gid};
  groups.resize(static_cast<size_t>(count));
  std::sort(groups.begin(), groups.end());
  return groups;
}

std::string Name(const ProcessInfo& info) {
  return fmt::format("'{}' ({})", info.name, info.id.pid);
}

// Processes of the root's session or cgroup that are outside of its tree: a
// checkpoint leaves them out, and a pipe or a terminal shared with them may fail it.
std::string KinOutside(const ProcessInfo& root, const std::vector<ProcessInfo>& tree) {
  auto everyone = ReadTree(1);
  if (!everyone) return "";
  std::string cgroup = CgroupOf(root.id.pid);
  bool own_cgroup = !cgroup.empty() && cgroup != "/" && cgroup != CgroupOf(::getpid());
  std::string named;
  size_t count = 0;
  for (const ProcessInfo& other : *everyone) {
    auto same = [&](const ProcessInfo& member) { return member.id == other.id; };
    if (other.kernel_thread || other.state == 'Z' || std::any_of(tree.begin(), tree.end(), same))
      continue;
    // A session that the root does not lead is some shell's: the shell and its other jobs.
    bool session = root.session == root.id.pid && other.session == root.session;
    if (!session && !(own_cgroup && CgroupOf(other.id.pid) == cgroup)) continue;
    if (count++ < kNamedKin) named += (named.empty() ? "" : ", ") + Name(other);
  }
  if (count == 0) return "";
  if (count > kNamedKin) named += fmt::format(" and {} more", count - kNamedKin);
  return "outside of the tree, but of its session or cgroup, and so not saved: " + named;
}

Result<void> CheckKind(const ProcessInfo& info) {
  pid_t pid = info.id.pid;
  if (info.thread_group != pid)
    return Fail(Errc::kInvalid, "pid {} is a thread of {}", pid, info.thread_group)
        .WithRemedy(fmt::format("write {}", info.thread_group));
  if (info.kernel_thread)
    return Fail(Errc::kInvalid, "pid {} is a thread of the kernel, '{}'", pid, info.name)
        .WithRemedy("only programs can be saved");
  if (info.state == 'Z' || info.state == 'X')
    return Fail(Errc::kGone, "pid {} has ended; its parent has not reaped it yet", pid);
  if (pid == 1)
    return Fail(Errc::kInvalid, "pid 1 is the init of this machine")
        .WithRemedy("write the pid of the program that is to be saved");
  if (pid == ::getpid())
    return Fail(Errc::kInvalid, "pid {} is the ckptfs daemon itself", pid)
        .WithRemedy("write the pid of the program that is to be saved");
  if (IsInTree(::getpid(), pid))
    return Fail(Errc::kInvalid, "pid {}, '{}', is an ancestor of the ckptfs daemon", pid, info.name)
        .WithRemedy("to save it would stop the daemon: start the daemon outside of the tree");
  if (info.parent == ::getpid() && info.name.starts_with("fusermount"))
    return Fail(Errc::kInvalid, "pid {} is the mount helper of the ckptfs daemon", pid);
  return {};
}

}  // namespace

std::string UserName(uid_t uid) {
  auto user = LookUpUser(uid);
  return user ? user->name : std::to_string(uid);
}

Credentials OwnerCredentials(uid_t uid, gid_t gid,
                             const std::optional<std::vector<gid_t>>& groups) {
  Credentials owner;
  owner.real_uid = owner.effective_uid = owner.saved_uid = owner.fs_uid = uid;
  owner.real_gid = owner.effective_gid = owner.saved_gid = owner.fs_gid = gid;
  owner.groups = groups ? *groups : DatabaseGroups(uid, gid);
  std::sort(owner.groups.begin(), owner.groups.end());
  if (uid == 0)
    if (auto self = ReadProcess(::getpid()); self && *self)
      owner.permitted_capabilities = (*self)->credentials.permitted_capabilities;
  return owner;
}

std::vector<gid_t> GroupsOf(const Caller& caller) {
  if (caller.pid > 0)
    if (auto info = ReadProcess(caller.pid);
        info && *info && (*info)->credentials.fs_uid == caller.uid)
      return (*info)->credentials.groups;
  return DatabaseGroups(caller.uid, caller.gid);
}

Result<Tree> CheckAttachable(pid_t pid, const Credentials& owner) {
  if (pid <= 0)
    return Fail(Errc::kInvalid, "{} is no pid", pid)
        .WithRemedy("write the pid of a running process, a number above 0");
  auto info = ReadProcess(pid);
  if (!info) return info.error();
  if (!*info) return Fail(Errc::kGone, "no process has the pid {}", pid);
  if (auto good = CheckKind(**info); !good) return good.error();
  auto processes = ReadTree(pid);
  if (!processes) return processes.error();
  if (processes->front().id != (*info)->id) return Fail(Errc::kGone, "pid {} has ended", pid);
  // What has ended has no credentials left that could matter.
  std::erase_if(*processes, [](const ProcessInfo& each) { return each.state == 'Z'; });
  if (processes->empty()) return Fail(Errc::kGone, "pid {} has ended", pid);
  if (auto own = CheckAllWithin(*processes, owner); !own) return own.error();
  return Tree{.root = **info, .processes = *processes, .warning = KinOutside(**info, *processes)};
}

Result<std::vector<ProcessInfo>> RecheckTree(const UnitProcesses& unit) {
  if (!IsAlive(unit.root))
    return Fail(Errc::kGone, "its process {} is gone", unit.root.pid)
        .WithRemedy("restart the job, or write another pid into the unit's procs");
  auto tree = ReadTree(unit.root.pid);
  if (!tree) return tree.error();
  if (tree->front().id != unit.root)
    return Fail(Errc::kGone, "its process {} is gone", unit.root.pid);
  std::erase_if(*tree, [](const ProcessInfo& each) { return each.state == 'Z'; });
  if (auto own = CheckAllWithin(*tree, unit.owner); !own) return own.error();
  return tree;
}

}  // namespace ckptfs
