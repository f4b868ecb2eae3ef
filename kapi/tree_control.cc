#include "kapi/tree_control.h"

#include <poll.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>

namespace ckptfs {
namespace {

using Clock = std::chrono::steady_clock;

constexpr auto kStopLimit = std::chrono::seconds(10);
constexpr auto kKillLimit = std::chrono::seconds(60);

bool IsStopped(const ProcessInfo& process) { return process.state == 'T' || process.state == 't'; }
bool HasEnded(const ProcessInfo& process) { return process.state == 'Z' || process.state == 'X'; }

bool SendSignal(const ProcessId& id, int signal_number) {
  auto pidfd = OpenPidfd(id);
  return pidfd && ::syscall(SYS_pidfd_send_signal, pidfd->get(), signal_number, nullptr, 0) == 0;
}

// The tree as it is now; empty if the root is gone or another process has its pid.
Result<std::vector<ProcessInfo>> TreeNow(const ProcessId& root) {
  auto tree = ReadTree(root.pid);
  if (!tree && tree.error().code() == Errc::kGone) return std::vector<ProcessInfo>();
  if (!tree) return tree.error();
  if (tree->front().id != root) return std::vector<ProcessInfo>();
  return tree;
}

void Pause() { ::poll(nullptr, 0, 1); }

// Whether it has ended, or is a zombie, by then.
Result<bool> AwaitEnd(const ProcessId& id, Clock::time_point deadline) {
  auto pidfd = OpenPidfd(id);
  if (!pidfd && pidfd.error().code() == Errc::kGone) return true;
  if (!pidfd) return pidfd.error();
  for (;;) {
    auto left = std::chrono::duration_cast<std::chrono::milliseconds>(deadline - Clock::now());
    pollfd ended{pidfd->get(), POLLIN, 0};
    int n = ::poll(&ended, 1, static_cast<int>(std::max<int64_t>(left.count(), 0)));
    if (n >= 0) return n > 0;
    if (errno != EINTR) return Error::FromErrno(errno, "wait for the end of pid {}", id.pid);
  }
}

}  // namespace

Result<std::vector<ProcessId>> StopTree(const ProcessId& root) {
  std::vector<ProcessId> stopped_before, signalled;
  auto deadline = Clock::now() + kStopLimit;
  for (;;) {
    auto tree = TreeNow(root);
    if (!tree) return tree.error();
    if (tree->empty()) return Fail(Errc::kGone, "pid {} is gone", root.pid);
    bool running = false, is_new = false;
    for (const ProcessInfo& process : *tree) {
      if (HasEnded(process)) continue;
      bool seen = std::find(signalled.begin(), signalled.end(), process.id) != signalled.end();
      if (!seen && process.state == 'T') {
        stopped_before.push_back(process.id);
      } else if (!IsStopped(process)) {
        running = true;
        // Again each time: a SIGCONT from elsewhere may have come between.
        SendSignal(process.id, SIGSTOP);
      }
      if (!seen) {
        signalled.push_back(process.id);
        is_new = true;
      }
    }
    // A pass that saw nothing new and nothing running: nobody was left to fork.
    if (!running && !is_new) return stopped_before;
    if (Clock::now() > deadline) {
      (void)ContinueTree(root, stopped_before);
      return Fail(Errc::kTimedOut, "the processes of pid {} could not be stopped", root.pid);
    }
    if (running && !is_new) Pause();  // stopping takes the kernel a moment
  }
}

Result<bool> IsTreeStopped(const ProcessId& root) {
  auto tree = TreeNow(root);
  if (!tree) return tree.error();
  return std::all_of(tree->begin(), tree->end(), [](const ProcessInfo& process) {
    return HasEnded(process) || IsStopped(process);
  });
}

Result<void> ContinueTree(const ProcessId& root, const std::vector<ProcessId>& leave) {
  auto tree = TreeNow(root);
  if (!tree) return tree.error();
  if (tree->empty()) return Fail(Errc::kGone, "pid {} is gone", root.pid);
  // Children first: a parent that sees them stopped could act on it.
  for (auto process = tree->rbegin(); process != tree->rend(); ++process)
    if (std::find(leave.begin(), leave.end(), process->id) == leave.end())
      SendSignal(process->id, SIGCONT);
  return {};
}

Result<bool> WaitUntilEnded(const std::vector<ProcessInfo>& processes, int limit_ms) {
  auto deadline = Clock::now() + std::chrono::milliseconds(limit_ms);
  for (const ProcessInfo& process : processes) {
    auto ended = AwaitEnd(process.id, deadline);
    if (!ended || !*ended) return ended;
  }
  return true;
}

Result<std::optional<ProcessId>> FindLiving(const std::vector<ProcessId>& processes,
                                            std::chrono::milliseconds patience) {
  auto deadline = Clock::now() + patience;
  for (const ProcessId& id : processes) {
    if (!IsAlive(id)) continue;
    if (!IsDying(id)) return id;
    auto ended = AwaitEnd(id, deadline);
    if (!ended) return ended.error();
    if (!*ended) return id;
  }
  return std::nullopt;
}

Result<void> KillTree(const ProcessId& root) {
  auto deadline = Clock::now() + kKillLimit;
  // Known by identity: once the root is dead its children hang elsewhere.
  std::vector<ProcessInfo> known;
  for (;;) {
    // Stopped first, so that nothing forks out of our sight; this is best effort.
    auto tree = TreeNow(root);
    if (!tree) return tree.error();
    for (ProcessInfo& process : *tree) {
      bool seen = std::any_of(known.begin(), known.end(),
                              [&](const ProcessInfo& k) { return k.id == process.id; });
      if (!seen && !HasEnded(process)) SendSignal(process.id, SIGSTOP);
      if (!seen) known.push_back(std::move(process));
    }
    auto again = TreeNow(root);
    if (!again) return again.error();
    if (again->size() <= tree->size() || Clock::now() > deadline) break;
  }
  for (auto process = known.rbegin(); process != known.rend(); ++process)
    SendSignal(process->id, SIGKILL);
  auto left = std::chrono::duration_cast<std::chrono::milliseconds>(deadline - Clock::now());
  auto ended = WaitUntilEnded(known, static_cast<int>(std::max<int64_t>(left.count(), 0)));
  if (!ended) return ended.error();
  if (!*ended) return Fail(Errc::kTimedOut, "processes of pid {} do not die", root.pid);
  for (const ProcessInfo& process : known) {
    // Ours are those that a restore left to us as the nearest subreaper.
    auto now = ReadProcess(process.id.pid);
    if (now && *now && (*now)->id == process.id && (*now)->parent == ::getpid())
      ::waitpid(process.id.pid, nullptr, WNOHANG);
  }
  return {};
}

}  // namespace ckptfs
