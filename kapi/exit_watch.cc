#include "kapi/exit_watch.h"

#include <poll.h>
#include <sys/ioctl.h>
#include <sys/wait.h>

#include <cerrno>

namespace ckptfs {
namespace {

// linux/pidfd.h of 6.15; older headers lack it.
struct PidfdInfo {
  uint64_t mask;
  uint64_t cgroup_id;
  uint32_t pid, tgid, ppid;
  uint32_t ruid, rgid, euid, egid, suid, sgid, fsuid, fsgid;
  int32_t exit_code;
};
constexpr uint64_t kInfoExit = 1 << 3;
constexpr unsigned long kGetInfo = _IOWR(0xFF, 11, PidfdInfo);

constexpr int kPPidfd = 3;  // P_PIDFD

}  // namespace

Result<ExitWatch> ExitWatch::Open(const ProcessId& id) {
  auto pidfd = OpenPidfd(id);
  if (!pidfd) return pidfd.error();
  return ExitWatch(id, std::move(*pidfd));
}

std::optional<ExitStatus> ExitWatch::Status(int limit_ms) {
  siginfo_t info = {};
  if (::waitid(static_cast<idtype_t>(kPPidfd), static_cast<id_t>(pidfd_.get()), &info,
               WEXITED | WNOHANG) == 0 &&
      info.si_pid != 0)
    return ExitStatus{info.si_code != CLD_EXITED, info.si_status};
  // POLLHUP: reaped. The exit code is kept from then on, for as long as we hold the pidfd.
  pollfd reaped{pidfd_.get(), 0, 0};
  while (::poll(&reaped, 1, limit_ms) < 0 && errno == EINTR) {
  }
  PidfdInfo kernel = {};
  kernel.mask = kInfoExit;
  if (::ioctl(pidfd_.get(), kGetInfo, &kernel) != 0 || (kernel.mask & kInfoExit) == 0)
    return std::nullopt;
  return ExitStatus::FromWait(kernel.exit_code);
}

}  // namespace ckptfs
