#include "kapi/open_files.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <charconv>
#include <set>
#include <sstream>

namespace ckptfs {
namespace {

constexpr size_t kLinkBytes = 4096;
constexpr size_t kProcFileLimit = 64 << 20;  // maps of a large process
constexpr std::string_view kDeleted = " (deleted)";

class Search {
 public:
  Result<void> LookAt(const ProcessInfo& process);
  std::vector<OpenFile> found;

 private:
  Result<void> Consider(const std::string& magic_link);

  std::set<std::pair<dev_t, ino_t>> seen_;
};

bool IsPretended(int fd) {
  struct statfs status;
  if (::fstatfs(fd, &status) != 0) return true;
  switch (static_cast<unsigned long>(status.f_type)) {
    case PROC_SUPER_MAGIC:
    case SYSFS_MAGIC:
    case DEBUGFS_MAGIC:
    case TRACEFS_MAGIC:
    case SECURITYFS_MAGIC:
    case CGROUP_SUPER_MAGIC:
    case CGROUP2_SUPER_MAGIC:
    case BPF_FS_MAGIC:
      return true;
    default:
      return false;
  }
}

// `magic_link` is /proc/PID/fd/N or /proc/PID/map_files/RANGE: opening it gives
// the very file, whatever has its name now.
Result<void> Search::Consider(const std::string& magic_link) {
  struct stat status;
  if (::stat(magic_link.c_str(), &status) != 0 || !S_ISREG(status.st_mode)) return {};
  if (status.st_nlink == 0) return {};  // criu saves those itself
  if (!seen_.insert({status.st_dev, status.st_ino}).second) return {};
  char path[kLinkBytes];
  ssize_t n = ::readlink(magic_link.c_str(), path, sizeof path);
  if (n < 0) return Error::FromErrno(errno, "read {}", magic_link);
  std::string_view name(path, static_cast<size_t>(n));
  if (name.ends_with(kDeleted) || !name.starts_with('/')) return {};
  auto content = Open(magic_link, O_RDONLY | O_NONBLOCK);
  if (!content) return content.error().Add("{}", name);
  if (!IsPretended(content->get())) found.push_back({std::string(name), std::move(*content)});
  return {};
}

bool WritesTo(const std::string& fdinfo) {
  size_t at = fdinfo.find("flags:");
  if (at == std::string::npos) return false;
  unsigned long flags = std::strtoul(fdinfo.c_str() + at + 6, nullptr, 8);
  return (flags & O_PATH) == 0 && (flags & O_ACCMODE) != O_RDONLY;
}

Result<void> Search::LookAt(const ProcessInfo& process) {
  std::string proc = fmt::format("/proc/{}", process.id.pid);
  auto dir = Open(proc + "/fd", O_RDONLY | O_DIRECTORY);
  if (!dir) return dir.error();
  auto names = ListDir(dir->get());
  if (!names) return names.error();
  for (const std::string& name : *names) {
    // Most are pipes, sockets and terminals: only regular files cost more.
    struct stat status;
    if (::fstatat(dir->get(), name.c_str(), &status, 0) != 0 || !S_ISREG(status.st_mode)) continue;
    auto fdinfo = ReadFile(fmt::format("{}/fdinfo/{}", proc, name), 1 << 20);
    if (!fdinfo || !WritesTo(*fdinfo)) continue;
    if (auto done = Consider(fmt::format("{}/fd/{}", proc, name)); !done) return done.error();
  }
  auto maps = ReadFile(proc + "/maps", kProcFileLimit);
  if (!maps) return maps.error();
  std::istringstream lines(*maps);
  for (std::string line; std::getline(lines, line);) {
    // "start-end rw-s offset dev inode path"
    size_t space = line.find(' ');
    if (space == line.npos || line.compare(space + 2, 1, "w") != 0 ||
        line.compare(space + 4, 1, "s") != 0 || line.find(" /") == line.npos)
      continue;
    if (auto done = Consider(proc + "/map_files/" + line.substr(0, space)); !done)
      return done.error();
  }
  return {};
}

}  // namespace

Result<std::vector<OpenFile>> FindFilesOpenForWriting(const std::vector<ProcessInfo>& tree) {
  Search search;
  for (const ProcessInfo& process : tree) {
    if (process.state == 'Z' || process.state == 'X') continue;
    if (auto done = search.LookAt(process); !done) return done.error();
  }
  return std::move(search.found);
}

}  // namespace ckptfs
