#include <fcntl.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "tests/bench/bench.h"

namespace ckptfs::bench {

Mount::Mount(const Options& options, const std::string& name)
    : mount_(options.dir + "/mnt-" + name), store_(options.dir + "/store-" + name) {
  ::mkdir(mount_.c_str(), 0755);
  ChildOptions spawn;
  spawn.argv = {options.ckptfs, "mount",  "--foreground", "--store",
                store_,         "--name", "bench",        mount_};
  spawn.stderr_fd = 2;
  daemon_ = Must(Child::Spawn(spawn));
  while (::access((mount_ + "/status").c_str(), F_OK) != 0) {
    if (auto ended = Must(daemon_->WaitFor(std::chrono::milliseconds(5))))
      Die(Fail(Errc::kIo, "{} mount: {}", options.ckptfs, ended->Text()));
  }
}

Mount::~Mount() {
  if (daemon_->running()) (void)daemon_->Signal(SIGTERM);
  (void)daemon_->Wait();
  ::umount2(mount_.c_str(), MNT_DETACH);
  ::rmdir(mount_.c_str());
  RemoveDir(store_);
}

static void WriteOnce(const std::string& path, const std::string& text) {
  Fd file = Must(Open(path, O_WRONLY));
  if (::write(file.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size()))
    Die(Error::FromErrno(errno, "write '{}' to {}", text, path));
}

void Mount::Attach(const std::string& job, pid_t pid) {
  ::mkdir((mount_ + "/jobs/" + job).c_str(), 0755);
  WriteOnce(mount_ + "/jobs/" + job + "/units/main/procs", std::to_string(pid));
}

void Mount::Policy(const std::string& job, const std::string& line) {
  WriteOnce(mount_ + "/jobs/" + job + "/policy", line + "\n");
}

double Mount::Command(const std::string& job, const std::string& command) {
  std::string ctl = mount_ + "/jobs/" + job + "/ctl";
  return Seconds([&] { WriteOnce(ctl, command + "\n"); });
}

uint64_t Mount::PeakBytes() const {
  std::string status = Must(ReadFile(fmt::format("/proc/{}/status", daemon_->pid()), 1 << 16));
  size_t at = status.find("VmHWM:");
  return at == std::string::npos ? 0 : std::stoull(status.substr(at + 6)) * 1024;
}

}  // namespace ckptfs::bench
