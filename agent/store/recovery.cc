// LocalStore: what a crash left behind, and a catalogue that is made anew.
//
// A version is a folder images/JOB/N that is in the catalogue. A folder without
// an entry is either what is left of a version that was deleted (the catalogue
// remembers its manifest's digest) and goes, or a commit that was cut off before
// its last step, with everything durable, and is taken in. With a lost catalogue
// the latter is true of all of them.
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>

#include "agent/store/local_store.h"
#include "agent/store/names.h"

namespace ckptfs {

// Finds the containers of versions by what lies in packs/.
class LocalStore::Adopter {
 public:
  explicit Adopter(const LocalStore& store) : store_(store) {}

  Result<VersionRecord> RecordOf(const SignedManifest& files) {
    if (auto scanned = Scan(); !scanned) return scanned.error();
    VersionRecord record;
    record.manifest_digest = files.digest;
    record.job_id = files.manifest.job_id;
    for (const ManifestUnit& unit : files.manifest.units) {
      auto one = UnitRecordOf(files.manifest, unit);
      if (!one) return one.error();
      record.imported |= one->flat;
      auto size = store_.packs_->Open(one->container);
      if (size) record.written_bytes += (*size)->size_bytes();
      record.units.push_back(std::move(*one));
    }
    return record;
  }

 private:
  struct Flat {
    ContainerId id;
    PackId pack;  // of the unit whose image it is
    std::set<PackId> packs;
  };

  // Once: the image files that were copied in, by what their heads say.
  Result<void> Scan() {
    if (scanned_) return {};
    scanned_ = true;
    auto ids = store_.packs_->List();
    if (!ids) return ids.error();
    for (const ContainerId& id : *ids) {
      auto file = store_.packs_->Open(id);
      if (!file) continue;
      std::vector<uint8_t> start(kPackHeaderBytes);
      if (ReadExactly((*file)->fd(), start, 0) && ParsePackHeader(start)) {
        own_.insert(id);
        continue;
      }
      auto head_bytes = FlatHeadBytes(**file);
      if (!head_bytes) continue;
      start.resize(*head_bytes);
      if (!ReadExactly((*file)->fd(), start, 0)) continue;
      auto head = ParseHead(start, *head_bytes);
      if (head) flats_.push_back({id, head->pack, {head->packs.begin(), head->packs.end()}});
    }
    return {};
  }

  Result<UnitRecord> UnitRecordOf(const Manifest& manifest, const ManifestUnit& unit) {
    std::string shown =
        fmt::format("job {} version {}, unit {}", manifest.job, manifest.version, unit.name);
    std::optional<Error> why;
    // First as it was made here: then its frames may be in several packs.
    if (own_.contains(unit.pack)) {
      auto record = OwnRecord(manifest, unit, shown);
      if (record) return record;
      why = record.error();
    }
    for (const Flat& flat : flats_) {
      if (flat.pack != unit.pack) continue;
      UnitRecord record{.name = unit.name, .container = flat.id, .flat = true, .sources = {}};
      auto image = UnitImage::Open(unit, manifest.suite, manifest.job_id, record,
                                   store_.packs_->opener(), shown);
      if (image) return record;
      why = image.error();
    }
    if (why) return *why;
    return Fail(Errc::kCorrupt, "{}: its pack is missing", shown);
  }

  Result<UnitRecord> OwnRecord(const Manifest& manifest, const ManifestUnit& unit,
                               const std::string& shown) {
    auto file = store_.packs_->Open(unit.pack);
    if (!file) return file.error();
    if ((*file)->size_bytes() < kPackHeaderBytes + unit.head_bytes)
      return Fail(Errc::kCorrupt, "{}: {} is cut short", shown, (*file)->shown());
    std::vector<uint8_t> bytes(unit.head_bytes);
    auto read = ReadExactly((*file)->fd(), bytes,
                            static_cast<off_t>((*file)->size_bytes() - unit.head_bytes));
    if (!read) return read.error();
    auto head = ParseHead(bytes, unit.head_bytes);
    if (!head) return head.error().Add("{}", shown);
    UnitRecord record{.name = unit.name, .container = unit.pack, .flat = false, .sources = {}};
    for (size_t i = 0; i < head->packs.size(); ++i) {
      auto source = SourceOf(*head, static_cast<uint32_t>(i));
      if (!source) return source.error().Add("{}", shown);
      record.sources.push_back(*source);
    }
    auto image = UnitImage::Open(unit, manifest.suite, manifest.job_id, record,
                                 store_.packs_->opener(), shown);
    if (!image) return image.error();
    return record;
  }

  // The container that has the frames of the head's pack: the pack itself, unless
  // they were taken out of it, or an image file that was copied in.
  Result<UnitRecord::Source> SourceOf(const Head& head, uint32_t pack) {
    std::vector<UnitRecord::Source> candidates;
    if (own_.contains(head.packs[pack])) candidates.push_back({head.packs[pack], false});
    for (const Flat& flat : flats_)
      if (flat.packs.contains(head.packs[pack])) candidates.push_back({flat.id, true});
    for (const UnitRecord::Source& candidate : candidates)
      if (HasFrames(head, pack, candidate)) return candidate;
    return Fail(Errc::kCorrupt, "the frames of pack {} are missing", ToHex(head.packs[pack]));
  }

  // Whether the first and the last frame that the head wants of that pack are there.
  bool HasFrames(const Head& head, uint32_t pack, const UnitRecord::Source& source) {
    auto file = store_.packs_->Open(source.container);
    if (!file) return false;
    const FrameEntry* first = nullptr;
    const FrameEntry* last = nullptr;
    for (const FrameEntry& frame : head.frames) {
      if (frame.pack != pack) continue;
      if (first == nullptr) first = &frame;
      last = &frame;
    }
    for (const FrameEntry* frame : {first, last}) {
      if (frame == nullptr) continue;
      auto offset = source.flat ? FlatFrameOffset(**file, head.packs[pack], frame->number)
                                : std::optional<uint64_t>(frame->offset);
      std::vector<uint8_t> stored(frame->stored_bytes);
      if (!offset || !ReadExactly((*file)->fd(), stored, static_cast<off_t>(*offset)) ||
          Hash(head.suite, stored) != frame->hash)
        return false;
    }
    return true;
  }

  const LocalStore& store_;
  bool scanned_ = false;
  std::set<ContainerId> own_;
  std::vector<Flat> flats_;
};

Result<void> LocalStore::Recover() {
  bool rebuilding = catalogue_->is_new();
  auto adopted = AdoptVersions();
  if (!adopted) return adopted.error();
  // While something could not be understood, nothing that might belong to it goes.
  if (*adopted || !rebuilding) {
    if (auto removed = RemoveUnknownPacks(); !removed) return removed;
  } else {
    log_.Warn("packs that no version refers to stay, for there are versions that cannot be read");
  }
  if (rebuilding)
    if (auto done = catalogue_->SetComplete(); !done) return done;
  auto unclaimed = catalogue_->Read()->unclaimed;
  for (const ContainerId& id : unclaimed) Reclaim(id);
  return {};
}

Result<bool> LocalStore::AdoptVersions() {
  bool all_good = true;
  Adopter adopter(*this);
  auto jobs = ListDir(images_.get());
  if (!jobs) return jobs.error();
  for (const std::string& job : *jobs) {
    auto job_dir = OpenAt(images_.get(), job, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
    if (!job_dir || !CheckName(job, "job")) continue;
    auto names = ListDir(job_dir->get());
    if (!names) return names.error();
    for (const std::string& name : *names) {
      if (name.starts_with(".") && name.ends_with(".tmp")) {
        if (auto gone = disk_.RemoveTree(job_dir->get(), name); !gone) return gone.error();
        continue;
      }
      auto version = ParseVersionNumber(name);
      if (!version || catalogue_->Find(job, *version)) continue;
      auto dir = OpenAt(job_dir->get(), name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
      if (!dir) return dir.error();
      std::string shown = fmt::format("job {} version {}", job, *version);
      auto files = ReadSignedManifest(dir->get(), find_key(), shown);
      if (files && (files->manifest.job != job || files->manifest.version != *version))
        files = Fail(Errc::kReplayed, "{}: its manifest is that of job {} version {}", shown,
                     files->manifest.job, files->manifest.version);
      if (files && catalogue_->EverCommitted(files->manifest.job_id, *version)) {
        if (auto gone = RemoveVersionFiles(disk_, images_.get(), job, *version); !gone)
          return gone.error();
        continue;
      }
      auto record = files ? adopter.RecordOf(*files) : Result<VersionRecord>(files.error());
      if (!record) {
        log_.Err("{}; it is not listed", record.error().Text());
        unlisted_.push_back(shown);
        all_good = false;
        continue;
      }
      if (auto put = catalogue_->PutVersion(job, *version, *record); !put) return put.error();
      log_.Info("{} is in the catalogue again", shown);
    }
    (void)::unlinkat(images_.get(), job.c_str(), AT_REMOVEDIR);  // only if nothing is in it
  }
  return all_good;
}

Result<void> LocalStore::RemoveUnknownPacks() {
  std::set<std::string> known;
  {
    auto contents = catalogue_->Read();
    for (const auto& [name, job] : contents->jobs)
      for (const auto& [version, record] : job.versions)
        for (const ContainerId& id : record.containers()) known.insert(ContainerName(id));
  }
  auto names = ListDir(packs_->dir_fd());
  if (!names) return names.error();
  for (const std::string& name : *names) {
    if (known.contains(name)) continue;
    if (auto gone = disk_.Unlink(packs_->dir_fd(), name); !gone) return gone;
  }
  return {};
}

void LocalStore::AdmitComplete() {
  auto jobs = ListDir(incoming_.get());
  if (!jobs) return;
  for (const std::string& job : *jobs)
    for (uint64_t version : IncomingVersions(job)) {
      if (catalogue_->Find(job, version)) {
        (void)RemoveIncoming(job, version);  // admitted just before the crash
        continue;
      }
      auto info = Incoming(job, version);
      if (!info || info->state != IncomingState::kComplete) continue;
      if (auto admitted = Admit(job, version); !admitted) log_.Warn("{}", admitted.error().Text());
    }
}

}  // namespace ckptfs
