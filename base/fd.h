// Fd: the owner of one file descriptor, and the few whole-file helpers that
// everything else is built from. A raw `int fd` elsewhere is a borrow.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"

namespace ckptfs {

class Fd {
 public:
  Fd() = default;
  explicit Fd(int fd) : fd_(fd) {}
  Fd(Fd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Fd& operator=(Fd&& other) noexcept;
  ~Fd();

  int get() const { return fd_; }
  bool valid() const { return fd_ >= 0; }
  int Release() { return std::exchange(fd_, -1); }
  void Reset();
  // Where a late write error matters; the destructor ignores it.
  Result<void> Close();

 private:
  int fd_ = -1;
};

// O_CLOEXEC is always added. `dir_fd` may be AT_FDCWD.
Result<Fd> OpenAt(int dir_fd, const std::string& path, int flags, mode_t mode = 0);
inline constexpr int kCwd = -100;  // AT_FDCWD
Result<Fd> Open(const std::string& path, int flags, mode_t mode = 0);

// A close-on-exec pipe: first is read, second is written.
Result<std::pair<Fd, Fd>> MakePipe(int extra_flags = 0);

// All of `bytes`, through EINTR and short writes. `offset` < 0: at the file position.
Result<void> WriteAll(int fd, Bytes bytes, off_t offset = -1);
// Exactly out.size() bytes, else kCorrupt ("file is shorter than …").
Result<void> ReadExactly(int fd, MutableBytes out, off_t offset = -1);

// A whole small file; kTooBig past `limit_bytes`. Works on /proc files.
Result<std::string> ReadFile(const std::string& path, size_t limit_bytes);
Result<std::string> ReadFileAt(int dir_fd, const std::string& path, size_t limit_bytes);
// Temporary file in the same folder, fsync, rename over `name`, fsync of the folder.
Result<void> ReplaceFileAt(int dir_fd, const std::string& name, Bytes content, mode_t mode);

Result<void> SyncFd(int fd);      // fsync
Result<void> SyncDataFd(int fd);  // fdatasync

// Names in a folder, without "." and "..", unsorted.
Result<std::vector<std::string>> ListDir(int dir_fd);
// rm -r of `name` in `dir_fd`, never following symlinks. Absence is success.
Result<void> RemoveTree(int dir_fd, const std::string& name);
// mkdir -p for one level: existing folder is success.
Result<void> EnsureDir(int dir_fd, const std::string& name, mode_t mode);

}  // namespace ckptfs
