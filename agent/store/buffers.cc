#include "agent/store/buffers.h"

#include <sys/mman.h>

#include <algorithm>
#include <cerrno>

namespace ckptfs {
namespace {
constexpr size_t kHugePage = 2 << 20;
}

Buffer::Buffer(Buffer&& other) noexcept
    : pool_(std::exchange(other.pool_, nullptr)),
      data_(std::exchange(other.data_, nullptr)),
      size_bytes_(std::exchange(other.size_bytes_, 0)) {}

Buffer& Buffer::operator=(Buffer&& other) noexcept {
  std::swap(pool_, other.pool_);
  std::swap(data_, other.data_);
  std::swap(size_bytes_, other.size_bytes_);
  return *this;
}

Buffer::~Buffer() {
  if (pool_ != nullptr) pool_->GiveBack(data_, size_bytes_);
}

BufferPool::~BufferPool() {
  for (const Kept& kept : *kept_.Lock()) ::munmap(kept.data, kept.size_bytes);
}

Result<Buffer> BufferPool::Take(size_t size_bytes) {
  size_bytes = (size_bytes + kHugePage - 1) / kHugePage * kHugePage;
  {
    auto kept = kept_.Lock();
    // Never a much larger one: it would be missing where it is needed.
    auto fits = std::find_if(kept->begin(), kept->end(), [&](const Kept& one) {
      return one.size_bytes >= size_bytes && one.size_bytes <= 2 * size_bytes;
    });
    if (fits != kept->end()) {
      Kept one = *fits;
      kept->erase(fits);
      return Buffer(this, one.data, one.size_bytes);
    }
  }
  // Huge pages need the mapping to begin at a multiple of their size.
  size_t mapped_bytes = size_bytes + kHugePage;
  void* mapped = ::mmap(nullptr, mapped_bytes, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (mapped == MAP_FAILED)
    return Error::FromErrno(errno, "{} bytes of buffer", size_bytes)
        .WithRemedy("lower the policy 'buffer'");
  uint8_t* start = static_cast<uint8_t*>(mapped);
  size_t skip = (kHugePage - reinterpret_cast<uintptr_t>(start) % kHugePage) % kHugePage;
  if (skip > 0) ::munmap(start, skip);
  uint8_t* data = start + skip;
  if (mapped_bytes > skip + size_bytes) ::munmap(data + size_bytes, kHugePage - skip);

  ::madvise(data, size_bytes, MADV_HUGEPAGE);
  ::madvise(data, size_bytes, MADV_DONTFORK);
  ::madvise(data, size_bytes, MADV_DONTDUMP);
  // Locking also touches. Without the right to lock, touch at least; only memory
  // that is not there at all is an error.
  if (::mlock(data, size_bytes) != 0 && ::madvise(data, size_bytes, MADV_POPULATE_WRITE) != 0 &&
      errno != EINVAL) {
    int failed = errno;
    ::munmap(data, size_bytes);
    return Error::FromErrno(failed, "{} bytes of buffer", size_bytes)
        .WithRemedy("lower the policy 'buffer'");
  }
  return Buffer(this, data, size_bytes);
}

void BufferPool::GiveBack(uint8_t* data, size_t size_bytes) {
  Kept oldest{nullptr, 0};
  {
    auto kept = kept_.Lock();
    kept->push_back({data, size_bytes});
    if (kept->size() > kMostKept) {
      oldest = kept->front();
      kept->erase(kept->begin());
    }
  }
  if (oldest.data != nullptr) ::munmap(oldest.data, oldest.size_bytes);
}

}  // namespace ckptfs
