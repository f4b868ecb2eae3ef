#include "agent/store/image_file.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>

namespace ckptfs {
namespace {

constexpr uint64_t kKeptBehindBytes = 8 << 20;
constexpr uint64_t kForgetStepBytes = 2 << 20;

class UnitFile : public ImageFile {
 public:
  UnitFile(std::shared_ptr<const UnitImage> image, std::shared_ptr<const void> keep)
      : image_(std::move(image)), keep_(std::move(keep)) {
    const Head& head = image_->head();
    Add(image_->head_place(), head.head_bytes());
    for (size_t i = 0; i < head.frames.size(); ++i)
      Add(image_->place(i), head.frames[i].stored_bytes);
  }

  uint64_t size_bytes() const override { return size_bytes_; }

  Result<Piece> At(uint64_t offset, uint64_t limit_bytes) const override {
    if (offset >= size_bytes_) return Piece{-1, 0, 0};
    auto after = std::upper_bound(pieces_.begin(), pieces_.end(), offset,
                                  [](uint64_t at, const Part& part) { return at < part.start; });
    const Part& part = *std::prev(after);
    uint64_t end = after == pieces_.end() ? size_bytes_ : after->start;
    Piece piece{image_->files()[part.file]->fd(), part.offset + (offset - part.start),
                std::min(limit_bytes, end - offset)};
    // Who reads the file keeps these bytes in the cache of the mount: the pages behind
    // them would only take memory a second time. Others still read shortly behind us.
    if (piece.offset > kKeptBehindBytes + kForgetStepBytes &&
        piece.offset % kForgetStepBytes < piece.size_bytes)
      ::posix_fadvise(piece.fd,
                      static_cast<off_t>(piece.offset - kKeptBehindBytes - kForgetStepBytes),
                      static_cast<off_t>(2 * kForgetStepBytes), POSIX_FADV_DONTNEED);
    return piece;
  }

 private:
  struct Part {
    uint64_t start;  // in UNIT.img; it reaches to the next part's
    uint64_t offset;
    uint32_t file;
  };

  void Add(const UnitImage::Place& place, uint64_t size_bytes) {
    bool goes_on = !pieces_.empty() && pieces_.back().file == place.file &&
                   pieces_.back().offset + (size_bytes_ - pieces_.back().start) == place.offset;
    if (!goes_on) pieces_.push_back({size_bytes_, place.offset, place.file});
    size_bytes_ += size_bytes;
  }

  std::shared_ptr<const UnitImage> image_;
  std::shared_ptr<const void> keep_;
  std::vector<Part> pieces_;
  uint64_t size_bytes_ = 0;
};

class PlainFile : public ImageFile {
 public:
  PlainFile(Fd fd, uint64_t size_bytes) : fd_(std::move(fd)), size_bytes_(size_bytes) {}
  uint64_t size_bytes() const override { return size_bytes_; }
  Result<Piece> At(uint64_t offset, uint64_t limit_bytes) const override {
    if (offset >= size_bytes_) return Piece{-1, 0, 0};
    return Piece{fd_.get(), offset, std::min(limit_bytes, size_bytes_ - offset)};
  }

 private:
  Fd fd_;
  uint64_t size_bytes_;
};

}  // namespace

std::unique_ptr<ImageFile> MakeUnitFile(std::shared_ptr<const UnitImage> image,
                                        std::shared_ptr<const void> keep) {
  return std::make_unique<UnitFile>(std::move(image), std::move(keep));
}

Result<std::unique_ptr<ImageFile>> MakePlainFile(Fd fd) {
  struct stat there;
  if (::fstat(fd.get(), &there) != 0) return Error::FromErrno(errno, "stat");
  return std::unique_ptr<ImageFile>(
      new PlainFile(std::move(fd), static_cast<uint64_t>(there.st_size)));
}

}  // namespace ckptfs
