// The files that a unit has open for writing, in its image: each file's content
// is a stream of its own, "agent.file.N", and "agent.files" lists them. So a
// restart finds the files as they were, whatever was written since.
//
// agent.files, all numbers little-endian:
//   8 bytes   "ckptfil1"
//   u8        1 if the unit was suspended when it was saved
//   u32       number of entries
//   entry     u8 kind (0 saved, 1 left out: too large), u32 stream number, u32 mode,
//             u32 uid, u32 gid, u64 size, i64 mtime seconds, u32 nanoseconds,
//             u16 length of the path, path
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "kapi/checkpointer.h"
#include "kapi/image.h"

namespace ckptfs {

struct SavedFile {
  std::string path;    // absolute; no "", "." or ".." in it; at most 4095 bytes
  bool saved = false;  // false: left out, larger than the policy allows
  uint32_t stream = 0;
  uint32_t mode = 0;  // permission bits
  uint32_t uid = 0, gid = 0;
  uint64_t size_bytes = 0;
  int64_t mtime_seconds = 0;
  uint32_t mtime_nanoseconds = 0;
};

struct SavedFiles {
  bool suspended = false;
  std::vector<SavedFile> files;
};

inline constexpr char kFilesStream[] = "agent.files";
std::string FileStreamName(uint32_t number);

std::string FormatSavedFiles(const SavedFiles& files);
// Bounded; kCorrupt says what is wrong. No path in the result leads out of itself.
Result<SavedFiles> ParseSavedFiles(std::string_view bytes);

// Saves the content of `open` as it is now and then the list. Regular files that
// still have a name only. Warnings name what was left out. Errors: the sink's, and
// those of reading a file.
Result<std::vector<std::string>> SaveFiles(const std::vector<OpenFile>& open, bool suspended,
                                           uint64_t limit_bytes, const CancelToken& cancel,
                                           ImageSink& sink);
// An image without a list has no files.
Result<SavedFiles> LoadSavedFiles(ImageSource& source);

}  // namespace ckptfs
