#include "agent/store/local_store.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "agent/store/names.h"

namespace ckptfs {
namespace {

constexpr size_t kMaxRecordBytes = 64 << 10;
constexpr size_t kMaxRecordKeyBytes = 400;  // LMDB's keys end at 511

Result<Fd> OpenFolder(const Disk& disk, int dir_fd, const std::string& name) {
  if (auto made = disk.MakeDir(dir_fd, name); !made) return made.error();
  return OpenAt(dir_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
}

// Of everything below an open folder, as the file system counts it.
uint64_t BytesBelow(int dir_fd, int depth = 0) {
  uint64_t bytes = 0;
  auto names = ListDir(dir_fd);
  if (!names || depth > 4) return 0;
  for (const std::string& name : *names) {
    struct stat there;
    if (::fstatat(dir_fd, name.c_str(), &there, AT_SYMLINK_NOFOLLOW) != 0) continue;
    bytes += static_cast<uint64_t>(there.st_blocks) * 512;
    if (!S_ISDIR(there.st_mode)) continue;
    auto below = OpenAt(dir_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
    if (below) bytes += BytesBelow(below->get(), depth + 1);
  }
  return bytes;
}

}  // namespace

Result<std::unique_ptr<Store>> Store::Open(StoreOptions options, const Log& log) {
  auto store = LocalStore::Open(std::move(options), log, /*rebuild=*/false);
  if (!store) return store.error();
  return std::unique_ptr<Store>(std::move(*store));
}

LocalStore::LocalStore(StoreOptions options, const Log& log)
    : options_(std::move(options)),
      log_(log),
      disk_(options_.faults),
      suite_(options_.suite.value_or(DefaultSuite())) {}

LocalStore::~LocalStore() = default;

Result<std::unique_ptr<LocalStore>> LocalStore::Open(StoreOptions options, const Log& log,
                                                     bool rebuild) {
  if (auto ready = InitCrypto(); !ready) return ready.error();
  if (auto good = CheckName(options.node, "node"); !good) return good.error();
  if (options.suite && !SuiteAvailable(*options.suite))
    return Fail(Errc::kUnsupported, "this build has no cipher suite {}", SuiteName(*options.suite));
  std::unique_ptr<LocalStore> store(new LocalStore(std::move(options), log));
  auto opened = store->OpenFolders();
  if (opened) opened = store->OpenCatalogue(rebuild);
  if (opened) opened = store->Recover();
  if (!opened) return opened.error().Add("store {}", store->options_.dir);
  store->AdmitComplete();
  return store;
}

Result<void> LocalStore::OpenFolders() {
  if (::mkdir(options_.dir.c_str(), 0700) != 0 && errno != EEXIST)
    return Error::FromErrno(errno, "make the folder");
  auto dir = ckptfs::Open(options_.dir, O_RDONLY | O_DIRECTORY);
  if (!dir) return dir.error();
  dir_ = std::move(*dir);
  if (auto locked = TakeLock(); !locked) return locked;
  auto keys = OpenFolder(disk_, dir_.get(), "keys");
  if (!keys) return keys.error();
  auto trust = ckptfs::Trust::Open(disk_, std::move(*keys), options_, log_);
  if (!trust) return trust.error();
  trust_ = std::move(*trust);
  auto packs = OpenFolder(disk_, dir_.get(), "packs");
  if (!packs) return packs.error();
  packs_ = std::make_unique<Packs>(std::move(*packs), [this](const ContainerId& id) {
    if (catalogue_->Read()->unclaimed.contains(id)) Reclaim(id);
  });
  auto images = OpenFolder(disk_, dir_.get(), "images");
  if (!images) return images.error();
  images_ = std::move(*images);
  auto incoming = OpenFolder(disk_, dir_.get(), "incoming");
  if (!incoming) return incoming.error();
  incoming_ = std::move(*incoming);
  return disk_.Sync(dir_.get(), options_.dir);
}

Result<void> LocalStore::TakeLock() {
  auto lock = OpenAt(dir_.get(), "lock", O_RDWR | O_CREAT | O_NOFOLLOW, 0600);
  if (!lock) return lock.error();
  if (::flock(lock->get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK) return Error::FromErrno(errno, "lock");
    auto holder = ReadFileAt(dir_.get(), "lock", 64);
    std::string who = holder && !holder->empty() ? holder->substr(0, holder->find('\n')) : "?";
    return Fail(Errc::kBusy, "it is in use by the ckptfs with pid {}", who)
        .WithRemedy("one daemon uses a store at a time: unmount the other, or name another store");
  }
  // Who holds it, for the words above; that it is held is the kernel's to know.
  std::string pid = std::to_string(::getpid()) + "\n";
  (void)!::ftruncate(lock->get(), 0);
  (void)WriteAll(lock->get(), AsBytes(pid), 0);
  lock_ = std::move(*lock);
  return {};
}

Result<void> LocalStore::OpenCatalogue(bool rebuild) {
  const std::string path = options_.dir + "/catalogue";
  std::map<std::string, std::string> records;
  if (auto made = disk_.MakeDir(dir_.get(), "catalogue"); !made) return made;
  auto catalogue = Catalogue::Open(disk_, path);
  bool damaged = !catalogue && catalogue.error().code() == Errc::kCorrupt;
  if (!catalogue && !damaged) return catalogue.error();
  if (damaged)
    log_.Err("{}; it is made anew from packs and manifests, the agent's records are lost",
             catalogue.error().message());
  if (damaged || rebuild) {
    if (catalogue) {
      records = catalogue->get()->Read()->records;
      catalogue->reset();
    }
    if (auto gone = disk_.RemoveTree(dir_.get(), "catalogue.old"); !gone) return gone;
    auto aside = disk_.Rename(dir_.get(), "catalogue", dir_.get(), "catalogue.old");
    if (aside) aside = disk_.MakeDir(dir_.get(), "catalogue");
    if (!aside) return aside;
    catalogue = Catalogue::Open(disk_, path);
    if (!catalogue) return catalogue.error();
    for (const auto& [key, value] : records)
      if (auto kept = catalogue->get()->PutRecord(key, value); !kept) return kept;
  }
  catalogue_ = std::move(*catalogue);
  return {};
}

std::vector<std::pair<std::string, PublicKey>> LocalStore::TrustedKeys() const {
  return trust_->Trusted();
}
Result<void> LocalStore::Trust(std::string_view name, std::string_view key_file) {
  return trust_->Add(name, key_file);
}
Result<void> LocalStore::Distrust(std::string_view name) { return trust_->Remove(name); }

std::vector<std::string> LocalStore::Jobs() const {
  std::set<std::string> jobs;
  if (auto names = ListDir(incoming_.get())) jobs.insert(names->begin(), names->end());
  auto contents = catalogue_->Read();
  for (const auto& [name, job] : contents->jobs)
    if (!job.versions.empty()) jobs.insert(name);
  return {jobs.begin(), jobs.end()};
}

std::vector<uint64_t> LocalStore::Versions(std::string_view job) const {
  std::vector<uint64_t> versions;
  auto contents = catalogue_->Read();
  auto found = contents->jobs.find(std::string(job));
  if (found == contents->jobs.end()) return versions;
  for (const auto& [version, record] : found->second.versions) versions.push_back(version);
  return versions;
}

std::optional<uint64_t> LocalStore::Latest(std::string_view job) const {
  auto contents = catalogue_->Read();
  auto found = contents->jobs.find(std::string(job));
  if (found == contents->jobs.end() || found->second.versions.empty()) return std::nullopt;
  return found->second.versions.rbegin()->first;
}

Result<void> LocalStore::PutRecord(std::string_view key, std::string_view value) {
  if (key.empty() || key.size() > kMaxRecordKeyBytes)
    return Fail(Errc::kInvalid, "a record's key has {} bytes", key.size());
  if (value.size() > kMaxRecordBytes)
    return Fail(Errc::kTooBig, "record {} has {} bytes, {} are the most", key, value.size(),
                kMaxRecordBytes);
  return catalogue_->PutRecord(std::string(key), value);
}

Result<bool> LocalStore::DeleteRecord(std::string_view key) {
  return catalogue_->DeleteRecord(std::string(key));
}

std::map<std::string, std::string> LocalStore::Records(std::string_view prefix) const {
  std::map<std::string, std::string> found;
  auto contents = catalogue_->Read();
  for (auto it = contents->records.lower_bound(std::string(prefix));
       it != contents->records.end() && it->first.starts_with(prefix); ++it)
    found.insert(*it);
  return found;
}

Result<StoreUse> LocalStore::Use() const {
  StoreUse use;
  use.bytes =
      BytesBelow(packs_->dir_fd()) + BytesBelow(images_.get()) + BytesBelow(incoming_.get());
  struct statvfs there;
  if (::fstatvfs(dir_.get(), &there) != 0) return Error::FromErrno(errno, "store {}", options_.dir);
  use.free_bytes = uint64_t{there.f_bavail} * there.f_frsize;
  auto contents = catalogue_->Read();
  for (const auto& [id, bytes] : contents->dead_bytes) use.dead_bytes += bytes;
  for (const auto& [name, job] : contents->jobs) use.versions += job.versions.size();
  return use;
}

}  // namespace ckptfs
