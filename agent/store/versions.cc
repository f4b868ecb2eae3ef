// LocalStore: beginning, opening and deleting versions.
#include <fcntl.h>

#include <algorithm>

#include "agent/store/image_file.h"
#include "agent/store/local_store.h"
#include "agent/store/names.h"
#include "agent/store/unit_reader.h"
#include "agent/store/version_writer.h"

namespace ckptfs {
namespace {

std::string Shown(std::string_view job, uint64_t version) {
  return fmt::format("job {} version {}", job, version);
}

Error NoSuchVersion(std::string_view job, uint64_t version) {
  return Fail(Errc::kNotFound, "job {} has no version {}", job, version);
}

const UnitRecord* FindUnit(const VersionRecord& record, std::string_view name) {
  for (const UnitRecord& unit : record.units)
    if (unit.name == name) return &unit;
  return nullptr;
}

Result<std::shared_ptr<const UnitImage>> OpenUnitImage(const Manifest& manifest,
                                                       const ManifestUnit& unit,
                                                       const VersionRecord& record,
                                                       const Packs& packs) {
  std::string shown = Shown(manifest.job, manifest.version) + ", unit " + unit.name;
  const UnitRecord* unit_record = FindUnit(record, unit.name);
  if (unit_record == nullptr)
    return Fail(Errc::kCorrupt, "{}: the catalogue does not know it", shown)
        .WithRemedy("end the daemon and run 'ckptfs fsck --rebuild'");
  return UnitImage::Open(unit, manifest.suite, manifest.job_id, *unit_record, packs.opener(),
                         shown);
}

class VersionReaderImpl : public VersionReader {
 public:
  using Images = std::map<std::string, std::shared_ptr<const UnitImage>, std::less<>>;
  VersionReaderImpl(VersionInfo info, Images images, std::shared_ptr<const JobKeys> keys,
                    std::shared_ptr<const Packs::Pins> pins, BufferPool& pool)
      : info_(std::move(info)),
        images_(std::move(images)),
        keys_(std::move(keys)),
        pins_(std::move(pins)),
        pool_(pool) {}

  const VersionInfo& info() const override { return info_; }

  Result<std::unique_ptr<ImageSource>> OpenUnit(std::string_view name,
                                                Progress* progress) override {
    auto image = images_.find(name);
    if (image == images_.end())
      return Fail(Errc::kNotFound, "{} has no unit {}", Shown(info_.job, info_.version), name);
    auto reader = UnitReader::Make(image->second, keys_, pool_, pins_, progress);
    if (!reader) return reader.error();
    return std::unique_ptr<ImageSource>(std::move(*reader));
  }

 private:
  const VersionInfo info_;
  const Images images_;
  const std::shared_ptr<const JobKeys> keys_;
  const std::shared_ptr<const Packs::Pins> pins_;
  BufferPool& pool_;
};

}  // namespace

Result<SignedManifest> LocalStore::ReadVersionFiles(const std::string& job, uint64_t version,
                                                    const VersionRecord& record) const {
  std::string shown = Shown(job, version);
  auto dir = OpenAt(images_.get(), job + "/" + std::to_string(version),
                    O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
  auto files = dir ? ReadSignedManifest(dir->get(), find_key(), shown)
                   : Result<SignedManifest>(dir.error().Add("{}", shown));
  if (!files) {
    // The catalogue has it: so it is not absent, but damaged.
    if (files.error().code() != Errc::kNotFound) return files.error();
    return Error(Errc::kCorrupt, files.error().message(),
                 "restart another version, or copy this one in again from elsewhere");
  }
  const Manifest& manifest = files->manifest;
  if (manifest.job != job || manifest.version != version || manifest.job_id != record.job_id)
    return Fail(Errc::kReplayed, "{}: its manifest is that of job {} version {}", shown,
                manifest.job, manifest.version)
        .WithRemedy("restart another version, or copy this one in again from elsewhere");
  if (files->digest != record.manifest_digest)
    return Fail(Errc::kReplayed, "{}: its manifest is genuine, but not the one that was committed",
                shown)
        .WithRemedy("restart another version, or copy this one in again from elsewhere");
  return files;
}

Result<std::unique_ptr<VersionWriter>> LocalStore::Begin(const BeginOptions& options) {
  if (auto good = CheckName(options.job, "job"); !good) return good.error();
  VersionWriterImpl::Start start;
  start.options = options;
  std::vector<uint64_t> versions = Versions(options.job);
  {
    auto contents = catalogue_->Read();
    if (auto job = contents->jobs.find(options.job); job != contents->jobs.end()) {
      start.job_id = job->second.job_id;
      start.version = job->second.highest_version;
    }
  }

  // The newest version that opens gives the data key. Another owner's job of the
  // same name shares nothing with this one.
  std::optional<SecretBytes> data_key;
  for (auto version = versions.rbegin(); version != versions.rend() && !data_key; ++version) {
    auto pinned = packs_->Pin(*catalogue_, options.job, *version);
    if (!pinned) continue;
    auto files = ReadVersionFiles(options.job, *version, pinned->record);
    auto key =
        files ? UnwrapDataKey(trust_->own(), files->manifest) : Result<SecretBytes>(files.error());
    if (!key) {
      log_.Err("{}; the next version does not refer to it", key.error().Text());
      continue;
    }
    if (files->manifest.owner_uid != options.owner_uid) break;
    // Who can read this version must not read the next: that takes another key.
    if (auto former = trust_->FormerRecipient(files->manifest)) {
      log_.Info(
          "job {}: key {}, which can read version {}, is not trusted any more; the next "
          "version is saved in full, under a new data key",
          options.job, *former, *version);
      break;
    }
    data_key = std::move(*key);
    if (!options.full && files->manifest.suite == suite_)
      start.parent = ParentVersion{std::move(files->manifest), std::move(pinned->record),
                                   std::move(pinned->pins)};
  }
  if (!data_key) {
    auto fresh = NewDataKey();
    if (!fresh) return fresh.error();
    data_key = std::move(*fresh);
  }
  if (start.job_id == JobId{}) start.job_id = RandomPackId();
  auto keys = JobKeys::Make(suite_, *data_key);
  if (!keys) return keys.error();
  start.keys = std::move(*keys);
  auto wrapped = trust_->Wrap(*data_key);
  if (!wrapped) return wrapped.error();
  start.data_keys = std::move(*wrapped);
  {
    auto changing = changing_.Lock();
    auto [first, last] = changing->begun.equal_range(options.job);
    for (auto it = first; it != last; ++it) start.version = std::max(start.version, it->second);
    ++start.version;
    changing->begun.emplace(options.job, start.version);
  }
  return std::unique_ptr<VersionWriter>(new VersionWriterImpl(*this, std::move(start)));
}

Result<VersionInfo> LocalStore::Info(std::string_view job_name, uint64_t version) const {
  std::string job(job_name);
  auto record = catalogue_->Find(job, version);
  if (!record) return NoSuchVersion(job, version);
  // What it says was verified when it was committed or admitted; that it is still
  // the same is what the digest tells.
  auto files = ReadVersionFiles(job, version, *record);
  if (!files) return files.error();
  VersionInfo info = InfoOf(files->manifest);
  info.written_bytes = record->written_bytes;
  info.manifest_digest = ToHex(record->manifest_digest);
  info.signer = files->signer.IdText();
  info.imported = record->imported;
  return info;
}

Result<std::unique_ptr<VersionReader>> LocalStore::OpenVersion(std::string_view job_name,
                                                               uint64_t version) {
  std::string job(job_name);
  auto pinned = packs_->Pin(*catalogue_, job, version);
  if (!pinned) return NoSuchVersion(job, version);
  auto files = ReadVersionFiles(job, version, pinned->record);
  if (!files) return files.error();
  const Manifest& manifest = files->manifest;
  auto data_key = UnwrapDataKey(trust_->own(), manifest);
  if (!data_key) return data_key.error();
  auto keys = JobKeys::Make(manifest.suite, *data_key);
  if (!keys) return keys.error();
  VersionReaderImpl::Images images;
  for (const ManifestUnit& unit : manifest.units) {
    auto image = OpenUnitImage(manifest, unit, pinned->record, *packs_);
    if (!image) return image.error();
    images.emplace(unit.name, std::move(*image));
  }
  VersionInfo info = InfoOf(manifest);
  info.written_bytes = pinned->record.written_bytes;
  info.manifest_digest = ToHex(pinned->record.manifest_digest);
  info.signer = files->signer.IdText();
  info.imported = pinned->record.imported;
  return std::unique_ptr<VersionReader>(new VersionReaderImpl(
      std::move(info), std::move(images), std::move(*keys), std::move(pinned->pins), pool_));
}

Result<void> LocalStore::Delete(std::string_view job_name, uint64_t version) {
  std::string job(job_name);
  auto record = catalogue_->Find(job, version);
  if (!record) return NoSuchVersion(job, version);
  if (auto gone = catalogue_->DeleteVersion(job, version); !gone)
    return gone.error().Add("delete {}", Shown(job, version));
  // It does not exist any more; what is left of it is found at the next Open.
  auto removed = RemoveVersionFiles(disk_, images_.get(), job, version);
  if (!removed) log_.Warn("{}", removed.error().Text());
  for (const ContainerId& id : record->containers()) Reclaim(id);
  return {};
}

Result<std::vector<IncomingFile>> LocalStore::Files(std::string_view job, uint64_t version) const {
  auto record = catalogue_->Find(std::string(job), version);
  if (!record) return NoSuchVersion(job, version);
  auto files = ReadVersionFiles(std::string(job), version, *record);
  if (!files) return files.error();
  std::vector<IncomingFile> list{{std::string(kManifestName), files->text.size()},
                                 {std::string(kSignatureName), files->signature.size()}};
  for (const ManifestUnit& unit : files->manifest.units)
    list.push_back({ImageFileName(unit.name), unit.image_bytes});
  return list;
}

Result<std::unique_ptr<ImageFile>> LocalStore::OpenFile(std::string_view job_name, uint64_t version,
                                                        std::string_view name) const {
  std::string job(job_name);
  if (name == kManifestName || name == kSignatureName) {
    if (!catalogue_->Find(job, version)) return NoSuchVersion(job, version);
    auto fd =
        OpenAt(images_.get(), fmt::format("{}/{}/{}", job, version, name), O_RDONLY | O_NOFOLLOW);
    if (!fd) return fd.error();
    return MakePlainFile(std::move(*fd));
  }
  auto pinned = packs_->Pin(*catalogue_, job, version);
  if (!pinned) return NoSuchVersion(job, version);
  auto files = ReadVersionFiles(job, version, pinned->record);
  if (!files) return files.error();
  for (const ManifestUnit& unit : files->manifest.units) {
    if (ImageFileName(unit.name) != name) continue;
    auto image = OpenUnitImage(files->manifest, unit, pinned->record, *packs_);
    if (!image) return image.error();
    return MakeUnitFile(std::move(*image), std::move(pinned->pins));
  }
  return Fail(Errc::kNotFound, "{} has no file {}", Shown(job, version), name);
}

bool LocalStore::VerifyAll(const std::function<void(std::string)>& say) {
  bool all_good = true;
  for (const std::string& job : Jobs())
    for (uint64_t version : Versions(job)) {
      auto reader = OpenVersion(job, version);
      Result<void> verified = reader ? Result<void>() : Result<void>(reader.error());
      if (reader)
        for (const UnitInfo& unit : (*reader)->info().units) {
          auto source = (*reader)->OpenUnit(unit.name, nullptr);
          verified = source ? (*source)->VerifyRest() : Result<void>(source.error());
          if (!verified) break;
        }
      say(verified ? Shown(job, version) + ": good" : verified.error().Text());
      all_good &= verified.ok();
    }
  return all_good;
}

}  // namespace ckptfs
