// LocalStore: images that are being copied in.
#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>

#include "agent/store/image_check.h"
#include "agent/store/local_store.h"
#include "agent/store/names.h"

namespace ckptfs {
namespace {

constexpr size_t kMostFiles = 4096;
constexpr auto kCloseLimit = std::chrono::seconds(2);
constexpr int kFlagsTaken = O_ACCMODE | O_CREAT | O_EXCL | O_TRUNC | O_APPEND;

std::string Shown(std::string_view job, uint64_t version) {
  return fmt::format("incoming image {}/{}", job, version);
}

std::string DirName(std::string_view job, uint64_t version) {
  return fmt::format("{}/{}", job, version);
}

// A read lease is given only while nobody has the file open for writing.
bool IsOpenForWriting(int dir_fd, const std::string& name) {
  auto fd = OpenAt(dir_fd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
  if (!fd) return false;
  if (::fcntl(fd->get(), F_SETLEASE, F_RDLCK) == 0) {
    ::fcntl(fd->get(), F_SETLEASE, F_UNLCK);
    return false;
  }
  return errno == EAGAIN;
}

// The kernel tells a FUSE daemon of a close some time after close(2) has returned,
// so a writer that is still there may be one that has just gone.
bool WaitUntilWritten(int dir_fd, const std::string& name) {
  if (!IsOpenForWriting(dir_fd, name)) return true;
  Fd closed(::inotify_init1(IN_NONBLOCK | IN_CLOEXEC));
  if (closed.get() < 0 ||
      ::inotify_add_watch(closed.get(), fmt::format("/proc/self/fd/{}/{}", dir_fd, name).c_str(),
                          IN_CLOSE_WRITE) < 0)
    return false;
  auto deadline = std::chrono::steady_clock::now() + kCloseLimit;
  while (IsOpenForWriting(dir_fd, name)) {
    auto left =
        std::chrono::ceil<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now());
    if (left.count() <= 0) return false;
    pollfd event{closed.get(), POLLIN, 0};
    (void)::poll(&event, 1, static_cast<int>(left.count()));
    char events[4096];
    while (::read(closed.get(), events, sizeof events) > 0) {
    }
  }
  return true;
}

Result<std::vector<IncomingFile>> ListFiles(int dir_fd) {
  auto names = ListDir(dir_fd);
  if (!names) return names.error();
  std::sort(names->begin(), names->end());
  std::vector<IncomingFile> files;
  for (const std::string& name : *names) {
    struct stat there;
    if (::fstatat(dir_fd, name.c_str(), &there, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(there.st_mode))
      files.push_back({name, static_cast<uint64_t>(there.st_size)});
  }
  return files;
}

const IncomingFile* FindFile(const std::vector<IncomingFile>& files, std::string_view name) {
  for (const IncomingFile& file : files)
    if (file.name == name) return &file;
  return nullptr;
}

// Genuine, but is it what its folder says? The folder's names are the user's claim.
Result<void> CheckPlace(const Manifest& manifest, std::string_view job, uint64_t version) {
  if (manifest.job == job && manifest.version == version) return {};
  return Fail(Errc::kReplayed, "{}: this is job {} version {}", Shown(job, version), manifest.job,
              manifest.version)
      .WithRemedy(fmt::format("copy it to images/{}/{}", manifest.job, manifest.version));
}

}  // namespace

Result<Fd> LocalStore::IncomingDir(std::string_view job, uint64_t version) const {
  if (auto good = CheckName(job, "job"); !good) return good.error();
  {
    auto changing = changing_.Lock();
    auto admission = changing->admitting.find({std::string(job), version});
    if (admission != changing->admitting.end()) {
      if (admission->second.taking)
        return Fail(Errc::kBusy, "{} is being made a version", Shown(job, version));
      admission->second.disturbed = true;
    }
  }
  auto dir = OpenAt(incoming_.get(), DirName(job, version), O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
  if (!dir) return dir.error().Add("{}", Shown(job, version));
  return dir;
}

Result<void> LocalStore::MakeIncoming(std::string_view job_name, uint64_t version) {
  std::string job(job_name);
  if (auto good = CheckName(job, "job"); !good) return good;
  // Later versions count on from here, and a manifest holds numbers up to 2^53 - 1.
  constexpr uint64_t kMostVersion = uint64_t{1} << 52;
  if (version == 0 || version > kMostVersion)
    return Fail(Errc::kInvalid, "{} is no version's number", version);
  if (catalogue_->Find(job, version))
    return Fail(Errc::kExists, "job {} has a version {} already", job, version)
        .WithRemedy(fmt::format("delete it first: rm -r images/{}/{}", job, version));
  if (auto noted = catalogue_->NoteVersionNumber(job, version); !noted) return noted;
  if (auto made = disk_.MakeDir(incoming_.get(), job); !made) return made;
  return disk_.MakeDir(incoming_.get(), DirName(job, version));
}

Result<Fd> LocalStore::OpenIncoming(std::string_view job, uint64_t version, std::string_view name,
                                    int flags) {
  if (auto good = CheckName(job, "job"); !good) return good.error();
  if (auto good = CheckIncomingName(name); !good) return good.error();
  bool changes = (flags & O_ACCMODE) != O_RDONLY || (flags & (O_CREAT | O_TRUNC)) != 0;
  auto dir =
      changes ? IncomingDir(job, version)
              : OpenAt(incoming_.get(), DirName(job, version), O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
  if (!dir) return dir.error().Add("{}", Shown(job, version));
  if (!changes) return OpenAt(dir->get(), std::string(name), (flags & kFlagsTaken) | O_NOFOLLOW);
  if (flags & O_CREAT)
    if (auto names = ListDir(dir->get()); names && names->size() >= kMostFiles)
      return Fail(Errc::kTooManyFiles, "{} has {} files already", Shown(job, version), kMostFiles);
  changing_.Lock()->refused.erase({std::string(job), version});
  auto fd = OpenAt(dir->get(), std::string(name), (flags & kFlagsTaken) | O_NOFOLLOW, 0600);
  if (!fd) return fd.error().Add("{}", Shown(job, version));
  // Admit may have begun in between, before it could see this writer.
  if (auto still = IncomingDir(job, version); !still) return still.error();
  return fd;
}

Result<void> LocalStore::RenameIncoming(std::string_view job, uint64_t version,
                                        std::string_view from, std::string_view to) {
  if (auto good = CheckIncomingName(from); !good) return good;
  if (auto good = CheckIncomingName(to); !good) return good;
  auto dir = IncomingDir(job, version);
  if (!dir) return dir.error();
  changing_.Lock()->refused.erase({std::string(job), version});
  bool there = ::faccessat(dir->get(), std::string(from).c_str(), F_OK, AT_SYMLINK_NOFOLLOW) == 0;
  bool done = ::faccessat(dir->get(), std::string(to).c_str(), F_OK, AT_SYMLINK_NOFOLLOW) == 0;
  if (!there && done) return {};
  return disk_.Rename(dir->get(), std::string(from), dir->get(), std::string(to));
}

Result<void> LocalStore::RemoveIncomingFile(std::string_view job, uint64_t version,
                                            std::string_view name) {
  if (auto good = CheckIncomingName(name); !good) return good;
  auto dir = IncomingDir(job, version);
  if (!dir) return dir.error();
  changing_.Lock()->refused.erase({std::string(job), version});
  return disk_.Unlink(dir->get(), std::string(name));
}

Result<void> LocalStore::RemoveIncoming(std::string_view job, uint64_t version) {
  auto dir = IncomingDir(job, version);
  if (!dir) return dir.error().code() == Errc::kNotFound ? Result<void>() : dir.error();
  return RemoveAdmitted(job, version);
}

Result<void> LocalStore::RemoveAdmitted(std::string_view job_name, uint64_t version) {
  std::string job(job_name);
  changing_.Lock()->refused.erase({job, version});
  auto job_dir = OpenAt(incoming_.get(), job, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
  if (!job_dir) return job_dir.error();
  if (auto gone = disk_.RemoveTree(job_dir->get(), std::to_string(version)); !gone) return gone;
  // With its last version the job's folder goes; one that is not empty stays.
  (void)::unlinkat(incoming_.get(), job.c_str(), AT_REMOVEDIR);
  return {};
}

std::vector<uint64_t> LocalStore::IncomingVersions(std::string_view job) const {
  std::vector<uint64_t> versions;
  if (!CheckName(job, "job")) return versions;
  auto dir = OpenAt(incoming_.get(), std::string(job), O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
  if (!dir) return versions;
  if (auto names = ListDir(dir->get()))
    for (const std::string& name : *names)
      if (auto version = ParseVersionNumber(name)) versions.push_back(*version);
  std::sort(versions.begin(), versions.end());
  return versions;
}

Result<IncomingInfo> LocalStore::Incoming(std::string_view job, uint64_t version) const {
  IncomingInfo info;
  info.job = job;
  info.version = version;
  bool admitting = changing_.Lock()->admitting.contains({info.job, version});
  auto dir = OpenAt(incoming_.get(), DirName(job, version), O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
  if (!CheckName(job, "job") || !dir)
    return Fail(Errc::kNotFound, "there is no {}", Shown(job, version));
  auto files = ListFiles(dir->get());
  if (!files) return files.error();
  info.files = *files;
  auto bad = [&](const Error& error) {
    info.state = IncomingState::kBad;
    info.words = error.Text();
    info.refused = error.code();
    return info;
  };
  auto partial = [&](std::string words) {
    info.state = IncomingState::kPartial;
    info.words = std::move(words);
    return info;
  };
  if (admitting) {
    info.state = IncomingState::kComplete;
    info.words = "being verified";
    return info;
  }
  {
    auto changing = changing_.Lock();
    auto refused = changing->refused.find({info.job, version});
    if (refused != changing->refused.end()) return bad(refused->second);
  }
  for (const IncomingFile& file : info.files)
    if (IsOpenForWriting(dir->get(), file.name)) return partial(file.name + " is being written");
  for (std::string_view name : {kManifestName, kSignatureName})
    if (FindFile(info.files, name) == nullptr) return partial(std::string(name) + " is missing");

  auto manifest = ReadSignedManifest(dir->get(), find_key(), Shown(job, version));
  if (!manifest) return bad(manifest.error());
  if (auto placed = CheckPlace(manifest->manifest, job, version); !placed)
    return bad(placed.error());
  for (const ManifestUnit& unit : manifest->manifest.units) {
    std::string name = ImageFileName(unit.name);
    const IncomingFile* file = FindFile(info.files, name);
    if (file == nullptr) return partial(name + " is missing");
    if (file->size_bytes < unit.image_bytes)
      return partial(
          fmt::format("{}: {} of {} bytes are there", name, file->size_bytes, unit.image_bytes));
    if (file->size_bytes > unit.image_bytes)
      return bad(Fail(Errc::kCorrupt, "{} has {} bytes, the manifest says {}", name,
                      file->size_bytes, unit.image_bytes)
                     .WithRemedy("copy it again"));
  }
  if (auto set = CheckFileSet(dir->get(), manifest->manifest, Shown(job, version)); !set)
    return partial(set.error().Text());
  info.state = IncomingState::kComplete;
  return info;
}

Result<VersionInfo> LocalStore::Admit(std::string_view job, uint64_t version) {
  VersionId id(job, version);
  {
    // Whoever closed the last file had it verified; the one who asks now gets that answer.
    auto changing = changing_.Lock();
    changing.Wait(admission_ended_, [&] { return !changing->admitting.contains(id); });
  }
  if (auto good = CheckName(job, "job"); !good) return good.error();
  auto dir = OpenAt(incoming_.get(), DirName(job, version), O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
  if (!dir) {
    if (catalogue_->Find(id.first, version)) return Info(job, version);
    return dir.error().Add("{}", Shown(job, version));
  }
  if (!changing_.Lock()->admitting.try_emplace(id).second)
    return Fail(Errc::kBusy, "{} is being verified", Shown(job, version));
  Result<VersionInfo> admitted = AdmitVerified(id, dir->get());
  if (admitted)
    if (auto removed = RemoveAdmitted(job, version); !removed)
      log_.Warn("{}: {}", Shown(job, version), removed.error().Text());
  {
    auto changing = changing_.Lock();
    if (!admitted && changing->admitting[id].disturbed)
      admitted = Fail(Errc::kBusy, "{} was changed while it was verified", Shown(job, version))
                     .WithRemedy("wait until it has been copied");
    changing->admitting.erase(id);
    // What waits for more bytes, or failed here, is not the image's fault.
    if (!admitted) {
      Errc code = admitted.error().code();
      if (code == Errc::kCorrupt || code == Errc::kUntrusted || code == Errc::kReplayed ||
          code == Errc::kUnsupported)
        changing->refused.insert_or_assign(id, admitted.error());
    }
  }
  admission_ended_.notify_all();
  return admitted;
}

Result<void> LocalStore::BeginTaking(const VersionId& id, int dir_fd) {
  {
    auto changing = changing_.Lock();
    if (changing->admitting[id].disturbed)
      return Fail(Errc::kBusy, "{} was changed", Shown(id.first, id.second));
    changing->admitting[id].taking = true;
  }
  // A writer that came before the lock was seen by it, one that comes later is refused.
  auto files = ListFiles(dir_fd);
  if (!files) return files.error();
  for (const IncomingFile& file : *files)
    if (IsOpenForWriting(dir_fd, file.name))
      return Fail(Errc::kBusy, "{} is being written", file.name);
  return {};
}

Result<VersionInfo> LocalStore::AdmitVerified(const VersionId& id, int dir_fd) {
  const auto& [job, version] = id;
  std::string shown = Shown(job, version);
  if (catalogue_->Find(job, version))
    return Fail(Errc::kExists, "job {} has a version {} already", job, version);
  auto files = ListFiles(dir_fd);
  if (!files) return files.error();
  for (std::string_view name : {kManifestName, kSignatureName})
    if (FindFile(*files, name) == nullptr)
      return Fail(Errc::kBusy, "{}: {} is missing", shown, name)
          .WithRemedy("copy all of its files");
  for (const IncomingFile& file : *files)
    if (!WaitUntilWritten(dir_fd, file.name))
      return Fail(Errc::kBusy, "{}: {} is being written", shown, file.name)
          .WithRemedy("wait until it has been copied");

  auto read = ReadSignedManifest(dir_fd, find_key(), shown);
  if (!read) return read.error();
  const Manifest& manifest = read->manifest;
  if (auto placed = CheckPlace(manifest, job, version); !placed) return placed.error();
  if (auto before = catalogue_->EverCommitted(manifest.job_id, version);
      before && *before != read->digest)
    return Fail(Errc::kReplayed, "{}: another version {} of this very job was here before", shown,
                version)
        .WithRemedy("only the image that was deleted here can come back under this number");
  {
    auto contents = catalogue_->Read();
    auto known = contents->jobs.find(job);
    if (known != contents->jobs.end() && !known->second.versions.empty() &&
        known->second.job_id != manifest.job_id)
      return Fail(Errc::kReplayed, "{}: it is of another job that is called {} too", shown, job)
          .WithRemedy("delete this node's versions of " + job + " first");
  }
  for (const ManifestUnit& unit : manifest.units) {
    const IncomingFile* file = FindFile(*files, ImageFileName(unit.name));
    if (file == nullptr || file->size_bytes < unit.image_bytes)
      return Fail(Errc::kBusy, "{}: {}.img is not all there", shown, unit.name)
          .WithRemedy("copy the rest of it");
  }
  if (auto set = CheckFileSet(dir_fd, manifest, shown); !set) return set.error();
  auto data_key = UnwrapDataKey(trust_->own(), manifest);
  if (!data_key) return data_key.error();
  auto keys = JobKeys::Make(manifest.suite, *data_key);
  if (!keys) return keys.error();

  VersionRecord record;
  record.manifest_digest = read->digest;
  record.job_id = manifest.job_id;
  record.imported = true;
  std::vector<std::shared_ptr<const UnitImage>> images;
  for (const ManifestUnit& unit : manifest.units) {
    auto image = OpenImageFile(dir_fd, manifest, unit, shown + ", unit " + unit.name);
    if (!image) return image.error();
    if (auto table = (*image)->ReadTable(*(*keys)->cipher, nullptr); !table) return table.error();
    if (auto checked = CheckFrames(**image); !checked) return checked.error();
    record.units.push_back(
        {.name = unit.name, .container = RandomPackId(), .flat = true, .sources = {}});
    record.written_bytes += unit.image_bytes;
    images.push_back(std::move(*image));
  }

  // Linked, not moved: until the version exists, the copy is the user's and stays whole.
  auto undo = [&](const Error& error) {
    for (const UnitRecord& unit : record.units)
      (void)disk_.Unlink(packs_->dir_fd(), ContainerName(unit.container));
    return error.Add("{}", shown);
  };
  for (size_t i = 0; i < record.units.size(); ++i) {
    std::string name = ImageFileName(record.units[i].name);
    if (auto synced = disk_.SyncData(images[i]->files()[0]->fd(), name); !synced)
      return undo(synced.error());
  }
  if (auto taking = BeginTaking(id, dir_fd); !taking) return undo(taking.error());
  for (size_t i = 0; i < record.units.size(); ++i) {
    std::string name = ImageFileName(record.units[i].name);
    auto done =
        disk_.Link(dir_fd, name, packs_->dir_fd(), ContainerName(record.units[i].container));
    if (!done) return undo(done.error());
  }
  auto done = disk_.Sync(packs_->dir_fd(), "packs");
  if (done)
    done = WriteVersionFiles(disk_, images_.get(), job, version, read->text, read->signature);
  if (!done) return undo(done.error());
  done = catalogue_->PutVersion(job, version, record);
  if (!done) {
    auto removed = RemoveVersionFiles(disk_, images_.get(), job, version);
    if (!removed) log_.Err("{}", removed.error().Text());
    return undo(done.error());
  }
  VersionInfo info = InfoOf(manifest);
  info.written_bytes = record.written_bytes;
  info.manifest_digest = ToHex(record.manifest_digest);
  info.signer = read->signer.IdText();
  info.imported = true;
  return info;
}

}  // namespace ckptfs
