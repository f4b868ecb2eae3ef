// ImageSink and ImageSource: where a checkpointer's image goes and comes from.
// A checkpointer knows named streams of bytes and nothing of pages, frames or
// encryption; the store, which implements both, knows nothing of checkpointers.
//
// Both move bytes between a descriptor and the store's own buffers, so that the
// memory of a job is copied once on its way through, whatever its size.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"

namespace ckptfs {

// Names of streams: 1 to 255 bytes, no '/', no NUL, not "." or "..", unique within a
// unit's image. Data, never paths of the store; but `extract` makes files of them.
inline constexpr size_t kMaxStreamNameBytes = 255;
bool IsStreamName(std::string_view name);

class ImageSink {
 public:
  enum class Read { kMore, kWouldBlock, kEnd };

  class Stream {
   public:
    virtual ~Stream() = default;  // not ended: the stream is torn and the image unusable
    // Takes what the non-blocking `fd` has, up to about a MiB, then says how it
    // stands. May block for room in the store's ring, never on `fd`.
    virtual Result<Read> ReadFrom(int fd) = 0;
    virtual Result<void> Append(Bytes bytes) = 0;
    // The stream is complete. Once, after ReadFrom said kEnd or the last Append.
    virtual Result<void> End() = 0;
  };

  virtual ~ImageSink() = default;
  // Several streams may be open at once, all used by one thread: a sink and its
  // streams belong to the thread that saves the unit.
  virtual Result<std::unique_ptr<Stream>> Open(std::string_view name) = 0;
};

class ImageSource {
 public:
  enum class Fed { kMore, kWouldBlock, kEnd };

  class Stream {
   public:
    virtual ~Stream() = default;
    virtual uint64_t size_bytes() const = 0;
    // Gives the non-blocking `fd` what it takes, up to about a MiB. Only verified
    // bytes are ever given. kEnd: all was given; close the descriptor.
    // Errors: kCorrupt names the frame; kGone when the reader closed its end.
    virtual Result<Fed> WriteTo(int fd) = 0;
    // The next bytes, as many as fit; 0 at the end.
    virtual Result<size_t> Read(MutableBytes out) = 0;
  };

  virtual ~ImageSource() = default;
  // Names in the order in which they were written.
  virtual std::vector<std::string> Names() const = 0;
  // kNotFound if there is no such stream. The same name can be opened again.
  // One thread at a time, as above.
  virtual Result<std::unique_ptr<Stream>> Open(std::string_view name) = 0;
  // Verifies whatever no stream has read yet, so that a damaged image is found
  // before a job is let go even if the checkpointer did not look there. Blocks.
  virtual Result<void> VerifyRest() = 0;
};

}  // namespace ckptfs
