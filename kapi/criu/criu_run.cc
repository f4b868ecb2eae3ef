#include "kapi/criu/criu_run.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <csignal>

#include "base/process.h"

namespace ckptfs {
namespace {

constexpr size_t kLogTailBytes = 256 << 10;
constexpr auto kWakeEvery = std::chrono::seconds(1);

}  // namespace

Result<CriuRun> CriuRun::Start(const CriuProgram& criu, For what, CriuStart start) {
  CriuRun run;
  auto dir = Open(start.work_dir, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
  if (!dir) return dir.error().Add("work folder");
  run.work_dir_ = std::move(*dir);
  start.work_dir_fd = run.work_dir_.get();
  uid_t uid = start.owner.effective_uid;
  gid_t gid = start.owner.effective_gid;
  auto stream =
      ListenIn(start.work_dir_fd, what == For::kDump ? kCaptureSocket : kServeSocket, uid, gid);
  if (!stream) return stream.error();
  run.stream_listener_ = std::move(*stream);
  auto hook = ListenIn(start.work_dir_fd, kHookSocket, uid, gid);
  if (!hook) return hook.error();
  run.hook_listener_ = std::move(*hook);
  if (::unlinkat(start.work_dir_fd, kCriuLog, 0) != 0 && errno != ENOENT)
    return Error::FromErrno(errno, "remove old {}", kCriuLog);
  auto child = StartCriu(criu, start);
  if (!child) return child.error();
  run.child_ = std::move(*child);
  run.connected_at_ = std::chrono::steady_clock::now();
  return run;
}

CriuRun::~CriuRun() {
  if (!child_ || !child_->running()) return;
  HangUp();
  (void)Finish(std::chrono::seconds(60));
}

Result<void> CriuRun::AcceptStream() {
  auto peer = AcceptFrom(stream_listener_.get(), child_->pid());
  if (!peer) return peer.error();
  if (!*peer) return {};
  requests_.emplace(std::move(**peer));
  stream_listener_.Reset();
  connected_at_ = std::chrono::steady_clock::now();
  return {};
}

Result<void> CriuRun::AcceptHook() {
  auto peer = AcceptFrom(hook_listener_.get(), child_->pid());
  if (!peer) return peer.error();
  if (!*peer) return {};
  hook_ = std::move(**peer);
  hook_listener_.Reset();
  return ReadHook();
}

Result<void> CriuRun::ReadHook() {
  char chunk[64];
  ssize_t n = ::recv(hook_.get(), chunk, sizeof chunk, MSG_DONTWAIT);
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) return {};
  if (n > 0) hook_text_.append(chunk, static_cast<size_t>(n));
  if (n <= 0 || hook_text_.size() > sizeof chunk)
    return Fail(Errc::kIo, "criu's action script hung up");
  size_t end = hook_text_.find('\n');
  if (end == std::string::npos) return {};
  size_t space = hook_text_.find(' ');
  if (space < end)
    std::from_chars(hook_text_.data() + space + 1, hook_text_.data() + end, hook_root_);
  held_ = true;
  return {};
}

void CriuRun::AnswerHook(bool go_on) {
  if (!held_) return;
  held_ = false;
  [[maybe_unused]] ssize_t n = ::send(hook_.get(), go_on ? "g" : "x", 1, MSG_NOSIGNAL);
  hook_.Reset();
}

void CriuRun::HangUp() {
  AnswerHook(false);
  hook_.Reset();
  hook_listener_.Reset();
  stream_listener_.Reset();
  requests_.reset();
}

void CriuRun::Wake() {
  (void)child_->Signal(SIGCONT);
  auto below = ReadTree(child_->pid());
  if (!below) return;
  for (const ProcessInfo& process : *below)
    if (process.parent == child_->pid() && process.name == "ckptfs-init")
      ::kill(process.id.pid, SIGCONT);
}

Result<ExitStatus> CriuRun::Finish(std::chrono::seconds limit) {
  for (auto waited = std::chrono::seconds(0); waited < limit; waited += kWakeEvery) {
    auto status = child_->WaitFor(kWakeEvery);
    if (!status) return status.error();
    if (*status) return **status;
    Wake();
  }
  pid_t pid = child_->pid();
  child_->Disown();
  return Fail(Errc::kTimedOut, "criu (pid {}) has not ended in {} s and is left alone", pid,
              limit.count())
      .WithRemedy("look at what it waits for in /proc/PID/stack; killing it can harm the job");
}

std::string CriuRun::LogTail() const {
  // The folder is the owner's: what has this name may be anything.
  auto log = OpenAt(work_dir_.get(), kCriuLog, O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
  struct stat status;
  if (!log || ::fstat(log->get(), &status) != 0 || !S_ISREG(status.st_mode)) return "";
  size_t size = std::min(static_cast<size_t>(status.st_size), kLogTailBytes);
  std::string tail(size, '\0');
  ssize_t n = ::pread(log->get(), tail.data(), size, status.st_size - static_cast<off_t>(size));
  tail.resize(n > 0 ? static_cast<size_t>(n) : 0);
  return tail;
}

}  // namespace ckptfs
