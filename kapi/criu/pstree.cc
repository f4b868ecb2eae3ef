#include "kapi/criu/pstree.h"

#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <set>

#include "base/process.h"
#include "kapi/criu/protobuf.h"

namespace ckptfs {
namespace {

constexpr uint32_t kCommonMagic = 0x54564319;
constexpr uint32_t kPstreeMagic = 0x50273030;
constexpr uint64_t kMaxPid = 4 << 20;  // PID_MAX_LIMIT
constexpr size_t kMaxPstreeBytes = 64 << 20;
constexpr auto kZombieLimit = std::chrono::seconds(3);

Error Corrupt() { return Fail(Errc::kCorrupt, "the image's list of processes makes no sense"); }

uint32_t TakeU32(Bytes* bytes) {
  uint32_t value = 0;
  for (size_t i = 4; i-- > 0;) value = value << 8 | (*bytes)[i];
  *bytes = bytes->subspan(4);
  return value;
}

bool ParseEntry(Bytes message, PstreeEntry* entry) {
  ProtobufReader reader(message);
  while (auto field = reader.Next()) {
    if (field->number == 5) {
      bool good = ForEachValue(*field, [&](uint64_t value) {
        // A zombie's is -1.
        if (value > 0 && value <= kMaxPid) entry->threads.push_back(static_cast<pid_t>(value));
      });
      if (!good) return false;
      continue;
    }
    if (field->is_bytes || field->number > 5) continue;
    // Zombies have no group and no session: -1 there.
    if (field->value > kMaxPid && field->number <= 2) return false;
    pid_t pid = field->value <= kMaxPid ? static_cast<pid_t>(field->value) : 0;
    if (field->number == 1) entry->pid = pid;
    if (field->number == 2) entry->parent = pid;
    if (field->number == 3) entry->group = pid;
    if (field->number == 4) entry->session = pid;
  }
  return !reader.bad() && entry->pid > 0;
}

}  // namespace

Result<std::vector<PstreeEntry>> ParsePstree(Bytes image) {
  if (image.size() < 8 || TakeU32(&image) != kCommonMagic || TakeU32(&image) != kPstreeMagic)
    return Corrupt();
  std::vector<PstreeEntry> tree;
  while (!image.empty()) {
    if (image.size() < 4) return Corrupt();
    uint32_t size = TakeU32(&image);
    PstreeEntry entry;
    if (size > image.size() || !ParseEntry(image.first(size), &entry)) return Corrupt();
    image = image.subspan(size);
    tree.push_back(std::move(entry));
  }
  if (tree.empty()) return Corrupt();
  return tree;
}

Result<std::string> ReadStream(ImageSource& source, std::string_view name, size_t limit_bytes) {
  auto stream = source.Open(name);
  if (!stream) return stream.error();
  if ((*stream)->size_bytes() > limit_bytes)
    return Fail(Errc::kTooBig, "{} is larger than {} bytes", name, limit_bytes);
  std::string content((*stream)->size_bytes(), '\0');
  for (size_t done = 0; done < content.size();) {
    auto n =
        (*stream)->Read({reinterpret_cast<uint8_t*>(content.data()) + done, content.size() - done});
    if (!n) return n.error();
    if (*n == 0) return Fail(Errc::kCorrupt, "{} ends too early", name);
    done += *n;
  }
  return content;
}

Result<std::vector<PstreeEntry>> ReadPstree(ImageSource& source) {
  auto image = ReadStream(source, "pstree.img", kMaxPstreeBytes);
  if (!image) return image.error();
  return ParsePstree(AsBytes(*image));
}

Result<void> CheckPidsAreFree(const std::vector<PstreeEntry>& tree) {
  auto deadline = std::chrono::steady_clock::now() + kZombieLimit;
  for (const PstreeEntry& entry : tree) {
    std::set<pid_t> pids(entry.threads.begin(), entry.threads.end());
    pids.insert(entry.pid);
    for (pid_t pid : pids) {
      for (;;) {
        auto holder = ReadProcess(pid);  // finds threads as well
        if (!holder) return holder.error();
        if (!*holder) break;
        if ((*holder)->state == 'Z' && (*holder)->parent == ::getpid() &&
            ::waitpid(pid, nullptr, WNOHANG) == pid)
          break;  // left to us by an earlier restart
        if ((*holder)->state == 'Z' && std::chrono::steady_clock::now() < deadline) {
          ::poll(nullptr, 0, 10);
          continue;
        }
        return Fail(Errc::kExists, "pid {} is in use on this node by '{}'", pid, (*holder)->name)
            .WithRemedy(
                "end that process first, or write 'restart clone' to restart the job with "
                "pids of its own");
      }
    }
  }
  return {};
}

pid_t PidClearOf(const std::vector<PstreeEntry>& tree) {
  std::set<pid_t> taken;
  for (const PstreeEntry& entry : tree) {
    taken.insert({entry.pid, entry.group, entry.session});
    taken.insert(entry.threads.begin(), entry.threads.end());
  }
  constexpr pid_t kRoom = 64;
  pid_t candidate = 300;  // what the kernel keeps back when it wraps around
  for (pid_t pid : taken) {
    if (pid - candidate > kRoom) break;
    if (pid > candidate) candidate = pid;
  }
  return candidate;
}

}  // namespace ckptfs
