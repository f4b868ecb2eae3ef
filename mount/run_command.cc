// `ckptfs run`: starts a program as a job, by what any shell could do with the
// mount: mkdir, start ckptfs-init, echo its pid into procs.
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <sstream>

#include "agent/store/store.h"
#include "base/child.h"
#include "base/process.h"
#include "mount/commands.h"
#include "mount/exit_codes.h"
#include "mount/mount_table.h"

namespace ckptfs {
namespace {

constexpr size_t kMostBytes = 1 << 20;

int Say(const Error& error) {
  fmt::print(stderr, "ckptfs: {}\n", error.Text());
  return kExitFailed;
}

Result<std::string> FindMount(const std::string& wanted) {
  const char* environment = std::getenv("CKPTFS_MOUNT");
  std::string named = !wanted.empty() ? wanted : environment != nullptr ? environment : "";
  std::vector<std::string> candidates;
  if (!named.empty()) {
    candidates.push_back(named);
  } else {
    auto mounts = FindMounts();
    if (!mounts) return mounts.error();
    for (const MountedTree& one : *mounts) candidates.push_back(one.mountpoint);
  }
  for (const std::string& one : candidates)
    if (::access((one + "/jobs").c_str(), X_OK) == 0) return one;
  if (!named.empty())
    return Fail(Errc::kNotFound, "no ckptfs is mounted at {}", named)
        .WithRemedy("ckptfs mount " + named);
  return Fail(Errc::kNotFound, "no ckptfs is mounted here that you may use")
      .WithRemedy("'ckptfs mount FOLDER' mounts one, --mount names it");
}

// Where a shell would find it.
Result<std::string> FindProgram(const std::string& name) {
  if (name.find('/') != std::string::npos) {
    if (::access(name.c_str(), X_OK) == 0) return name;
    return Error::FromErrno(errno, "run {}", name);
  }
  const char* path = std::getenv("PATH");
  std::istringstream folders(path != nullptr ? path : "/usr/local/bin:/usr/bin:/bin");
  for (std::string folder; std::getline(folders, folder, ':');) {
    std::string whole = (folder.empty() ? "." : folder) + "/" + name;
    if (::access(whole.c_str(), X_OK) == 0 && !std::filesystem::is_directory(whole)) return whole;
  }
  return Fail(Errc::kNotFound, "there is no program {} on PATH", name);
}

// Beside us where we were built, under libexec where we are installed.
Result<std::string> FindInit() {
  std::error_code failed;
  auto self = std::filesystem::read_symlink("/proc/self/exe", failed);
  for (const auto& path : {self.parent_path() / "ckptfs-init",
                           self.parent_path().parent_path() / "libexec/ckptfs/ckptfs-init"})
    if (::access(path.c_str(), X_OK) == 0) return path.string();
  return Fail(Errc::kNotFound, "ckptfs-init is not where this program is ({})",
              self.parent_path().string())
      .WithRemedy("install ckptfs anew");
}

// The last lines of an error log: what the write's errno cannot say.
std::string LastWords(const std::string& log) {
  auto text = ReadFile(log, kMostBytes);
  if (!text) return {};
  std::vector<std::string> lines;
  std::istringstream in(*text);
  for (std::string line; std::getline(in, line);) lines.push_back(line);
  std::string words;
  for (size_t i = lines.size() > 3 ? lines.size() - 3 : 0; i < lines.size(); ++i)
    words += "\n  " + lines[i];
  return words;
}

// What a job can take with it to another machine: files and /dev/null, no
// terminals and no pipes to whoever started it.
bool CanKeep(int fd) {
  struct stat st {};
  if (::fstat(fd, &st) != 0) return false;
  return S_ISREG(st.st_mode) || (S_ISCHR(st.st_mode) && st.st_rdev == makedev(1, 3));
}

// A new job under the mount, removed again unless it is kept.
class NewJob {
 public:
  static Result<NewJob> Make(const std::string& mount, const std::string& name) {
    std::string path = mount + "/jobs/" + name;
    if (::mkdir(path.c_str(), 0700) != 0) {
      int failed = errno;
      if (failed == EEXIST)
        return Fail(Errc::kExists, "there is a job {} already", name)
            .WithRemedy(fmt::format("give another name, or forget it: rmdir {}", path));
      Error error = Error::FromErrno(failed, "mkdir {}", path);
      return Error(error.code(), error.message() + LastWords(mount + "/error_log"));
    }
    return NewJob(path);
  }
  NewJob(NewJob&& other) noexcept : path_(std::exchange(other.path_, {})) {}
  NewJob& operator=(NewJob&&) = delete;
  ~NewJob() {
    if (!path_.empty()) ::rmdir(path_.c_str());
  }
  const std::string& path() const { return path_; }
  std::string Keep() { return std::exchange(path_, {}); }

 private:
  explicit NewJob(std::string path) : path_(std::move(path)) {}
  std::string path_;
};

Result<void> WriteProcs(const std::string& job_path, pid_t pid) {
  auto procs = Open(job_path + "/units/main/procs", O_WRONLY);
  if (!procs) return procs.error();
  std::string text = fmt::format("{}\n", pid);
  if (::write(procs->get(), text.data(), text.size()) == static_cast<ssize_t>(text.size()))
    return {};
  Error error = Error::FromErrno(errno, "the job was not taken");
  return Error(error.code(), error.message() + LastWords(job_path + "/error_log"));
}

void KillTree(pid_t root) {
  auto tree = ReadTree(root);
  if (!tree) return;
  for (const ProcessInfo& one : *tree) ::kill(one.id.pid, SIGKILL);
}

// Blocks until the job ends; its exit status as a shell would have it.
int WaitForJob(const std::string& job_path) {
  auto file = Open(job_path + "/wait", O_RDONLY);
  if (!file) return Say(file.error());
  char line[256];
  ssize_t n = 0;
  do n = ::read(file->get(), line, sizeof line - 1);
  while (n < 0 && errno == EINTR);
  if (n < 0) return Say(Error::FromErrno(errno, "wait for the job"));
  std::string text(line, static_cast<size_t>(n));
  int code = 0;
  if (std::sscanf(text.c_str(), "exit %d", &code) == 1) return code;
  fmt::print(stderr, "ckptfs: the job ended: {}", text);
  if (std::sscanf(text.c_str(), "killed by signal %d", &code) == 1) return 128 + code;
  return kExitFailed;
}

struct Output {
  Fd file;
  std::string name;  // "" when both are kept
  int stdout_fd = -1;
  int stderr_fd = -1;
};

Result<Output> OpenOutput(const std::string& job) {
  Output out;
  if (CanKeep(1)) out.stdout_fd = 1;
  if (CanKeep(2)) out.stderr_fd = 2;
  if (out.stdout_fd >= 0 && out.stderr_fd >= 0) return out;
  out.name = job + ".out";
  auto file = Open(out.name, O_WRONLY | O_CREAT | O_APPEND, 0666);
  if (!file) return file.error();
  out.file = std::move(*file);
  if (out.stdout_fd < 0) out.stdout_fd = out.file.get();
  if (out.stderr_fd < 0) out.stderr_fd = out.file.get();
  return out;
}

}  // namespace

int RunCommand(RunRequest request) {
  const std::string& name = request.name;
  // It becomes part of paths: jobs/a/units/b is no job.
  if (auto good = CheckName(name, "job"); !good) {
    Say(good.error());
    return kExitUsage;
  }
  auto mount = FindMount(request.mount);
  if (!mount) return Say(mount.error());
  auto program = FindProgram(request.program[0]);
  if (!program) {
    Say(program.error());
    return program.error().code() == Errc::kNotFound ? 127 : 126;
  }
  auto init = FindInit();
  if (!init) return Say(init.error());
  auto job = NewJob::Make(*mount, name);
  if (!job) return Say(job.error());
  auto output = OpenOutput(name);
  if (!output) return Say(output.error());

  ChildOptions options;
  options.argv = {*init, "run", "--cgroup", "ckptfs-" + name, "--"};
  options.argv.insert(options.argv.end(), request.program.begin(), request.program.end());
  options.stdout_fd = output->stdout_fd;
  options.stderr_fd = output->stderr_fd;
  options.working_directory = std::filesystem::current_path().string();
  // Whoever is saved, stopped and restarted with the same pid must not be a zombie
  // of ours meanwhile.
  ::signal(SIGCHLD, SIG_IGN);
  auto child = Child::Spawn(options);
  if (!child) return Say(child.error());
  pid_t pid = child->pid();
  child->Disown();
  if (auto taken = WriteProcs(job->path(), pid); !taken) {
    KillTree(pid);
    return Say(taken.error());
  }
  std::string path = job->Keep();
  fmt::print("job {}: pid {}{}{}\n", name, pid, output->name.empty() ? "" : ", output in ",
             output->name);
  std::fflush(stdout);
  return request.wait ? WaitForJob(path) : kExitOk;
}

}  // namespace ckptfs
