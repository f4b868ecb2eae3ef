#include "agent/open_files.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <set>

namespace ckptfs {
namespace {

constexpr std::string_view kMagic = "ckptfil1";
constexpr size_t kPathLimitBytes = 4095;
constexpr size_t kFilesLimit = 65536;
constexpr size_t kListLimitBytes = 64 << 20;
constexpr size_t kChunkBytes = 1 << 20;

template <typename T>
void Put(std::string* out, T value) {
  using Unsigned = std::make_unsigned_t<T>;
  auto bits = static_cast<Unsigned>(value);
  for (size_t i = 0; i < sizeof(T); ++i)
    out->push_back(static_cast<char>(static_cast<uint64_t>(bits) >> (8 * i)));
}

template <typename T>
bool Take(std::string_view* in, T* value) {
  if (in->size() < sizeof(T)) return false;
  uint64_t bits = 0;
  for (size_t i = 0; i < sizeof(T); ++i)
    bits |= static_cast<uint64_t>(static_cast<uint8_t>((*in)[i])) << (8 * i);
  *value = static_cast<T>(bits);
  in->remove_prefix(sizeof(T));
  return true;
}

// Paths in images are data: this is all that a path may look like.
bool IsPlainPath(std::string_view path) {
  if (path.size() < 2 || path.size() > kPathLimitBytes || path.front() != '/') return false;
  if (path.find('\0') != std::string_view::npos) return false;
  while (!path.empty()) {
    path.remove_prefix(1);  // '/'
    std::string_view part = path.substr(0, path.find('/'));
    if (part.empty() || part == "." || part == ".." || part.size() > 255) return false;
    path.remove_prefix(part.size());
  }
  return true;
}

bool TakeFile(std::string_view* in, SavedFile* file) {
  uint8_t kind = 0;
  uint16_t length = 0;
  if (!Take(in, &kind) || kind > 1 || !Take(in, &file->stream) || !Take(in, &file->mode) ||
      !Take(in, &file->uid) || !Take(in, &file->gid) || !Take(in, &file->size_bytes) ||
      !Take(in, &file->mtime_seconds) || !Take(in, &file->mtime_nanoseconds) ||
      !Take(in, &length) || in->size() < length)
    return false;
  file->saved = kind == 0;
  file->path = in->substr(0, length);
  in->remove_prefix(length);
  return (file->mode & ~0777u) == 0 && file->mtime_nanoseconds < 1'000'000'000 &&
         file->size_bytes <= static_cast<uint64_t>(INT64_MAX) && IsPlainPath(file->path);
}

// Exactly as many bytes as the file had when it was looked at: someone outside of
// the unit may be appending to it.
Result<uint64_t> CopyContent(int fd, uint64_t size, const CancelToken& cancel,
                             ImageSink::Stream& out) {
  std::vector<uint8_t> chunk(std::min<uint64_t>(kChunkBytes, std::max<uint64_t>(size, 1)));
  uint64_t done = 0;
  while (done < size) {
    if (cancel.cancelled()) return Fail(Errc::kCancelled, "the command was cancelled");
    size_t want = std::min<uint64_t>(chunk.size(), size - done);
    ssize_t n = ::pread(fd, chunk.data(), want, static_cast<off_t>(done));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return Error::FromErrno(errno, "read");
    if (n == 0) break;  // cut short meanwhile: then that is what it is
    auto put = out.Append(Bytes(chunk.data(), static_cast<size_t>(n)));
    if (!put) return put.error();
    done += static_cast<size_t>(n);
  }
  return done;
}

Result<void> AppendAll(ImageSink& sink, std::string_view name, std::string_view bytes) {
  auto stream = sink.Open(name);
  if (!stream) return stream.error();
  for (; !bytes.empty(); bytes.remove_prefix(std::min(bytes.size(), kChunkBytes)))
    if (auto put = (*stream)->Append(AsBytes(bytes.substr(0, kChunkBytes))); !put)
      return put.error();
  return (*stream)->End();
}

}  // namespace

std::string FileStreamName(uint32_t number) { return fmt::format("agent.file.{}", number); }

std::string FormatSavedFiles(const SavedFiles& files) {
  std::string out(kMagic);
  Put<uint8_t>(&out, files.suspended ? 1 : 0);
  Put<uint32_t>(&out, static_cast<uint32_t>(files.files.size()));
  for (const SavedFile& file : files.files) {
    Put<uint8_t>(&out, file.saved ? 0 : 1);
    Put(&out, file.stream);
    Put(&out, file.mode);
    Put(&out, file.uid);
    Put(&out, file.gid);
    Put(&out, file.size_bytes);
    Put(&out, file.mtime_seconds);
    Put(&out, file.mtime_nanoseconds);
    Put<uint16_t>(&out, static_cast<uint16_t>(file.path.size()));
    out += file.path;
  }
  return out;
}

Result<SavedFiles> ParseSavedFiles(std::string_view bytes) {
  SavedFiles files;
  uint8_t suspended = 0;
  uint32_t count = 0;
  if (bytes.size() > kListLimitBytes || !bytes.starts_with(kMagic))
    return Fail(Errc::kCorrupt, "the list of saved files is no such list");
  bytes.remove_prefix(kMagic.size());
  if (!Take(&bytes, &suspended) || suspended > 1 || !Take(&bytes, &count) || count > kFilesLimit)
    return Fail(Errc::kCorrupt, "the list of saved files has a bad head");
  files.suspended = suspended == 1;
  std::set<std::string> paths;
  for (uint32_t i = 0; i < count; ++i) {
    SavedFile file;
    if (!TakeFile(&bytes, &file))
      return Fail(Errc::kCorrupt, "entry {} of the list of saved files is bad", i);
    if (!paths.insert(file.path).second)
      return Fail(Errc::kCorrupt, "entry {} of the list of saved files is there twice", i);
    files.files.push_back(std::move(file));
  }
  if (!bytes.empty()) return Fail(Errc::kCorrupt, "the list of saved files is too long");
  return files;
}

Result<std::vector<std::string>> SaveFiles(const std::vector<OpenFile>& open, bool suspended,
                                           uint64_t limit_bytes, const CancelToken& cancel,
                                           ImageSink& sink) {
  SavedFiles list;
  list.suspended = suspended;
  std::vector<std::string> warnings;
  std::set<std::string> paths;
  for (const OpenFile& each : open) {
    struct stat info {};
    if (::fstat(each.content.get(), &info) != 0)
      return Error::FromErrno(errno, "look at {}", each.path);
    // A file without a name cannot be put back by name; the checkpointer keeps those itself.
    if (!S_ISREG(info.st_mode) || info.st_nlink == 0) continue;
    if (!IsPlainPath(each.path) || list.files.size() >= kFilesLimit) {
      warnings.push_back(fmt::format("{} is not saved: its path cannot be", each.path));
      continue;
    }
    if (!paths.insert(each.path).second) continue;
    SavedFile file{.path = each.path,
                   .stream = static_cast<uint32_t>(list.files.size()),
                   .mode = info.st_mode & 0777,
                   .uid = info.st_uid,
                   .gid = info.st_gid,
                   .size_bytes = static_cast<uint64_t>(info.st_size),
                   .mtime_seconds = info.st_mtim.tv_sec,
                   .mtime_nanoseconds = static_cast<uint32_t>(info.st_mtim.tv_nsec)};
    file.saved = file.size_bytes <= limit_bytes;
    if (!file.saved) {
      warnings.push_back(
          fmt::format("{} is not saved: it has {} bytes, the policy files_limit is {}", file.path,
                      file.size_bytes, limit_bytes));
    } else {
      auto stream = sink.Open(FileStreamName(file.stream));
      if (!stream) return stream.error().Add("save {}", file.path);
      auto copied = CopyContent(each.content.get(), file.size_bytes, cancel, **stream);
      if (!copied) return copied.error().Add("save {}", file.path);
      if (auto ended = (*stream)->End(); !ended) return ended.error().Add("save {}", file.path);
      file.size_bytes = *copied;
    }
    list.files.push_back(std::move(file));
  }
  if (auto put = AppendAll(sink, kFilesStream, FormatSavedFiles(list)); !put) return put.error();
  return warnings;
}

Result<SavedFiles> LoadSavedFiles(ImageSource& source) {
  auto stream = source.Open(kFilesStream);
  if (!stream) {
    if (stream.error().code() == Errc::kNotFound) return SavedFiles{};
    return stream.error();
  }
  if ((*stream)->size_bytes() > kListLimitBytes)
    return Fail(Errc::kCorrupt, "the list of saved files is too large");
  std::string text((*stream)->size_bytes(), '\0');
  size_t done = 0;
  while (done < text.size()) {
    auto n = (*stream)->Read(
        MutableBytes(reinterpret_cast<uint8_t*>(text.data()) + done, text.size() - done));
    if (!n) return n.error();
    if (*n == 0) return Fail(Errc::kCorrupt, "the list of saved files is cut short");
    done += *n;
  }
  return ParseSavedFiles(text);
}

}  // namespace ckptfs
