#include "agent/store/unit_image.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <cstring>

#include "agent/store/encoding.h"

namespace ckptfs {
namespace {

// A head holds 56 bytes a frame and 16 a page: this is far beyond any memory.
constexpr uint64_t kMaxHeadBytes = uint64_t{1} << 36;

const char* kElsewhere = "restart another version, or copy this one in again from elsewhere";

Result<std::vector<uint8_t>> ReadRange(const ContainerFile& file, uint64_t offset,
                                       uint64_t size_bytes) {
  std::vector<uint8_t> bytes(size_bytes);
  auto read = ReadExactly(file.fd(), bytes, static_cast<off_t>(offset));
  if (!read) return read.error().Add("{}", file.shown());
  return bytes;
}

}  // namespace

Result<uint64_t> FlatHeadBytes(const ContainerFile& file) {
  constexpr uint64_t kAt = 64;  // in the head's fixed part
  std::array<uint8_t, 8> bytes{};
  auto read = ReadExactly(file.fd(), bytes, kAt);
  if (!read) return read.error().Add("{}", file.shown()).WithRemedy(kElsewhere);
  uint64_t head_bytes = ByteReader(bytes).U64();
  if (head_bytes < Head::kFixedBytes || head_bytes > file.size_bytes())
    return Fail(Errc::kCorrupt, "{}: its head was changed", file.shown()).WithRemedy(kElsewhere);
  return head_bytes;
}

namespace {

// Offsets of the frames of an image file by where they were first.
using FlatFrames = std::map<std::pair<PackId, uint32_t>, uint64_t>;

Result<FlatFrames> ReadFlatFrames(const ContainerFile& file) {
  auto head_bytes = FlatHeadBytes(file);
  if (!head_bytes) return head_bytes.error();
  auto bytes = ReadRange(file, 0, *head_bytes);
  if (!bytes) return bytes.error();
  auto head = ParseHead(*bytes, *head_bytes);
  if (!head) return head.error().Add("{}", file.shown()).WithRemedy(kElsewhere);
  FlatFrames frames;
  uint64_t offset = *head_bytes;
  for (const FrameEntry& frame : head->frames) {
    frames[{head->packs[frame.pack], frame.number}] = offset;
    offset += frame.stored_bytes;
  }
  return frames;
}

}  // namespace

std::optional<uint64_t> FlatFrameOffset(const ContainerFile& file, const PackId& pack,
                                        uint32_t number) {
  auto frames = ReadFlatFrames(file);
  if (!frames) return std::nullopt;
  auto found = frames->find({pack, number});
  if (found == frames->end()) return std::nullopt;
  return found->second;
}

Result<std::shared_ptr<const ContainerFile>> ContainerFile::Open(int dir_fd,
                                                                 const std::string& name,
                                                                 std::string shown) {
  auto fd = OpenAt(dir_fd, name, O_RDONLY | O_NOFOLLOW);
  if (!fd) {
    if (fd.error().code() == Errc::kNotFound)
      return Fail(Errc::kCorrupt, "{} is missing", shown).WithRemedy(kElsewhere);
    return fd.error().Add("{}", shown);
  }
  struct stat there;
  if (::fstat(fd->get(), &there) != 0) return Error::FromErrno(errno, "{}", shown);
  if (!S_ISREG(there.st_mode)) return Fail(Errc::kCorrupt, "{} is no regular file", shown);
  auto direct = OpenAt(dir_fd, name, O_RDONLY | O_NOFOLLOW | O_DIRECT);
  return std::shared_ptr<const ContainerFile>(
      new ContainerFile(std::move(*fd), direct ? std::move(*direct) : Fd(),
                        static_cast<uint64_t>(there.st_size), std::move(shown)));
}

Result<void> UnitImage::ReadHead(const ManifestUnit& unit, Suite suite, const JobId& job) {
  const ContainerFile& file = *files_[head_place_.file];
  auto corrupt = [&](std::string_view what) {
    return Fail(Errc::kCorrupt, "{}: the head at {} of {} {}", shown_, head_place_.offset,
                file.shown(), what)
        .WithRemedy(kElsewhere);
  };
  auto bytes = ReadRange(file, head_place_.offset, unit.head_bytes);
  if (!bytes) return bytes.error().Add("{}", shown_).WithRemedy(kElsewhere);
  if (Hash(suite, *bytes) != unit.root)
    return corrupt("was changed: its hash is not the manifest's");
  auto head = ParseHead(*bytes, unit.head_bytes);
  if (!head) return head.error().Add("{}", shown_);
  head_ = std::move(*head);
  if (head_.suite != suite || head_.pack != unit.pack || head_.job != job ||
      head_.frames.size() != unit.frames || head_.image_bytes() != unit.image_bytes)
    return corrupt("contradicts the manifest");
  return {};
}

void UnitImage::PlaceFlat() {
  uint64_t offset = head_.head_bytes();
  places_.reserve(head_.frames.size());
  for (const FrameEntry& frame : head_.frames) {
    places_.push_back({0, offset});
    offset += frame.stored_bytes;
  }
}

Result<void> UnitImage::PlaceBySources(const UnitRecord& record, const OpenContainer& open) {
  if (record.sources.size() != head_.packs.size())
    return Fail(Errc::kCorrupt, "{}: the catalogue does not say where its frames are", shown_)
        .WithRemedy("end the daemon and run 'ckptfs fsck --rebuild'");
  std::map<ContainerId, uint32_t> file_of{{record.container, 0}};
  std::vector<uint32_t> pack_file;
  std::map<uint32_t, FlatFrames> flat;
  for (const UnitRecord::Source& source : record.sources) {
    auto [found, is_new] =
        file_of.try_emplace(source.container, static_cast<uint32_t>(files_.size()));
    if (is_new) {
      auto file = open(source.container);
      if (!file) return file.error().Add("{}", shown_);
      files_.push_back(std::move(*file));
    }
    pack_file.push_back(found->second);
    if (!source.flat || flat.contains(found->second)) continue;
    auto frames = ReadFlatFrames(*files_[found->second]);
    if (!frames) return frames.error().Add("{}", shown_);
    flat[found->second] = std::move(*frames);
  }
  places_.reserve(head_.frames.size());
  for (size_t i = 0; i < head_.frames.size(); ++i) {
    const FrameEntry& frame = head_.frames[i];
    Place place{pack_file[frame.pack], frame.offset};
    if (record.sources[frame.pack].flat) {
      const FlatFrames& frames = flat[place.file];
      auto found = frames.find({head_.packs[frame.pack], frame.number});
      if (found == frames.end())
        return Fail(Errc::kCorrupt, "{}: frame {} is not in {}", shown_, i,
                    files_[place.file]->shown())
            .WithRemedy(kElsewhere);
      place.offset = found->second;
    }
    places_.push_back(place);
  }
  return {};
}

Result<std::shared_ptr<const UnitImage>> UnitImage::Open(const ManifestUnit& unit, Suite suite,
                                                         const JobId& job, const UnitRecord& record,
                                                         const OpenContainer& open,
                                                         std::string shown) {
  auto file = open(record.container);
  if (!file) return file.error().Add("{}", shown);
  if (record.flat) return OpenFlat(unit, suite, job, std::move(*file), std::move(shown));
  std::shared_ptr<UnitImage> image(new UnitImage());
  image->shown_ = std::move(shown);
  if ((*file)->size_bytes() < kPackHeaderBytes + unit.head_bytes || unit.head_bytes > kMaxHeadBytes)
    return Fail(Errc::kCorrupt, "{}: {} is cut short", image->shown_, (*file)->shown())
        .WithRemedy(kElsewhere);
  image->head_place_ = {0, (*file)->size_bytes() - unit.head_bytes};
  image->files_.push_back(std::move(*file));
  if (auto read = image->ReadHead(unit, suite, job); !read) return read.error();
  if (auto placed = image->PlaceBySources(record, open); !placed) return placed.error();
  return std::shared_ptr<const UnitImage>(std::move(image));
}

Result<std::shared_ptr<const UnitImage>> UnitImage::OpenFlat(
    const ManifestUnit& unit, Suite suite, const JobId& job,
    std::shared_ptr<const ContainerFile> file, std::string shown) {
  if (file->size_bytes() != unit.image_bytes || unit.head_bytes > unit.image_bytes)
    return Fail(Errc::kCorrupt, "{}: {} has {} bytes, the manifest says {}", shown, file->shown(),
                file->size_bytes(), unit.image_bytes)
        .WithRemedy(kElsewhere);
  std::shared_ptr<UnitImage> image(new UnitImage());
  image->shown_ = std::move(shown);
  image->files_.push_back(std::move(file));
  if (auto read = image->ReadHead(unit, suite, job); !read) return read.error();
  image->PlaceFlat();
  return std::shared_ptr<const UnitImage>(std::move(image));
}

Result<PageTable> UnitImage::ReadTable(const FrameCipher& cipher,
                                       std::vector<Fingerprint>* fingerprints) const {
  // The head's hash was verified when it was opened; the tags are verified here, so
  // bytes that were changed since are found as well.
  std::vector<uint8_t> plain(head_.table_bytes);
  const ContainerFile& file = *files_[head_place_.file];
  uint64_t offset = head_place_.offset + head_.table_offset();
  std::vector<uint8_t> sealed(Head::kTablePieceBytes + kTagBytes);
  for (uint64_t piece = 0; piece < head_.table_pieces(); ++piece) {
    uint64_t start = piece * Head::kTablePieceBytes;
    size_t size = std::min<uint64_t>(Head::kTablePieceBytes, head_.table_bytes - start);
    MutableBytes stored(sealed.data(), size + kTagBytes);
    auto read = ReadExactly(file.fd(), stored, static_cast<off_t>(offset));
    if (!read) return read.error().Add("{}: {}", shown_, file.shown());
    auto opened = cipher.Open(FrameKind::kTable, {head_.pack, piece}, stored,
                              MutableBytes(plain).subspan(start, size));
    if (!opened)
      return opened.error()
          .Add("{}: piece {} of the page table, at {} of {}", shown_, piece, offset, file.shown())
          .WithRemedy(kElsewhere);
    offset += stored.size();
  }
  auto table = ParsePageTable(plain, head_.table_bytes, head_.frames);
  if (!table) return table.error().Add("{}", shown_);
  if (fingerprints != nullptr) {
    fingerprints->resize(table->live_pages);
    std::memcpy(fingerprints->data(), plain.data() + table->fingerprints_offset,
                table->live_pages * sizeof(Fingerprint));
  }
  return table;
}

Result<void> UnitImage::CheckFrame(size_t frame, Bytes stored) const {
  if (Hash(head_.suite, stored) == head_.frames[frame].hash) return {};
  return Fail(Errc::kCorrupt, "{}: {}: its bytes were changed", shown_, ShownFrame(frame))
      .WithRemedy(kElsewhere);
}

std::string UnitImage::ShownFrame(size_t frame) const {
  const Place& at = places_[frame];
  return fmt::format("frame {}, at {} of {}", frame, at.offset, files_[at.file]->shown());
}

}  // namespace ckptfs
