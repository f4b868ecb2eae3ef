#include "agent/store/image_check.h"

#include <algorithm>
#include <atomic>
#include <thread>

#include "agent/store/names.h"

namespace ckptfs {

Result<void> CheckFileSet(int dir_fd, const Manifest& manifest, const std::string& shown) {
  std::set<std::string> expected{std::string(kManifestName), std::string(kSignatureName)};
  for (const ManifestUnit& unit : manifest.units) expected.insert(ImageFileName(unit.name));
  auto names = ListDir(dir_fd);
  if (!names) return names.error();
  std::sort(names->begin(), names->end());
  for (const std::string& name : *names)
    if (expected.erase(name) == 0)
      return Fail(Errc::kCorrupt, "{}: the file {} does not belong to it", shown,
                  IsPlainText(name, kMaxStreamNameBytes) ? name : "with a strange name")
          .WithRemedy("remove that file");
  if (!expected.empty())
    return Fail(Errc::kCorrupt, "{}: the file {} is missing", shown, *expected.begin())
        .WithRemedy("copy that file too");
  return {};
}

Result<std::shared_ptr<const UnitImage>> OpenImageFile(int dir_fd, const Manifest& manifest,
                                                       const ManifestUnit& unit,
                                                       const std::string& shown) {
  std::string name = ImageFileName(unit.name);
  auto file = ContainerFile::Open(dir_fd, name, name);
  if (!file) return file.error().Add("{}", shown);
  return UnitImage::OpenFlat(unit, manifest.suite, manifest.job_id, std::move(*file), shown);
}

Result<void> CheckFrames(const UnitImage& image) {
  std::atomic<size_t> next{0};
  Guarded<std::optional<Error>> failed;
  auto check = [&] {
    std::vector<uint8_t> stored(kMaxStoredFrameBytes);
    size_t frames = image.head().frames.size();
    for (size_t frame; (frame = next++) < frames;) {
      MutableBytes bytes(stored.data(), image.head().frames[frame].stored_bytes);
      const auto& place = image.place(frame);
      auto read =
          ReadExactly(image.files()[place.file]->fd(), bytes, static_cast<off_t>(place.offset));
      if (read)
        read = image.CheckFrame(frame, bytes);
      else
        read = read.error().Add("{}: {}", image.shown(), image.ShownFrame(frame));
      if (read) continue;
      if (auto first = failed.Lock(); !*first) *first = read.error();
      next = frames;
    }
  };
  // One waits for the disk while the other computes.
  std::thread other(check);
  check();
  other.join();
  if (auto first = failed.Lock(); *first) return **first;
  return {};
}

}  // namespace ckptfs
