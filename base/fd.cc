#include "base/fd.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>

namespace ckptfs {

static_assert(kCwd == AT_FDCWD);

Fd& Fd::operator=(Fd&& other) noexcept {
  if (this != &other) {
    Reset();
    fd_ = std::exchange(other.fd_, -1);
  }
  return *this;
}

Fd::~Fd() { Reset(); }

void Fd::Reset() {
  if (fd_ >= 0) ::close(fd_);
  fd_ = -1;
}

Result<void> Fd::Close() {
  int fd = std::exchange(fd_, -1);
  // Linux frees the descriptor also when close fails; EINTR is no failure.
  if (fd >= 0 && ::close(fd) != 0 && errno != EINTR) return Error::FromErrno(errno, "close");
  return {};
}

Result<Fd> OpenAt(int dir_fd, const std::string& path, int flags, mode_t mode) {
  for (;;) {
    int fd = ::openat(dir_fd, path.c_str(), flags | O_CLOEXEC, mode);
    if (fd >= 0) return Fd(fd);
    if (errno != EINTR) return Error::FromErrno(errno, "open {}", path);
  }
}

Result<Fd> Open(const std::string& path, int flags, mode_t mode) {
  return OpenAt(AT_FDCWD, path, flags, mode);
}

Result<std::pair<Fd, Fd>> MakePipe(int extra_flags) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC | extra_flags) != 0) return Error::FromErrno(errno, "pipe");
  return std::pair<Fd, Fd>(Fd(ends[0]), Fd(ends[1]));
}

Result<void> WriteAll(int fd, Bytes bytes, off_t offset) {
  while (!bytes.empty()) {
    ssize_t n = offset < 0 ? ::write(fd, bytes.data(), bytes.size())
                           : ::pwrite(fd, bytes.data(), bytes.size(), offset);
    if (n < 0) {
      if (errno == EINTR) continue;
      return Error::FromErrno(errno, "write");
    }
    if (n == 0) return Fail(Errc::kIo, "write: the file takes no more bytes");
    bytes = bytes.subspan(static_cast<size_t>(n));
    if (offset >= 0) offset += n;
  }
  return {};
}

Result<void> ReadExactly(int fd, MutableBytes out, off_t offset) {
  size_t done = 0;
  while (done < out.size()) {
    ssize_t n = offset < 0 ? ::read(fd, out.data() + done, out.size() - done)
                           : ::pread(fd, out.data() + done, out.size() - done,
                                     offset + static_cast<off_t>(done));
    if (n < 0) {
      if (errno == EINTR) continue;
      return Error::FromErrno(errno, "read");
    }
    if (n == 0) return Fail(Errc::kCorrupt, "file ends {} bytes too early", out.size() - done);
    done += static_cast<size_t>(n);
  }
  return {};
}

Result<std::string> ReadFile(const std::string& path, size_t limit_bytes) {
  return ReadFileAt(AT_FDCWD, path, limit_bytes);
}

Result<std::string> ReadFileAt(int dir_fd, const std::string& path, size_t limit_bytes) {
  auto fd = OpenAt(dir_fd, path, O_RDONLY);
  if (!fd) return fd.error();
  std::string content;
  char chunk[16384];
  for (;;) {
    ssize_t n = ::read(fd->get(), chunk, sizeof chunk);
    if (n < 0) {
      if (errno == EINTR) continue;
      return Error::FromErrno(errno, "read {}", path);
    }
    if (n == 0) return content;
    if (content.size() + static_cast<size_t>(n) > limit_bytes)
      return Fail(Errc::kTooBig, "{} is larger than {} bytes", path, limit_bytes);
    content.append(chunk, static_cast<size_t>(n));
  }
}

Result<void> ReplaceFileAt(int dir_fd, const std::string& name, Bytes content, mode_t mode) {
  static std::atomic<unsigned> counter{0};
  std::string temporary = fmt::format("{}.tmp-{}-{}", name, ::getpid(), counter++);
  auto undo = [&](const Error& error) {
    ::unlinkat(dir_fd, temporary.c_str(), 0);
    return error.Add("replace {}", name);
  };
  auto fd = OpenAt(dir_fd, temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, mode);
  if (!fd) return fd.error();
  if (auto written = WriteAll(fd->get(), content); !written) return undo(written.error());
  if (auto synced = SyncFd(fd->get()); !synced) return undo(synced.error());
  if (::renameat(dir_fd, temporary.c_str(), dir_fd, name.c_str()) != 0)
    return undo(Error::FromErrno(errno, "rename"));
  // A descriptor of its own: `dir_fd` may be AT_FDCWD or opened with O_PATH.
  size_t slash = name.rfind('/');
  auto folder = OpenAt(dir_fd, slash == std::string::npos ? "." : name.substr(0, slash + 1),
                       O_RDONLY | O_DIRECTORY);
  if (!folder) return folder.error();
  return SyncFd(folder->get());
}

Result<void> SyncFd(int fd) {
  if (::fsync(fd) != 0) return Error::FromErrno(errno, "fsync");
  return {};
}

Result<void> SyncDataFd(int fd) {
  if (::fdatasync(fd) != 0) return Error::FromErrno(errno, "fdatasync");
  return {};
}

Result<std::vector<std::string>> ListDir(int dir_fd) {
  // A descriptor of its own: fdopendir takes over the one it is given, and the
  // position must start at the beginning.
  auto own = OpenAt(dir_fd, ".", O_RDONLY | O_DIRECTORY);
  if (!own) return own.error();
  DIR* dir = ::fdopendir(own->get());
  if (dir == nullptr) return Error::FromErrno(errno, "list folder");
  (void)own->Release();
  std::vector<std::string> names;
  errno = 0;
  while (dirent* entry = ::readdir(dir)) {
    std::string_view name = entry->d_name;
    if (name != "." && name != "..") names.emplace_back(name);
    errno = 0;
  }
  int failed = errno;
  ::closedir(dir);
  if (failed != 0) return Error::FromErrno(failed, "list folder");
  return names;
}

Result<void> RemoveTree(int dir_fd, const std::string& name) {
  if (::unlinkat(dir_fd, name.c_str(), 0) == 0 || errno == ENOENT) return {};
  if (errno != EISDIR && errno != EPERM) return Error::FromErrno(errno, "remove {}", name);
  {
    auto dir = OpenAt(dir_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
    if (!dir) return dir.error();
    auto names = ListDir(dir->get());
    if (!names) return names.error();
    for (const std::string& child : *names)
      if (auto removed = RemoveTree(dir->get(), child); !removed)
        return removed.error().Add("remove {}", name);
  }
  if (::unlinkat(dir_fd, name.c_str(), AT_REMOVEDIR) != 0 && errno != ENOENT)
    return Error::FromErrno(errno, "remove {}", name);
  return {};
}

Result<void> EnsureDir(int dir_fd, const std::string& name, mode_t mode) {
  if (::mkdirat(dir_fd, name.c_str(), mode) != 0 && errno != EEXIST)
    return Error::FromErrno(errno, "mkdir {}", name);
  return {};
}

}  // namespace ckptfs
