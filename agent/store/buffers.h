// Large buffers, mapped once and kept warm: in many machines the first touch of
// a page costs more than all else that happens to it. They are locked, so that
// the plaintext in them is never swapped out, and stay out of children and dumps.
#pragma once

#include <memory>
#include <vector>

#include "base/bytes.h"
#include "base/guarded.h"
#include "base/result.h"

namespace ckptfs {

class BufferPool;

// Move-only; goes back to its pool. Page-aligned.
class Buffer {
 public:
  Buffer() = default;
  Buffer(Buffer&& other) noexcept;
  Buffer& operator=(Buffer&& other) noexcept;
  ~Buffer();
  uint8_t* data() const { return data_; }
  size_t size_bytes() const { return size_bytes_; }

 private:
  friend class BufferPool;
  Buffer(BufferPool* pool, uint8_t* data, size_t size_bytes)
      : pool_(pool), data_(data), size_bytes_(size_bytes) {}
  BufferPool* pool_ = nullptr;
  uint8_t* data_ = nullptr;
  size_t size_bytes_ = 0;
};

// Thread-safe. Outlives its buffers.
class BufferPool {
 public:
  BufferPool() = default;
  BufferPool(const BufferPool&) = delete;
  BufferPool& operator=(const BufferPool&) = delete;
  ~BufferPool();
  // At least `size_bytes`, rounded up to 2 MiB, every page of it touched.
  // kNoMemory with a remedy when it cannot be had.
  Result<Buffer> Take(size_t size_bytes);

 private:
  friend class Buffer;
  struct Kept {
    uint8_t* data;
    size_t size_bytes;
  };
  void GiveBack(uint8_t* data, size_t size_bytes);
  // As many as one unit uses at once; the oldest goes first.
  static constexpr size_t kMostKept = 3;
  Guarded<std::vector<Kept>> kept_;
};

}  // namespace ckptfs
