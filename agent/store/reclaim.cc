// LocalStore: giving back the space of what no version refers to any more.
//
// A container without any reference is removed. Of the others the dead parts are
// punched out: offsets stay, so nothing that refers to the rest has to change.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>

#include "agent/store/local_store.h"

namespace ckptfs {
namespace {

constexpr uint64_t kBlock = 4096;
constexpr uint64_t kCopyBytes = 1 << 20;

// What lies between the live ranges (sorted, possibly touching) and `end`.
std::vector<std::pair<uint64_t, uint64_t>> Gaps(
    const std::vector<std::pair<uint64_t, uint64_t>>& live, uint64_t end) {
  std::vector<std::pair<uint64_t, uint64_t>> gaps;
  uint64_t position = 0;
  for (const auto& [from, to] : live) {
    if (from > position) gaps.emplace_back(position, from);
    position = std::max(position, to);
  }
  if (end > position) gaps.emplace_back(position, end);
  return gaps;
}

}  // namespace

void LocalStore::Reclaim(const ContainerId& id) {
  auto still = packs_->LockForChange();
  if (packs_->IsPinned(id)) return;  // its last pin brings us here again
  if (auto done = ReclaimLocked(id); !done)
    log_.Warn("space of packs/{} is not given back: {}", ContainerName(id), done.error().Text());
}

Result<std::optional<LocalStore::Ranges>> LocalStore::LiveRanges(const ContainerId& id) {
  std::vector<std::pair<VersionId, VersionRecord>> users;
  {
    auto contents = catalogue_->Read();
    for (const auto& [name, job] : contents->jobs)
      for (const auto& [version, record] : job.versions)
        if (record.containers().contains(id)) users.push_back({{name, version}, record});
  }
  if (users.empty()) return std::optional<Ranges>();
  Ranges live{{0, kBlock}};
  for (const auto& [user, record] : users) {
    const auto& [job, version] = user;
    auto files = ReadVersionFiles(job, version, record);
    if (!files) return files.error();
    for (size_t i = 0; i < files->manifest.units.size(); ++i) {
      const ManifestUnit& unit = files->manifest.units[i];
      if (i >= record.units.size() || record.units[i].name != unit.name)
        return Fail(Errc::kCorrupt, "job {} version {}: its units differ from the catalogue's", job,
                    version);
      const UnitRecord& unit_record = record.units[i];
      auto image = UnitImage::Open(
          unit, files->manifest.suite, files->manifest.job_id, unit_record, packs_->opener(),
          fmt::format("job {} version {}, unit {}", job, version, unit.name));
      if (!image) return image.error();
      const auto shown = "packs/" + ContainerName(id);
      auto is_this = [&](const UnitImage::Place& place) {
        return (*image)->files()[place.file]->shown() == shown;
      };
      if (const auto& head = (*image)->head_place(); is_this(head))
        live.emplace_back(head.offset, head.offset + unit.head_bytes);
      // A child of an image that was copied in finds frames by that image's head.
      for (const UnitRecord::Source& source : unit_record.sources)
        if (source.flat && source.container == id) {
          auto file = packs_->Open(id);
          if (!file) return file.error();
          auto head_end = FlatHeadBytes(**file);
          if (!head_end) return head_end.error();
          live.emplace_back(0, *head_end);
        }
      for (size_t frame = 0; frame < (*image)->head().frames.size(); ++frame)
        if (const auto& place = (*image)->place(frame); is_this(place))
          live.emplace_back(place.offset,
                            place.offset + (*image)->head().frames[frame].stored_bytes);
    }
  }
  std::sort(live.begin(), live.end());
  return std::optional<Ranges>(std::move(live));
}

Result<void> LocalStore::ReclaimLocked(const ContainerId& id) {
  std::string name = ContainerName(id);
  auto live = LiveRanges(id);
  if (!live) return live.error();
  if (!*live) {
    if (auto gone = disk_.Unlink(packs_->dir_fd(), name); !gone) return gone;
    return catalogue_->Claimed(id, 0);
  }
  auto fd = OpenAt(packs_->dir_fd(), name, O_RDWR | O_NOFOLLOW);
  if (!fd) return fd.error();
  struct stat there;
  if (::fstat(fd->get(), &there) != 0) return Error::FromErrno(errno, "{}", name);
  auto gaps = Gaps(**live, static_cast<uint64_t>(there.st_size));
  uint64_t left = 0;  // parts of blocks that are live as well
  for (const auto& [from, to] : gaps) {
    uint64_t first = (from + kBlock - 1) / kBlock * kBlock;
    uint64_t last = to == static_cast<uint64_t>(there.st_size) ? to : to / kBlock * kBlock;
    if (first >= last) {
      left += to - from;
      continue;
    }
    left += (first - from) + (to - last);
    auto punched = disk_.Punch(fd->get(), first, last - first, name);
    if (punched) continue;
    if (punched.error().code() != Errc::kUnsupported) return punched;
    if (auto copied = CopySparse(fd->get(), name, **live); !copied) return copied;
    break;
  }
  return catalogue_->Claimed(id, left);
}

// For file systems without holes to punch: a copy with only what is live, at the
// same offsets, takes the container's place.
Result<void> LocalStore::CopySparse(int from_fd, const std::string& name, const Ranges& live) {
  std::string temporary = name + ".tmp";
  if (auto gone = disk_.Unlink(packs_->dir_fd(), temporary); !gone) return gone;
  struct stat there;
  if (::fstat(from_fd, &there) != 0) return Error::FromErrno(errno, "{}", name);
  auto to = disk_.Create(packs_->dir_fd(), temporary);
  if (!to) return to.error();
  auto done = disk_.Truncate(to->get(), static_cast<uint64_t>(there.st_size), temporary);
  std::vector<uint8_t> bytes(kCopyBytes);
  for (const auto& [from, end] : live)
    for (uint64_t at = from; at < end && done;) {
      MutableBytes part(bytes.data(), std::min<uint64_t>(kCopyBytes, end - at));
      done = ReadExactly(from_fd, part, static_cast<off_t>(at));
      if (done) done = disk_.Write(to->get(), part, at, temporary);
      at += part.size();
    }
  if (done) done = disk_.SyncData(to->get(), temporary);
  if (done) done = disk_.Rename(packs_->dir_fd(), temporary, packs_->dir_fd(), name);
  if (!done) {
    (void)disk_.Unlink(packs_->dir_fd(), temporary);
    return done;
  }
  return disk_.Sync(packs_->dir_fd(), "packs");
}

}  // namespace ckptfs
