#include "agent/put_back.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <functional>
#include <system_error>
#include <thread>

namespace ckptfs {
namespace {

constexpr size_t kChunkBytes = 1 << 20;
constexpr int kAsideTries = 10000;

// This thread gets the owner's rights on files, for good. Raw calls: glibc's
// wrappers would change all threads.
Result<void> BecomeOwner(const Credentials& owner) {
  if (owner.effective_uid == ::geteuid() && owner.effective_uid == 0) return {};
  if (::geteuid() == 0) {
    if (::syscall(SYS_setgroups, owner.groups.size(), owner.groups.data()) != 0)
      return Error::FromErrno(errno, "take the owner's groups");
    ::syscall(SYS_setfsgid, owner.real_gid);
    ::syscall(SYS_setfsuid, owner.real_uid);
    __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
    __user_cap_data_struct none[2] = {};
    if (::syscall(SYS_capset, &header, none) != 0)
      return Error::FromErrno(errno, "give up capabilities");
  }
  // setfsuid reports no failure: asking again tells.
  if (static_cast<uid_t>(::syscall(SYS_setfsuid, -1)) != owner.real_uid ||
      static_cast<gid_t>(::syscall(SYS_setfsgid, -1)) != owner.real_gid)
    return Fail(Errc::kNotYours, "this daemon may not act for uid {}", owner.real_uid);
  return {};
}

// Runs `work` on a thread of its own with the owner's rights, and waits for it.
Result<void> AsOwner(const Credentials& owner, const std::function<Result<void>()>& work) {
  Result<void> outcome;
  try {
    std::thread([&] {
      outcome = BecomeOwner(owner);
      if (outcome) outcome = work();
    }).join();
  } catch (const std::system_error& failed) {
    return Error::FromErrno(failed.code().value(), "start a thread");
  }
  return outcome;
}

// One saved file and where it goes: the folder is opened once, and everything
// after that is done by name in it.
struct Place {
  const SavedFile* file = nullptr;
  std::string name;
  Fd folder;
  Fd present;  // what is there, read-only; invalid: nothing
};

Result<Place> OpenPlace(const SavedFile& file) {
  size_t slash = file.path.rfind('/');
  Place place{.file = &file, .name = file.path.substr(slash + 1), .folder = {}, .present = {}};
  std::string parent = slash == 0 ? "/" : file.path.substr(0, slash);
  open_how how{};
  how.flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC;
  how.resolve = RESOLVE_NO_SYMLINKS;
  int fd = static_cast<int>(::syscall(SYS_openat2, AT_FDCWD, parent.c_str(), &how, sizeof how));
  if (fd < 0 && errno == EACCES) {
    // A folder that may be entered but not listed: enough to open what is in it.
    how.flags = O_PATH | O_DIRECTORY | O_CLOEXEC;
    fd = static_cast<int>(::syscall(SYS_openat2, AT_FDCWD, parent.c_str(), &how, sizeof how));
  }
  if (fd < 0 && errno == ELOOP)
    return Fail(Errc::kAccess, "{} has a symlink in it, which is not followed", parent)
        .WithRemedy("put a folder there, or set the policy files to keep");
  if (fd < 0) return Error::FromErrno(errno, "open the folder {}", parent);
  place.folder = Fd(fd);
  int present =
      ::openat(fd, place.name.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
  if (present < 0 && errno == ENOENT) return place;
  if (present < 0 && errno == ELOOP)
    return Fail(Errc::kAccess, "it is a symlink now, which is not followed")
        .WithRemedy("move the symlink away");
  if (present < 0) return Error::FromErrno(errno, "open");
  place.present = Fd(present);
  struct stat info {};
  if (::fstat(present, &info) != 0) return Error::FromErrno(errno, "stat");
  if (!S_ISREG(info.st_mode))
    return Fail(Errc::kExists, "it is no regular file now").WithRemedy("move it away");
  return place;
}

// Gives the whole stream, piece by piece, to `take`; false from it ends early.
Result<void> ReadStream(ImageSource& source, const SavedFile& file, const CancelToken& cancel,
                        const std::function<Result<bool>(Bytes, uint64_t offset)>& take) {
  auto stream = source.Open(FileStreamName(file.stream));
  if (!stream) return stream.error();
  if ((*stream)->size_bytes() != file.size_bytes)
    return Fail(Errc::kCorrupt, "the image has {} bytes of it, its list says {}",
                (*stream)->size_bytes(), file.size_bytes);
  std::vector<uint8_t> chunk(std::min<uint64_t>(kChunkBytes, file.size_bytes + 1));
  for (uint64_t offset = 0;;) {
    if (cancel.cancelled()) return Fail(Errc::kCancelled, "the command was cancelled");
    auto n = (*stream)->Read(chunk);
    if (!n) return n.error();
    if (*n == 0) return {};
    auto more = take(Bytes(chunk.data(), *n), offset);
    if (!more) return more.error();
    if (!*more) return {};
    offset += *n;
  }
}

Result<bool> IsSame(const Place& place, ImageSource& source, const CancelToken& cancel) {
  struct stat info {};
  if (!place.present.valid()) return false;
  if (::fstat(place.present.get(), &info) != 0) return Error::FromErrno(errno, "stat");
  if (static_cast<uint64_t>(info.st_size) != place.file->size_bytes) return false;
  bool same = true;
  std::vector<uint8_t> present(kChunkBytes);
  auto read =
      ReadStream(source, *place.file, cancel, [&](Bytes saved, uint64_t offset) -> Result<bool> {
        MutableBytes now(present.data(), saved.size());
        auto got = ReadExactly(place.present.get(), now, static_cast<off_t>(offset));
        same = got && std::memcmp(now.data(), saved.data(), saved.size()) == 0;
        return same;
      });
  if (!read) return read.error();
  return same;
}

// The saved content in a new file beside the old: its name, made by the owner.
Result<void> MakeTemporary(const Place& place, std::string* name, Fd* fd) {
  for (int i = 0; i < kAsideTries; ++i) {
    // Names have 255 bytes at most; a long one is cut, for this one does not stay.
    *name = fmt::format(".{}.restart-{}", place.name.substr(0, 200), i);
    auto made = OpenAt(place.folder.get(), *name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW, 0600);
    if (made) {
      *fd = std::move(*made);
      return {};
    }
    if (made.error().code() != Errc::kExists) return made.error();
  }
  return Fail(Errc::kExists, "too many files named {} are there", *name);
}

Result<void> SetAttributes(const Place& place, int fd) {
  const SavedFile& file = *place.file;
  struct stat made {};
  if (::fstat(fd, &made) != 0) return Error::FromErrno(errno, "stat");
  if ((made.st_uid != file.uid || made.st_gid != file.gid) &&
      ::fchown(fd, made.st_uid == file.uid ? static_cast<uid_t>(-1) : file.uid, file.gid) != 0)
    return Error::FromErrno(errno, "give it to uid {} and gid {}", file.uid, file.gid);
  if (::fchmod(fd, file.mode) != 0) return Error::FromErrno(errno, "set its mode");
  timespec times[2] = {{0, UTIME_OMIT},
                       {file.mtime_seconds, static_cast<long>(file.mtime_nanoseconds)}};
  if (::futimens(fd, times) != 0) return Error::FromErrno(errno, "set its time");
  return {};
}

// Renames never replace: what is there is nobody's to lose.
Result<void> MoveAside(const Place& place, std::string* aside) {
  for (int n = 1; n < kAsideTries; ++n) {
    *aside = fmt::format("{}.before-restart-{}", place.name, n);
    if (::renameat2(place.folder.get(), place.name.c_str(), place.folder.get(), aside->c_str(),
                    RENAME_NOREPLACE) == 0)
      return {};
    if (errno != EEXIST) return Error::FromErrno(errno, "keep what is there as {}", *aside);
  }
  return Fail(Errc::kExists, "there are too many files {}", *aside)
      .WithRemedy("delete some of them");
}

Result<void> SwapIn(const Place& place, const std::string& temporary, int fd, std::string* aside) {
  if (auto set = SetAttributes(place, fd); !set) return set.error();
  if (auto synced = SyncFd(fd); !synced) return synced.error();
  if (place.present.valid())
    if (auto moved = MoveAside(place, aside); !moved) return moved.error();
  if (::renameat2(place.folder.get(), temporary.c_str(), place.folder.get(), place.name.c_str(),
                  RENAME_NOREPLACE) == 0)
    return {};
  Error failed = Error::FromErrno(errno, "put it in its place");
  if (!aside->empty())
    ::renameat2(place.folder.get(), aside->c_str(), place.folder.get(), place.name.c_str(),
                RENAME_NOREPLACE);
  return failed;
}

// Content is read here, with the daemon's rights, for the store's files are the
// daemon's; all that goes by a name is done with the owner's.
Result<std::string> WriteBack(const Place& place, ImageSource& source, const Credentials& owner,
                              const CancelToken& cancel) {
  std::string temporary, aside;
  Fd fd;
  auto made = AsOwner(owner, [&] { return MakeTemporary(place, &temporary, &fd); });
  if (!made) return made.error();
  auto written =
      ReadStream(source, *place.file, cancel, [&](Bytes bytes, uint64_t offset) -> Result<bool> {
        auto put = WriteAll(fd.get(), bytes, static_cast<off_t>(offset));
        if (!put) return put.error();
        return true;
      });
  auto outcome = AsOwner(owner, [&]() -> Result<void> {
    auto done = written ? SwapIn(place, temporary, fd.get(), &aside) : written;
    if (!done) ::unlinkat(place.folder.get(), temporary.c_str(), 0);
    return done;
  });
  if (!outcome) return outcome.error();
  const std::string& path = place.file->path;
  if (aside.empty()) return fmt::format("{} put back", path);
  return fmt::format("{} put back; what was there is {}{}", path,
                     path.substr(0, path.rfind('/') + 1), aside);
}

}  // namespace

Result<std::vector<std::string>> PutFilesBack(const SavedFiles& saved, ImageSource& source,
                                              const Credentials& owner, FilesPolicy policy,
                                              const CancelToken& cancel) {
  // All are looked at before any is touched.
  std::vector<Place> differing;
  for (const SavedFile& file : saved.files) {
    if (!file.saved) continue;
    Place place;
    auto opened = AsOwner(owner, [&]() -> Result<void> {
      auto found = OpenPlace(file);
      if (!found) return found.error();
      place = std::move(*found);
      return {};
    });
    if (!opened) {
      if (policy == FilesPolicy::kKeep) continue;  // what cannot be reached stays as it is
      return opened.error().Add("put back {}", file.path);
    }
    if (policy == FilesPolicy::kKeep && place.present.valid()) continue;
    auto same = IsSame(place, source, cancel);
    if (!same) return same.error().Add("put back {}", file.path);
    if (*same) continue;
    if (policy == FilesPolicy::kFail)
      return Fail(Errc::kExists, "{} {} since it was saved", file.path,
                  place.present.valid() ? "has changed" : "has gone")
          .WithRemedy("bring it back yourself, or set the policy files to restore");
    differing.push_back(std::move(place));
  }
  std::vector<std::string> done;
  for (const Place& place : differing) {
    auto words = WriteBack(place, source, owner, cancel);
    if (!words) return words.error().Add("put back {}", place.file->path);
    done.push_back(std::move(*words));
  }
  return done;
}

}  // namespace ckptfs
