#include "mount/mount_table.h"

#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <cstdlib>
#include <filesystem>
#include <sstream>

#include "base/child.h"
#include "base/fd.h"

namespace ckptfs {
namespace {

constexpr size_t kMostBytes = 64 << 20;
constexpr std::string_view kType = "fuse.ckptfs";

// mountinfo writes blanks, newlines and backslashes as three octal digits.
std::string Unescaped(const std::string& word) {
  std::string out;
  for (size_t i = 0; i < word.size(); ++i) {
    if (word[i] == '\\' && i + 3 < word.size()) {
      out += static_cast<char>((word[i + 1] - '0') * 64 + (word[i + 2] - '0') * 8 +
                               (word[i + 3] - '0'));
      i += 3;
    } else {
      out += word[i];
    }
  }
  return out;
}

Result<std::vector<MountedTree>> AllMounts() {
  auto text = ReadFile("/proc/self/mountinfo", kMostBytes);
  if (!text) return text.error();
  std::vector<MountedTree> all;
  std::istringstream lines(*text);
  // 36 35 98:0 /root /mountpoint options [tags] - type source options
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words(line);
    std::string id, parent, device, root, point, word;
    words >> id >> parent >> device >> root >> point;
    while (words >> word && word != "-") continue;
    MountedTree one;
    std::string source;
    words >> one.type >> source;
    one.mountpoint = Unescaped(point);
    one.source = Unescaped(source);
    size_t colon = device.find(':');
    if (colon == std::string::npos) continue;
    one.major = static_cast<unsigned>(std::strtoul(device.c_str(), nullptr, 10));
    one.minor = static_cast<unsigned>(std::strtoul(device.c_str() + colon + 1, nullptr, 10));
    all.push_back(std::move(one));
  }
  return all;
}

// realpath without touching the last component: a dead mount cannot be looked into.
Result<std::string> ResolveParent(const std::string& path) {
  std::filesystem::path absolute = std::filesystem::absolute(path).lexically_normal();
  if (!absolute.has_filename()) absolute = absolute.parent_path();
  std::error_code failed;
  auto parent = std::filesystem::canonical(absolute.parent_path(), failed);
  if (failed) return Error::FromErrno(failed.value(), "{}", absolute.parent_path().string());
  return (parent / absolute.filename()).string();
}

}  // namespace

Result<std::vector<MountedTree>> FindMounts() {
  auto all = AllMounts();
  if (!all) return all.error();
  std::erase_if(*all, [](const MountedTree& one) { return one.type != kType; });
  return all;
}

Result<std::vector<MountedTree>> MountsAt(const std::string& path) {
  auto all = AllMounts();
  if (!all) return all.error();
  std::erase_if(*all, [&](const MountedTree& one) { return one.mountpoint != path; });
  return all;
}

Result<void> DetachMount(const std::string& path) {
  if (::umount2(path.c_str(), MNT_DETACH | UMOUNT_NOFOLLOW) == 0 || errno == EINVAL) return {};
  int failed = errno;
  if (failed == EPERM) {
    for (const char* helper : {"/usr/bin/fusermount3", "/bin/fusermount3", "/usr/bin/fusermount"}) {
      if (::access(helper, X_OK) != 0) continue;
      ChildOptions options;
      options.argv = {helper, "-u", "-z", "-q", path};
      auto child = Child::Spawn(options);
      if (!child) return child.error();
      auto ended = child->Wait();
      if (ended && ended->Success()) return {};
    }
  }
  return Error::FromErrno(failed, "unmount {}", path);
}

Result<std::string> PrepareMountpoint(const std::string& path) {
  auto resolved = ResolveParent(path);
  if (!resolved) return resolved.error();
  struct stat st {};
  if (::stat(resolved->c_str(), &st) != 0) {
    int failed = errno;
    // What a killed daemon leaves: a mount that nobody answers.
    if (failed != ENOTCONN && failed != ECONNABORTED)
      return Error::FromErrno(failed, "{}", *resolved).WithRemedy("mkdir " + *resolved);
    if (auto gone = DetachMount(*resolved); !gone) return gone.error();
    if (::stat(resolved->c_str(), &st) != 0) return Error::FromErrno(errno, "{}", *resolved);
  }
  if (!S_ISDIR(st.st_mode)) return Fail(Errc::kNotDirectory, "{} is no folder", *resolved);
  char canonical[PATH_MAX];
  if (::realpath(resolved->c_str(), canonical) == nullptr)
    return Error::FromErrno(errno, "{}", *resolved);
  auto there = MountsAt(canonical);
  if (!there) return there.error();
  if (!there->empty() && there->back().type == kType)
    return Fail(Errc::kBusy, "{} is mounted at {} already", there->back().source, canonical)
        .WithRemedy(fmt::format("umount {}", canonical));
  return std::string(canonical);
}

}  // namespace ckptfs
