#include "agent/events.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <ctime>
#include <map>

namespace ckptfs {
namespace {

const char kFileName[] = "events";
constexpr size_t kLineLimitBytes = 4096;
constexpr size_t kErrorCommandBytes = 200;

// One line stays one line, and a terminal that shows it stays itself.
std::string Escape(std::string_view text, size_t limit_bytes) {
  std::string safe;
  for (unsigned char c : text) {
    if (safe.size() >= limit_bytes) return safe + "...";
    if (c == '\\') {
      safe += "\\\\";
    } else if (c == '\n') {
      safe += "\\n";
    } else if (c < ' ' || c == 0x7f || c >= 0x80) {
      safe += fmt::format("\\x{:02x}", c);
    } else {
      safe += static_cast<char>(c);
    }
  }
  return safe;
}

struct File {
  Fd fd;
  uint64_t size_bytes = 0;
};

Result<std::string> ReadAt(int fd, uint64_t offset, size_t size_bytes) {
  std::string text(size_bytes, '\0');
  auto* bytes = reinterpret_cast<uint8_t*>(text.data());
  auto read = ReadExactly(fd, MutableBytes(bytes, size_bytes), static_cast<off_t>(offset));
  if (!read) return read.error().Add("event log");
  return text;
}

}  // namespace

std::string FormatTime(std::chrono::system_clock::time_point when) {
  auto since = std::chrono::floor<std::chrono::milliseconds>(when.time_since_epoch()).count();
  time_t seconds = static_cast<time_t>(since / 1000);
  tm parts{};
  ::gmtime_r(&seconds, &parts);
  return fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z", parts.tm_year + 1900,
                     parts.tm_mon + 1, parts.tm_mday, parts.tm_hour, parts.tm_min, parts.tm_sec,
                     since % 1000);
}

// Lock order: `file` and `wakes` are never held together. A wake is called
// under `calling`, so that Unsubscribe, which takes it too, ends the calls.
struct EventLog::State {
  Fd dir;
  uint64_t limit_bytes = 0;
  Guarded<File> file;
  Guarded<std::map<uint64_t, std::shared_ptr<Guarded<std::function<void()>>>>> wakes;
  uint64_t next_id = 1;  // guarded by `wakes`
};

EventLog::EventLog(std::unique_ptr<State> state) : state_(std::move(state)) {}
EventLog::~EventLog() = default;

Result<std::unique_ptr<EventLog>> EventLog::Open(int dir_fd, uint64_t limit_bytes) {
  auto state = std::make_unique<State>();
  state->limit_bytes = std::max<uint64_t>(limit_bytes, 2 * kLineLimitBytes);
  auto dir = OpenAt(dir_fd, ".", O_RDONLY | O_DIRECTORY);
  if (!dir) return dir.error().Add("event log");
  state->dir = std::move(*dir);
  auto fd = OpenAt(dir_fd, kFileName, O_RDWR | O_CREAT | O_NOFOLLOW, 0600);
  if (!fd) return fd.error().Add("event log");
  struct stat info {};
  if (::fstat(fd->get(), &info) != 0) return Error::FromErrno(errno, "event log");
  auto size = static_cast<uint64_t>(info.st_size);
  // A crash in the middle of a write leaves half a line: readers see whole ones only.
  uint64_t tail = std::min<uint64_t>(size, 2 * kLineLimitBytes);
  auto end = ReadAt(fd->get(), size - tail, tail);
  if (!end) return end.error();
  size_t last = end->rfind('\n');
  uint64_t whole = last == std::string::npos ? 0 : size - tail + last + 1;
  if (whole != size && ::ftruncate(fd->get(), static_cast<off_t>(whole)) != 0)
    return Error::FromErrno(errno, "cut half a line off the event log");
  {
    auto file = state->file.Lock();
    file->fd = std::move(*fd);
    file->size_bytes = whole;
  }
  return std::unique_ptr<EventLog>(new EventLog(std::move(state)));
}

// Only the newer half stays, from a line's start on, in a file of its own. Syncs
// under the lock, against the rule: it is rare, and no event may slip in between.
static Result<void> Halve(int dir_fd, File* file) {
  auto newer =
      ReadAt(file->fd.get(), file->size_bytes / 2, file->size_bytes - file->size_bytes / 2);
  if (!newer) return newer.error();
  size_t start = newer->find('\n');
  std::string kept = start == std::string::npos ? "" : newer->substr(start + 1);
  if (auto replaced = ReplaceFileAt(dir_fd, kFileName, AsBytes(kept), 0600); !replaced)
    return replaced.error();
  auto fd = OpenAt(dir_fd, kFileName, O_RDWR | O_NOFOLLOW);
  if (!fd) return fd.error();
  file->fd = std::move(*fd);
  file->size_bytes = kept.size();
  return {};
}

void EventLog::Add(std::string_view job, std::string_view text) {
  std::string line = fmt::format("{} {} {}\n", FormatTime(std::chrono::system_clock::now()),
                                 Escape(job, 64), Escape(text, kLineLimitBytes - 128));
  {
    auto file = state_->file.Lock();
    if (file->size_bytes + line.size() > state_->limit_bytes)
      (void)Halve(state_->dir.get(), &*file);  // then it grows on; tried again at the next event
    // An event that cannot be written is no reason to fail what it tells of.
    if (WriteAll(file->fd.get(), AsBytes(line), static_cast<off_t>(file->size_bytes)))
      file->size_bytes += line.size();
  }
  std::vector<std::shared_ptr<Guarded<std::function<void()>>>> wakes;
  {
    auto locked = state_->wakes.Lock();
    for (auto& [id, wake] : *locked) wakes.push_back(wake);
  }
  for (auto& wake : wakes)
    if (auto calling = wake->Lock(); *calling) (*calling)();
}

uint64_t EventLog::size_bytes() const { return state_->file.Lock()->size_bytes; }

Result<std::string> EventLog::Read(uint64_t offset, size_t limit_bytes) const {
  auto file = state_->file.Lock();
  if (offset >= file->size_bytes) return std::string();
  return ReadAt(file->fd.get(), offset, std::min<uint64_t>(limit_bytes, file->size_bytes - offset));
}

uint64_t EventLog::Subscribe(std::function<void()> wake) {
  auto guarded = std::make_shared<Guarded<std::function<void()>>>(std::move(wake));
  auto locked = state_->wakes.Lock();
  uint64_t id = state_->next_id++;
  locked->emplace(id, std::move(guarded));
  return id;
}

void EventLog::Unsubscribe(uint64_t id) {
  std::shared_ptr<Guarded<std::function<void()>>> wake;
  {
    auto locked = state_->wakes.Lock();
    auto it = locked->find(id);
    if (it == locked->end()) return;
    wake = it->second;
    locked->erase(it);
  }
  *wake->Lock() = nullptr;  // after a call that is under way
}

void ErrorLog::Add(std::string_view command, const Error& error) {
  std::string entry = fmt::format(
      "{} {}\n  wrong: {}\n  remedy: {}\n", FormatTime(std::chrono::system_clock::now()),
      Escape(command, kErrorCommandBytes), Escape(error.message(), kLineLimitBytes),
      error.remedy().empty() ? "none known" : Escape(error.remedy(), kLineLimitBytes));
  auto entries = entries_.Lock();
  entries->push_back(std::move(entry));
  while (entries->size() > limit_entries_) entries->pop_front();
}

std::string ErrorLog::Text() const {
  std::string text;
  auto entries = entries_.Lock();
  for (const std::string& entry : *entries) text += entry;
  return text;
}

}  // namespace ckptfs
