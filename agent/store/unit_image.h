// UnitImage: a unit's image as it lies in the store's files (or in a directory
// that was copied out): its verified head, and where each frame is.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "agent/store/catalogue.h"
#include "agent/store/manifest.h"
#include "agent/store/page_table.h"
#include "agent/store/unit_writer.h"
#include "base/fd.h"

namespace ckptfs {

// A file with frames, open for reading; past the page cache where that works.
class ContainerFile {
 public:
  // `shown` is what errors call it.
  static Result<std::shared_ptr<const ContainerFile>> Open(int dir_fd, const std::string& name,
                                                           std::string shown);
  int fd() const { return fd_.get(); }  // through the page cache
  // Past it; aligned offsets, sizes and memory only. The same as fd() where there is none.
  int direct_fd() const { return direct_.valid() ? direct_.get() : fd_.get(); }
  uint64_t size_bytes() const { return size_bytes_; }
  const std::string& shown() const { return shown_; }

 private:
  ContainerFile(Fd fd, Fd direct, uint64_t size_bytes, std::string shown)
      : fd_(std::move(fd)),
        direct_(std::move(direct)),
        size_bytes_(size_bytes),
        shown_(std::move(shown)) {}
  Fd fd_, direct_;
  uint64_t size_bytes_;
  std::string shown_;
};

// Opens a container of the store by its id.
using OpenContainer =
    std::function<Result<std::shared_ptr<const ContainerFile>>(const ContainerId&)>;

// How long the head is with which an image file begins, as it says itself.
Result<uint64_t> FlatHeadBytes(const ContainerFile& file);
// Where in an image file the frame lies; nullopt if it is not there.
std::optional<uint64_t> FlatFrameOffset(const ContainerFile& file, const PackId& pack,
                                        uint32_t number);

class UnitImage {
 public:
  struct Place {
    uint32_t file = 0;  // of files
    uint64_t offset = 0;
  };

  // A unit of the store. `shown` names it in errors: "sim version 3, unit main".
  // Verifies the head against the manifest's root, and sizes. kCorrupt says where.
  static Result<std::shared_ptr<const UnitImage>> Open(const ManifestUnit& unit, Suite suite,
                                                       const JobId& job, const UnitRecord& record,
                                                       const OpenContainer& open,
                                                       std::string shown);
  // An image file as it was copied out.
  static Result<std::shared_ptr<const UnitImage>> OpenFlat(
      const ManifestUnit& unit, Suite suite, const JobId& job,
      std::shared_ptr<const ContainerFile> file, std::string shown);

  const Head& head() const { return head_; }
  const std::vector<std::shared_ptr<const ContainerFile>>& files() const { return files_; }
  const Place& place(size_t frame) const { return places_[frame]; }
  const Place& head_place() const { return head_place_; }
  const std::string& shown() const { return shown_; }

  // The page table. With `fingerprints` set, them too.
  Result<PageTable> ReadTable(const FrameCipher& cipher,
                              std::vector<Fingerprint>* fingerprints) const;
  // kCorrupt unless the frame's stored bytes have the hash that the head says.
  Result<void> CheckFrame(size_t frame, Bytes stored) const;
  // "frame 17, at 4456992 of packs/….pack"
  std::string ShownFrame(size_t frame) const;

 private:
  UnitImage() = default;
  Result<void> ReadHead(const ManifestUnit& unit, Suite suite, const JobId& job);
  // Frames back to back behind the head in the first file.
  void PlaceFlat();
  Result<void> PlaceBySources(const UnitRecord& record, const OpenContainer& open);

  std::string shown_;
  Head head_;
  std::vector<std::shared_ptr<const ContainerFile>> files_;
  std::vector<Place> places_;
  Place head_place_;
};

}  // namespace ckptfs
