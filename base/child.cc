#include "base/child.h"

#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <poll.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <csignal>
#include <set>
#include <sstream>

#include "base/guarded.h"

#ifdef __SANITIZE_THREAD__  // gcc
#define CKPTFS_THREAD_SANITIZER
#elif defined(__has_feature)  // clang
#if __has_feature(thread_sanitizer)
#define CKPTFS_THREAD_SANITIZER
#endif
#endif
#ifdef CKPTFS_THREAD_SANITIZER
// ThreadSanitizer takes every clone for a fork and allows no thread to start after it. It does not
// know glibc's other name for the same function.
extern "C" int __clone(int (*function)(void*), void* stack, int flags, void* argument, ...);
#define clone __clone
#endif

namespace ckptfs {
namespace {

constexpr size_t kKernelSignalSetBytes = 8;

// All that the child needs, laid out before the clone: between clone and exec
// it shares our memory and must not allocate.
struct Plan {
  std::vector<char*> argv;
  std::vector<char*> environment;
  std::vector<int> fds;  // what becomes 0, 1, 2, 3 …
  const ChildOptions* options;
  const char* directory;
  sigset_t unblocked;
  int failed_errno = 0;
  const char* failed_at = nullptr;
};

int Give(Plan* plan, const char* what) {
  plan->failed_errno = errno;
  plan->failed_at = what;
  return 127;
}

// From here to RunChild: what runs in the child. Raw system calls where glibc's wrappers, or a
// sanitizer around them, keep state in memory, for that memory is ours.

// glibc's wrappers would change the credentials of all our threads.
bool TakeCredentials(const ChildCredentials& who, const char** what) {
  bool ambient = !who.ambient_capabilities.empty();
  *what = "setgroups";
  if (::syscall(SYS_setgroups, who.groups.size(), who.groups.data()) != 0) return false;
  *what = "setresgid";
  if (::syscall(SYS_setresgid, who.gid, who.gid, who.gid) != 0) return false;
  *what = "keep capabilities";
  if (ambient && ::prctl(PR_SET_KEEPCAPS, 1) != 0) return false;
  *what = "setresuid";
  if (::syscall(SYS_setresuid, who.uid, who.uid, who.uid) != 0) return false;
  if (!ambient && who.uid == 0) return true;
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct data[2] = {};
  for (int capability : who.ambient_capabilities) {
    uint32_t bit = 1u << (capability % 32);
    data[capability / 32].effective |= bit;
    data[capability / 32].permitted |= bit;
    data[capability / 32].inheritable |= bit;
  }
  *what = "capset";
  if (::syscall(SYS_capset, &header, data) != 0) return false;
  // Until the exec this process is the new user's and its memory is ours. The change of user set
  // that memory to the sysctl fs.suid_dumpable, which need not be 0, and it would stay so for us.
  *what = "forbid dumps";
  if (::prctl(PR_SET_DUMPABLE, 0) != 0) return false;
  *what = "ambient capabilities";
  for (int capability : who.ambient_capabilities)
    if (::prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, capability, 0, 0) != 0) return false;
  return true;
}

bool PlaceDescriptors(Plan* plan) {
  // First out of the way of the low numbers, then down to their places.
  int base = static_cast<int>(plan->fds.size()) + 3;
  for (int& fd : plan->fds) {
    fd = static_cast<int>(::syscall(SYS_fcntl, fd, F_DUPFD_CLOEXEC, base));
    if (fd < 0) return false;
  }
  for (size_t i = 0; i < plan->fds.size(); ++i)
    if (::syscall(SYS_dup3, plan->fds[i], i, 0) < 0) return false;
  return ::syscall(SYS_close_range, plan->fds.size(), ~0U, 0) == 0;
}

// Our handlers must not run in the child, and what we ignore is not its choice. All zeros is
// SIG_DFL; SIGKILL and SIGSTOP refuse, rightly.
void ResetSignals() {
  static constexpr char kDefaultAction[64] = {};
  for (int signal_number = 1; signal_number < NSIG; ++signal_number)
    ::syscall(SYS_rt_sigaction, signal_number, kDefaultAction, nullptr, kKernelSignalSetBytes);
}

int RunChild(void* argument) {
  auto* plan = static_cast<Plan*>(argument);
  const ChildOptions& options = *plan->options;
  ResetSignals();
  if (options.new_session) ::setsid();
  for (int ns : options.enter_namespaces)
    if (::setns(ns, 0) != 0) return Give(plan, "enter namespace");
  if (!PlaceDescriptors(plan)) return Give(plan, "place descriptors");
  if (options.credentials) {
    const char* what = nullptr;
    if (!TakeCredentials(*options.credentials, &what)) return Give(plan, what);
  }
  // After the credentials: the folder must be one that this user may enter.
  if (::chdir(plan->directory) != 0) return Give(plan, "enter folder");
  ::syscall(SYS_rt_sigprocmask, SIG_SETMASK, &plan->unblocked, nullptr, kKernelSignalSetBytes);
  ::execve(plan->argv[0], plan->argv.data(), plan->environment.data());
  return Give(plan, "run");
}

// Which children are some Child's: a process has one table of children, so this
// knowledge is the process's too. Held across the clone, so that no child is ever
// seen by ReapAdopted before it is in the list.
Guarded<std::set<pid_t>>& OwnChildren() {
  static Guarded<std::set<pid_t>> own;
  return own;
}

}  // namespace

std::string ExitStatus::Text() const {
  if (!signalled) return fmt::format("exit {}", code);
  const char* name = sigabbrev_np(code);
  return fmt::format("killed by signal {} (SIG{})", code, name != nullptr ? name : "?");
}

ExitStatus ExitStatus::FromWait(int wait_status) {
  if (WIFSIGNALED(wait_status)) return {true, WTERMSIG(wait_status)};
  return {false, WEXITSTATUS(wait_status)};
}

Result<Child> Child::Spawn(const ChildOptions& options) {
  if (options.argv.empty()) return Fail(Errc::kInternal, "spawn without a program");
  Fd null;
  Plan plan;
  plan.options = &options;
  plan.directory = options.working_directory.empty() ? "/" : options.working_directory.c_str();
  for (const std::string& word : options.argv) plan.argv.push_back(const_cast<char*>(word.c_str()));
  plan.argv.push_back(nullptr);
  if (options.environment) {
    for (const std::string& word : *options.environment)
      plan.environment.push_back(const_cast<char*>(word.c_str()));
  } else {
    for (char** word = environ; *word != nullptr; ++word) plan.environment.push_back(*word);
  }
  plan.environment.push_back(nullptr);
  for (int fd : {options.stdin_fd, options.stdout_fd, options.stderr_fd}) {
    if (fd < 0 && !null.valid()) {
      auto opened = Open("/dev/null", O_RDWR);
      if (!opened) return opened.error();
      null = std::move(*opened);
    }
    plan.fds.push_back(fd < 0 ? null.get() : fd);
  }
  plan.fds.insert(plan.fds.end(), options.pass_fds.begin(), options.pass_fds.end());

  constexpr size_t kStackBytes = 256 << 10;
  void* stack = ::mmap(nullptr, kStackBytes, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
  if (stack == MAP_FAILED) return Error::FromErrno(errno, "stack for {}", options.argv[0]);
  sigset_t all;
  ::sigfillset(&all);
  // Blocked across the clone, so that no handler of ours runs in the child.
  ::pthread_sigmask(SIG_SETMASK, &all, &plan.unblocked);
  sigset_t before = plan.unblocked;
  ::sigemptyset(&plan.unblocked);
  int pidfd = -1;
  auto own = std::make_optional(OwnChildren().Lock());
  int pid = ::clone(RunChild, static_cast<char*>(stack) + kStackBytes,
                    CLONE_VM | CLONE_VFORK | CLONE_PIDFD | SIGCHLD, &plan, &pidfd);
  int clone_errno = errno;
  if (pid > 0) (*own)->insert(pid);
  own.reset();
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  ::munmap(stack, kStackBytes);
  if (pid < 0) return Error::FromErrno(clone_errno, "start {}", options.argv[0]);
  Child child(pid, Fd(pidfd));
  if (plan.failed_at != nullptr) {
    (void)child.Wait();
    return Error::FromErrno(plan.failed_errno, "start {}: {}", options.argv[0], plan.failed_at);
  }
  return child;
}

Child::Child(Child&& other) noexcept
    : pid_(std::exchange(other.pid_, -1)), pidfd_(std::move(other.pidfd_)) {}

Child& Child::operator=(Child&& other) noexcept {
  if (this != &other) {
    if (running()) (void)Wait();
    pid_ = std::exchange(other.pid_, -1);
    pidfd_ = std::move(other.pidfd_);
  }
  return *this;
}

Child::~Child() {
  if (running()) (void)Wait();
}

Result<ExitStatus> Child::Wait() {
  if (!running()) return Fail(Errc::kInternal, "child was waited for twice");
  int status = 0;
  pid_t pid = pid_;
  // Waits without reaping first: once reaped, the pid may be another child's, and
  // it must not be in the list a moment longer.
  siginfo_t ended;
  while (::waitid(P_PID, static_cast<id_t>(pid), &ended, WEXITED | WNOWAIT) != 0 &&
         errno == EINTR) {
  }
  auto own = OwnChildren().Lock();
  own->erase(pid);
  for (;;) {
    pid_t got = ::waitpid(pid, &status, 0);
    if (got == pid) break;
    if (got < 0 && errno != EINTR) {
      int failed = errno;
      pid_ = -1;
      return Error::FromErrno(failed, "wait for pid {}", pid);
    }
  }
  pid_ = -1;
  return ExitStatus::FromWait(status);
}

Result<std::optional<ExitStatus>> Child::WaitFor(std::chrono::milliseconds limit) {
  if (!running()) return Fail(Errc::kInternal, "child was waited for twice");
  auto deadline = std::chrono::steady_clock::now() + limit;
  for (;;) {
    auto left =
        std::chrono::ceil<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now());
    pollfd ended{pidfd_.get(), POLLIN, 0};
    int n = ::poll(&ended, 1, static_cast<int>(std::clamp<int64_t>(left.count(), 0, INT_MAX)));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return Error::FromErrno(errno, "poll pidfd of {}", pid_);
    if (n == 0 && left.count() > INT_MAX) continue;
    if (n == 0) return std::optional<ExitStatus>();
    auto status = Wait();
    if (!status) return status.error();
    return std::optional<ExitStatus>(*status);
  }
}

Result<void> Child::Signal(int signal_number) const {
  if (::syscall(SYS_pidfd_send_signal, pidfd_.get(), signal_number, nullptr, 0) != 0)
    return Error::FromErrno(errno, "signal {} to pid {}", signal_number, pid_);
  return {};
}

void Child::Disown() {
  OwnChildren().Lock()->erase(pid_);
  pid_ = -1;
  pidfd_.Reset();
}

void ReapAdopted(const std::vector<pid_t>& spare) {
  auto own = OwnChildren().Lock();
  // Orphans come to any of our threads, as a rule to the first.
  auto tasks = Open("/proc/self/task", O_RDONLY | O_DIRECTORY);
  if (!tasks) return;
  auto names = ListDir(tasks->get());
  if (!names) return;
  for (const std::string& name : *names) {
    auto children = ReadFileAt(tasks->get(), name + "/children", 1 << 20);
    if (!children) continue;
    std::istringstream pids(*children);
    for (pid_t pid; pids >> pid;)
      if (!own->contains(pid) && std::find(spare.begin(), spare.end(), pid) == spare.end())
        ::waitpid(pid, nullptr, WNOHANG);
  }
}

}  // namespace ckptfs
