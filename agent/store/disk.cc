#include "agent/store/disk.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

namespace ckptfs {
namespace {

constexpr std::string_view kMakeRoom =
    "make room: delete versions that are not needed (rm -r images/JOB/N) or enlarge the file "
    "system";

Error FromSystem(int error_number, std::string_view verb, const std::string& what) {
  Error error = Error::FromErrno(error_number, "{} {}", verb, what);
  if (error.code() == Errc::kNoSpace || error.code() == Errc::kQuota)
    return error.WithRemedy(std::string(kMakeRoom));
  return error;
}

}  // namespace

Result<void> Disk::Before(DiskStep step, const std::string& what) const {
  if (faults_ == nullptr) return {};
  if (int failed = faults_->Before(step, what); failed != 0)
    return FromSystem(failed, "change", what);
  return {};
}

Result<Fd> Disk::Create(int dir_fd, const std::string& name, int extra_flags) const {
  if (auto go = Before(DiskStep::kCreate, name); !go) return go.error();
  int flags = O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC | extra_flags;
  int fd = ::openat(dir_fd, name.c_str(), flags, 0600);
  if (fd < 0) return FromSystem(errno, "create", name);
  return Fd(fd);
}

Result<void> Disk::Write(int fd, Bytes bytes, uint64_t offset, const std::string& what) const {
  if (auto go = Before(DiskStep::kWrite, what); !go) return go.error();
  while (!bytes.empty()) {
    ssize_t n = ::pwrite(fd, bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (n < 0) {
      if (errno == EINTR) continue;
      return FromSystem(errno, "write", what);
    }
    // A full disk may take part of a write; the next one says why.
    bytes = bytes.subspan(static_cast<size_t>(n));
    offset += static_cast<uint64_t>(n);
  }
  return {};
}

Result<void> Disk::Allocate(int fd, uint64_t offset, uint64_t size_bytes,
                            const std::string& what) const {
  if (auto go = Before(DiskStep::kAllocate, what); !go) return go.error();
  if (::fallocate(fd, 0, static_cast<off_t>(offset), static_cast<off_t>(size_bytes)) != 0)
    return FromSystem(errno, "allocate room for", what);
  return {};
}

Result<void> Disk::Truncate(int fd, uint64_t size_bytes, const std::string& what) const {
  if (auto go = Before(DiskStep::kTruncate, what); !go) return go.error();
  if (::ftruncate(fd, static_cast<off_t>(size_bytes)) != 0)
    return FromSystem(errno, "truncate", what);
  return {};
}

Result<void> Disk::Punch(int fd, uint64_t offset, uint64_t size_bytes,
                         const std::string& what) const {
  if (auto go = Before(DiskStep::kPunch, what); !go) return go.error();
  if (::fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, static_cast<off_t>(offset),
                  static_cast<off_t>(size_bytes)) != 0)
    return FromSystem(errno, "free dead frames of", what);
  return {};
}

Result<void> Disk::Sync(int fd, const std::string& what) const {
  if (auto go = Before(DiskStep::kSync, what); !go) return go.error();
  if (::fsync(fd) != 0) return FromSystem(errno, "sync", what);
  return {};
}

Result<void> Disk::SyncData(int fd, const std::string& what) const {
  if (auto go = Before(DiskStep::kSync, what); !go) return go.error();
  if (::fdatasync(fd) != 0) return FromSystem(errno, "sync", what);
  return {};
}

Result<void> Disk::MakeDir(int dir_fd, const std::string& name) const {
  if (auto go = Before(DiskStep::kMakeDir, name); !go) return go.error();
  if (::mkdirat(dir_fd, name.c_str(), 0700) != 0 && errno != EEXIST)
    return FromSystem(errno, "make folder", name);
  return {};
}

Result<void> Disk::Rename(int from_dir, const std::string& from, int to_dir,
                          const std::string& to) const {
  if (auto go = Before(DiskStep::kRename, to); !go) return go.error();
  if (::renameat(from_dir, from.c_str(), to_dir, to.c_str()) != 0)
    return FromSystem(errno, "rename " + from + " to", to);
  return {};
}

Result<void> Disk::Link(int from_dir, const std::string& from, int to_dir,
                        const std::string& to) const {
  if (auto go = Before(DiskStep::kLink, to); !go) return go.error();
  if (::linkat(from_dir, from.c_str(), to_dir, to.c_str(), 0) != 0)
    return FromSystem(errno, "link " + from + " to", to);
  return {};
}

Result<void> Disk::Unlink(int dir_fd, const std::string& name) const {
  if (auto go = Before(DiskStep::kUnlink, name); !go) return go.error();
  if (::unlinkat(dir_fd, name.c_str(), 0) != 0 && errno != ENOENT)
    return FromSystem(errno, "remove", name);
  return {};
}

Result<void> Disk::RemoveTree(int dir_fd, const std::string& name) const {
  if (auto go = Before(DiskStep::kUnlink, name); !go) return go.error();
  return ckptfs::RemoveTree(dir_fd, name);
}

Result<Fd> Disk::WriteFile(int dir_fd, const std::string& name, Bytes content) const {
  auto fd = Create(dir_fd, name);
  if (!fd) return fd.error();
  if (auto written = Write(fd->get(), content, 0, name); !written) return written.error();
  return fd;
}

}  // namespace ckptfs
