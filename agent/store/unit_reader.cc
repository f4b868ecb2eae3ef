#include "agent/store/unit_reader.h"

#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <thread>

namespace ckptfs {
namespace {

constexpr size_t kBytesACall = 1 << 20;
constexpr size_t kFramesAhead = 16;

// A write to a pipe whose reader went away is an error here, never a signal.
class NoSigpipe {
 public:
  NoSigpipe() {
    sigset_t pipe;
    sigemptyset(&pipe);
    sigaddset(&pipe, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &pipe, &before_);
  }
  ~NoSigpipe() {
    if (raised_ && sigismember(&before_, SIGPIPE) == 0) {
      sigset_t pipe;
      sigemptyset(&pipe);
      sigaddset(&pipe, SIGPIPE);
      timespec now{};
      sigtimedwait(&pipe, nullptr, &now);
    }
    pthread_sigmask(SIG_SETMASK, &before_, nullptr);
  }
  NoSigpipe(const NoSigpipe&) = delete;
  NoSigpipe& operator=(const NoSigpipe&) = delete;
  void Raised() { raised_ = true; }

 private:
  sigset_t before_;
  bool raised_ = false;
};

class StreamReader : public ImageSource::Stream {
 public:
  StreamReader(const StreamEntry& entry, FrameCache& cache, Progress* progress)
      : entry_(entry), cache_(cache), progress_(progress) {}

  uint64_t size_bytes() const override { return entry_.size_bytes; }

  // The pin is dropped after each call: many streams may be open at once.
  Result<ImageSource::Fed> WriteTo(int fd) override {
    auto fed = Feed(fd);
    pin_ = {};
    return fed;
  }

  Result<size_t> Read(MutableBytes out) override {
    auto filled = Fill(out);
    pin_ = {};
    return filled;
  }

 private:
  Result<ImageSource::Fed> Feed(int fd) {
    NoSigpipe no_sigpipe;
    for (size_t total = 0; total < kBytesACall;) {
      auto bytes = Next();
      if (!bytes) return bytes.error();
      if (bytes->empty()) return ImageSource::Fed::kEnd;
      ssize_t n = ::write(fd, bytes->data(), bytes->size());
      if (n < 0) {
        if (errno == EINTR) continue;
        if (errno == EAGAIN) return ImageSource::Fed::kWouldBlock;
        if (errno != EPIPE) return Error::FromErrno(errno, "write to the checkpointer's pipe");
        no_sigpipe.Raised();
        return Fail(Errc::kGone, "the checkpointer closed its pipe before it had all");
      }
      Advance(static_cast<size_t>(n));
      total += static_cast<size_t>(n);
    }
    return done_ == entry_.size_bytes ? ImageSource::Fed::kEnd : ImageSource::Fed::kMore;
  }

  Result<size_t> Fill(MutableBytes out) {
    size_t filled = 0;
    while (filled < out.size()) {
      auto bytes = Next();
      if (!bytes) return bytes.error();
      if (bytes->empty()) break;
      size_t count = std::min(bytes->size(), out.size() - filled);
      std::memcpy(out.data() + filled, bytes->data(), count);
      Advance(count);
      filled += count;
    }
    return filled;
  }

  // The next bytes, as many as lie in one piece; empty at the end.
  Result<Bytes> Next() {
    if (done_ == entry_.size_bytes) return Bytes();
    const Extent& extent = entry_.extents[extent_];
    PagePosition position = extent.start + page_;
    uint32_t frame = position / static_cast<uint32_t>(kFramePages);
    uint32_t slot = position % static_cast<uint32_t>(kFramePages);
    if (!pin_ || frame != pinned_frame_) {
      pin_ = {};
      if (frame != pinned_frame_) LookAhead();
      auto pin = cache_.Get(frame);
      if (!pin) return pin.error();
      pin_ = std::move(*pin);
      pinned_frame_ = frame;
    }
    uint32_t pages = std::min(extent.pages - page_, static_cast<uint32_t>(kFramePages) - slot);
    uint64_t size = std::min<uint64_t>(pages * kPageBytes - in_page_, entry_.size_bytes - done_);
    return Bytes(pin_.pages() + slot * kPageBytes + in_page_, size);
  }

  void Advance(size_t bytes) {
    done_ += bytes;
    if (progress_ != nullptr) progress_->bytes_done += bytes;
    in_page_ += bytes;
    page_ += static_cast<uint32_t>(in_page_ / kPageBytes);
    in_page_ %= kPageBytes;
    if (page_ == entry_.extents[extent_].pages) {
      ++extent_;
      page_ = 0;
    }
  }

  // Has the frames that follow loaded, as far as kFramesAhead changes of frame.
  void LookAhead() {
    if (ahead_count_ > kFramesAhead / 2) {
      --ahead_count_;
      return;
    }
    std::vector<uint32_t> frames;
    while (ahead_count_ < kFramesAhead && ahead_extent_ < entry_.extents.size()) {
      const Extent& extent = entry_.extents[ahead_extent_];
      uint64_t position = uint64_t{extent.start} + ahead_page_;
      uint32_t frame = static_cast<uint32_t>(position / kFramePages);
      if (frame != ahead_frame_) {
        frames.push_back(frame);
        ++ahead_count_;
        ahead_frame_ = frame;
      }
      ahead_page_ += static_cast<uint32_t>(kFramePages - position % kFramePages);
      if (ahead_page_ >= extent.pages) {
        ++ahead_extent_;
        ahead_page_ = 0;
      }
    }
    if (ahead_count_ > 0) --ahead_count_;
    if (!frames.empty()) cache_.Prefetch(frames);
  }

  const StreamEntry& entry_;
  FrameCache& cache_;
  Progress* progress_;
  FrameCache::Pin pin_;
  uint32_t pinned_frame_ = UINT32_MAX;  // or was, last
  uint64_t done_ = 0;
  size_t extent_ = 0;
  uint32_t page_ = 0;  // in the extent
  size_t in_page_ = 0;
  size_t ahead_extent_ = 0;
  uint32_t ahead_page_ = 0;
  uint32_t ahead_frame_ = UINT32_MAX;
  size_t ahead_count_ = 0;  // changes of frame that lie ahead and were asked for
};

}  // namespace

UnitReader::UnitReader(std::shared_ptr<const UnitImage> image, std::shared_ptr<const JobKeys> keys,
                       PageTable table, std::unique_ptr<FrameCache> cache,
                       std::shared_ptr<const void> keep, Progress* progress)
    : keep_(std::move(keep)),
      image_(std::move(image)),
      keys_(std::move(keys)),
      table_(std::move(table)),
      cache_(std::move(cache)),
      progress_(progress) {}

UnitReader::~UnitReader() = default;

Result<std::unique_ptr<UnitReader>> UnitReader::Make(std::shared_ptr<const UnitImage> image,
                                                     std::shared_ptr<const JobKeys> keys,
                                                     BufferPool& pool,
                                                     std::shared_ptr<const void> keep,
                                                     Progress* progress) {
  auto table = image->ReadTable(*keys->cipher, nullptr);
  if (!table) return table.error();
  auto cache = FrameCache::Make(image, *keys->cipher, pool);
  if (!cache) return cache.error();
  return std::unique_ptr<UnitReader>(new UnitReader(std::move(image), std::move(keys),
                                                    std::move(*table), std::move(*cache),
                                                    std::move(keep), progress));
}

std::vector<std::string> UnitReader::Names() const {
  std::vector<std::string> names;
  for (const StreamEntry& stream : table_.streams) names.push_back(stream.name);
  return names;
}

Result<std::unique_ptr<ImageSource::Stream>> UnitReader::Open(std::string_view name) {
  for (const StreamEntry& stream : table_.streams)
    if (stream.name == name) return std::make_unique<StreamReader>(stream, *cache_, progress_);
  return Fail(Errc::kNotFound, "{}: no stream of that name", image_->shown());
}

Result<void> UnitReader::VerifyRest() {
  std::vector<bool> verified = cache_->verified();
  std::atomic<size_t> next{0};
  Guarded<std::optional<Error>> failed;
  auto verify = [&] {
    FrameReader reader(image_, *keys_->cipher);
    std::vector<uint8_t> plain(kFrameBytes);
    for (size_t frame; (frame = next++) < verified.size();) {
      if (verified[frame]) continue;
      auto read = reader.Read(frame, plain.data());
      if (read) continue;
      if (auto first = failed.Lock(); !*first) *first = read.error();
      next = verified.size();
    }
  };
  // Two at once: one waits for the disk while the other computes.
  std::thread other(verify);
  verify();
  other.join();
  if (auto first = failed.Lock(); *first) return **first;
  return {};
}

}  // namespace ckptfs
