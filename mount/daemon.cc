#include "mount/daemon.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstring>
#include <filesystem>

#include "crypto/secret_bytes.h"
#include "mount/exit_codes.h"

namespace ckptfs {
namespace {

constexpr char kUpWord = '+';

bool IsMemory(const char* path) {
  struct statfs fs {};
  return ::statfs(path, &fs) == 0 && fs.f_type == TMPFS_MAGIC;
}

void Raise(int resource, rlim_t wanted) {
  rlimit limit{};
  if (::getrlimit(resource, &limit) != 0) return;
  rlimit most{wanted, std::max(wanted, limit.rlim_max)};
  if (wanted != RLIM_INFINITY && limit.rlim_cur != RLIM_INFINITY && limit.rlim_cur >= wanted)
    return;
  if (::setrlimit(resource, &most) == 0) return;
  limit.rlim_cur = limit.rlim_max;
  ::setrlimit(resource, &limit);
}

}  // namespace

Result<Detaching> Detaching::Begin(bool foreground) {
  if (foreground) return Detaching(Fd());
  auto pipe = MakePipe();
  if (!pipe) return pipe.error();
  pid_t child = ::fork();
  if (child < 0) return Error::FromErrno(errno, "fork");
  if (child == 0) {
    pipe->first.Reset();
    return Detaching(std::move(pipe->second));
  }
  pipe->second.Reset();
  char word = 0;
  ssize_t n = 0;
  do n = ::read(pipe->first.get(), &word, 1);
  while (n < 0 && errno == EINTR);
  if (n == 1 && word == kUpWord) ::_exit(kExitOk);
  int status = 0;
  ::waitpid(child, &status, 0);
  ::_exit(WIFEXITED(status) ? WEXITSTATUS(status) : kExitFailed);
}

Result<void> Detaching::Up() {
  if (!word_.valid()) return {};
  auto null = Open("/dev/null", O_RDWR);
  if (!null) return null.error();
  ::setsid();
  for (int fd : {0, 1, 2})
    if (::dup2(null->get(), fd) < 0) return Error::FromErrno(errno, "leave the terminal");
  auto said = WriteAll(word_.get(), AsBytes(std::string_view(&kUpWord, 1)));
  word_.Reset();
  return said;
}

Result<void> SettleProcess(const Log& log) {
  if (auto forbidden = ForbidCoreDumps(); !forbidden) return forbidden.error();
  if (auto ready = InitCrypto(); !ready) return ready.error();
  // Processes of jobs that criu starts, and whose parent has ended, are ours to reap.
  if (::prctl(PR_SET_CHILD_SUBREAPER, 1) != 0) return Error::FromErrno(errno, "become subreaper");
  Raise(RLIMIT_MEMLOCK, RLIM_INFINITY);
  Raise(RLIMIT_NOFILE, 1 << 20);
  if (::chdir("/") != 0) return Error::FromErrno(errno, "chdir /");
  ::umask(077);
  if (::geteuid() == 0) {
    auto score = Open("/proc/self/oom_score_adj", O_WRONLY);
    if (!score || !WriteAll(score->get(), AsBytes("-500")))
      log.Debug("the OOM killer may choose this daemon: oom_score_adj cannot be lowered");
  }
  return {};
}

Result<Fd> OpenLog(const std::string& log_file, bool foreground) {
  if (!log_file.empty()) return Open(log_file, O_WRONLY | O_CREAT | O_APPEND, 0600);
  if (foreground) return Fd(::fcntl(2, F_DUPFD_CLOEXEC, 3));
  Fd socket(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::strcpy(address.sun_path, "/dev/log");
  if (socket.valid() &&
      ::connect(socket.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) == 0)
    return socket;
  return Open("/dev/null", O_WRONLY);
}

Result<WorkDir> WorkDir::Make(const std::string& store_dir) {
  struct stat st {};
  if (::stat(store_dir.c_str(), &st) != 0) return Error::FromErrno(errno, "{}", store_dir);
  std::string parent;
  if (::geteuid() == 0 && IsMemory("/run"))
    parent = "/run";
  else if (IsMemory("/dev/shm"))
    parent = "/dev/shm";
  else
    return Fail(Errc::kUnsupported, "neither /run nor /dev/shm is in memory")
        .WithRemedy("mount a tmpfs at /dev/shm: job memory must not reach a disk in plain");
  // Users of one machine each have theirs; the numbers name the store's folder.
  std::string name = fmt::format("ckptfs.{}.{}-{}", ::geteuid(), st.st_dev, st.st_ino);
  auto dir = Open(parent, O_RDONLY | O_DIRECTORY);
  if (!dir) return dir.error();
  // What a killed daemon left.
  if (auto emptied = RemoveTree(dir->get(), name); !emptied) return emptied.error();
  // Of others that may be here, nothing: mkdir fails if the name is taken.
  if (::mkdirat(dir->get(), name.c_str(), 0700) != 0)
    return Error::FromErrno(errno, "mkdir {}/{}", parent, name);
  // criu runs as a job's owner, in a folder of that owner's below: to be entered, not listed.
  if (::geteuid() == 0 && ::fchmodat(dir->get(), name.c_str(), 0711, 0) != 0)
    return Error::FromErrno(errno, "chmod {}/{}", parent, name);
  return WorkDir(parent + "/" + name);
}

WorkDir::~WorkDir() {
  if (path_.empty()) return;
  std::filesystem::path path(path_);
  auto dir = Open(path.parent_path().string(), O_RDONLY | O_DIRECTORY);
  if (dir) (void)RemoveTree(dir->get(), path.filename().string());
}

Result<std::unique_ptr<EndWatch>> EndWatch::Make() {
  sigset_t ends;
  ::sigemptyset(&ends);
  for (int signal_number : {SIGTERM, SIGINT, SIGHUP}) ::sigaddset(&ends, signal_number);
  ::pthread_sigmask(SIG_BLOCK, &ends, nullptr);
  ::signal(SIGPIPE, SIG_IGN);
  Fd signals(::signalfd(-1, &ends, SFD_CLOEXEC | SFD_NONBLOCK));
  Fd end(::eventfd(0, EFD_CLOEXEC));
  if (!signals.valid() || !end.valid()) return Error::FromErrno(errno, "wait for signals");
  auto mounts = Open("/proc/self/mountinfo", O_RDONLY);
  if (!mounts) return mounts.error();
  return std::unique_ptr<EndWatch>(
      new EndWatch(std::move(signals), std::move(*mounts), std::move(end)));
}

void EndWatch::Watch(std::function<bool()> gone, std::function<void()> stop) {
  thread_ = std::thread([this, gone = std::move(gone), stop = std::move(stop)] {
    for (;;) {
      // The kernel says POLLPRI when the table of mounts has changed.
      pollfd fds[] = {
          {signals_.get(), POLLIN, 0}, {end_.get(), POLLIN, 0}, {mounts_.get(), POLLPRI, 0}};
      if (::poll(fds, 3, -1) < 0 && errno != EINTR) return;
      if (fds[1].revents != 0) return;
      if (fds[0].revents != 0 || (fds[2].revents != 0 && gone())) break;
    }
    stop();
  });
}

EndWatch::~EndWatch() {
  uint64_t one = 1;
  (void)WriteAll(end_.get(), {reinterpret_cast<uint8_t*>(&one), sizeof one});
  if (thread_.joinable()) thread_.join();
}

}  // namespace ckptfs
