#include "agent/store/version_writer.h"

#include <algorithm>
#include <chrono>

#include "agent/store/names.h"

namespace ckptfs {

VersionWriterImpl::~VersionWriterImpl() {
  auto changing = store_.changing_.Lock();
  auto [first, last] = changing->begun.equal_range(start_.options.job);
  for (auto it = first; it != last; ++it) {
    if (it->second != start_.version) continue;
    changing->begun.erase(it);
    break;
  }
}

std::optional<ParentUnit> VersionWriterImpl::LoadParent(const std::string& name) {
  if (!start_.parent) return std::nullopt;
  const Manifest& manifest = start_.parent->manifest;
  const VersionRecord& record = start_.parent->record;
  auto unit = std::find_if(manifest.units.begin(), manifest.units.end(),
                           [&](const ManifestUnit& one) { return one.name == name; });
  auto unit_record = std::find_if(record.units.begin(), record.units.end(),
                                  [&](const UnitRecord& one) { return one.name == name; });
  if (unit == manifest.units.end() || unit_record == record.units.end()) return std::nullopt;

  std::string shown =
      fmt::format("job {} version {}, unit {}", manifest.job, manifest.version, name);
  auto image = UnitImage::Open(*unit, manifest.suite, manifest.job_id, *unit_record,
                               store_.packs_->opener(), shown);
  ParentUnit parent;
  auto table = image ? (*image)->ReadTable(*start_.keys->cipher, &parent.fingerprints)
                     : Result<PageTable>(image.error());
  if (!table) {
    // A version must not refer to what is damaged.
    store_.log_.Err("{}; version {} is therefore saved in full", table.error().message(),
                    start_.version);
    return std::nullopt;
  }
  parent.head = (*image)->head();
  parent.live = std::move(table->live);
  uint64_t pages = 0;
  for (const FrameEntry& frame : parent.head.frames) pages += frame.pages;
  double dead =
      pages == 0 ? 0 : 1 - static_cast<double>(table->live_pages) / static_cast<double>(pages);
  if (dead > start_.options.full_above_dead) return std::nullopt;
  parent_packs_[name] = parent.head.packs;
  return parent;
}

Result<std::unique_ptr<VersionWriter::UnitWriter>> VersionWriterImpl::AddUnit(
    const UnitOptions& options) {
  if (auto good = CheckName(options.name, "unit"); !good) return good.error();
  if (auto good = CheckName(options.checkpointer, "checkpointer"); !good) return good.error();
  if (committed_ || !units_.insert(options.name).second)
    return Fail(Errc::kInternal, "unit {} is in this version already", options.name);
  auto unit = UnitWriterImpl::Make({.unit = options,
                                    .job = start_.job_id,
                                    .keys = start_.keys,
                                    .parent = LoadParent(options.name),
                                    .packs_dir_fd = store_.packs_->dir_fd(),
                                    .disk = &store_.disk_,
                                    .pool = &store_.pool_,
                                    .finished = [written = written_](WrittenUnit one) {
                                      written->Lock()->push_back(std::move(one));
                                    }});
  if (!unit) {
    units_.erase(options.name);
    return unit.error().Add("job {} version {}, unit {}", start_.options.job, start_.version,
                            options.name);
  }
  return std::unique_ptr<UnitWriter>(std::move(*unit));
}

Manifest VersionWriterImpl::MakeManifest(const std::vector<WrittenUnit>& units) const {
  Manifest manifest;
  manifest.job = start_.options.job;
  manifest.job_id = start_.job_id;
  manifest.version = start_.version;
  manifest.node = store_.options_.node;
  manifest.suite = start_.keys->cipher->suite();
  manifest.owner_uid = start_.options.owner_uid;
  manifest.owner_gid = start_.options.owner_gid;
  manifest.owner_name = start_.options.owner_name;
  manifest.created_unix_ms = std::chrono::duration_cast<std::chrono::milliseconds>(
                                 std::chrono::system_clock::now().time_since_epoch())
                                 .count();
  manifest.data_keys = start_.data_keys;
  for (const WrittenUnit& unit : units) {
    bool refers = std::any_of(unit.packs.begin(), unit.packs.end(),
                              [&](const PackId& pack) { return pack != unit.pack_id; });
    if (refers) manifest.parent = start_.parent->manifest.version;
    manifest.units.push_back({.name = unit.name,
                              .checkpointer = unit.checkpointer,
                              .root = unit.root,
                              .pack = unit.pack_id,
                              .head_bytes = unit.head_bytes,
                              .image_bytes = unit.image_bytes,
                              .memory_bytes = unit.memory_bytes,
                              .frames = unit.frames,
                              .needs = unit.needs});
  }
  return manifest;
}

VersionRecord VersionWriterImpl::MakeRecord(const std::vector<WrittenUnit>& units,
                                            const Digest& digest) const {
  VersionRecord record;
  record.manifest_digest = digest;
  record.job_id = start_.job_id;
  for (const WrittenUnit& unit : units) {
    record.written_bytes += unit.pack->size_bytes();
    UnitRecord one{.name = unit.name, .container = unit.pack_id, .flat = false, .sources = {}};
    for (const PackId& pack : unit.packs) {
      if (pack == unit.pack_id) {
        one.sources.push_back({pack, false});
        continue;
      }
      // Where the parent's frames of that pack are, ours of it are.
      const auto& parents = start_.parent->record.units;
      auto parent = std::find_if(parents.begin(), parents.end(),
                                 [&](const UnitRecord& p) { return p.name == unit.name; });
      if (parent->flat) {
        one.sources.push_back({parent->container, true});
        continue;
      }
      const std::vector<PackId>& packs = parent_packs_.at(unit.name);
      auto at = std::find(packs.begin(), packs.end(), pack) - packs.begin();
      one.sources.push_back(parent->sources[static_cast<size_t>(at)]);
    }
    record.units.push_back(std::move(one));
  }
  return record;
}

Result<VersionInfo> VersionWriterImpl::Commit() {
  const std::string& job = start_.options.job;
  auto fail = [&](const Error& error) {
    return error.Add("job {} version {}", job, start_.version);
  };
  // Out of the shared place, so that on every failure the packs go with them.
  std::vector<WrittenUnit> units = std::move(*written_->Lock());
  if (committed_ || units.empty() || units.size() != units_.size())
    return fail(Fail(Errc::kInternal, "{} of {} units are finished", units.size(), units_.size()));
  committed_ = true;
  std::sort(units.begin(), units.end(),
            [](const WrittenUnit& a, const WrittenUnit& b) { return a.name < b.name; });

  if (auto synced = store_.disk_.Sync(store_.packs_->dir_fd(), "packs"); !synced)
    return fail(synced.error());
  Manifest manifest = MakeManifest(units);
  auto text = FormatManifest(manifest);
  if (!text) return fail(text.error());
  auto signature = store_.trust_->own().Sign(AsBytes(*text));
  if (!signature) return fail(signature.error());
  VersionRecord record = MakeRecord(units, ManifestDigest(*text));
  auto written =
      WriteVersionFiles(store_.disk_, store_.images_.get(), job, start_.version, *text, *signature);
  if (!written) return fail(written.error());
  auto put = store_.catalogue_->PutVersion(job, start_.version, record);
  if (!put) {
    auto removed = RemoveVersionFiles(store_.disk_, store_.images_.get(), job, start_.version);
    if (!removed) store_.log_.Err("{}", removed.error().Text());
    return fail(put.error());
  }
  for (WrittenUnit& unit : units) unit.pack->Keep();

  VersionInfo info = InfoOf(manifest);
  info.written_bytes = record.written_bytes;
  info.manifest_digest = ToHex(record.manifest_digest);
  info.signer = store_.public_key().IdText();
  return info;
}

}  // namespace ckptfs
