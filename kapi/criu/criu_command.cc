#include "kapi/criu/criu_command.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <unistd.h>

#include <array>
#include <cstdlib>

namespace ckptfs {
namespace {

constexpr int kCapSetpcap = CAP_SETPCAP;
constexpr int kCapCheckpointRestore = 40;
constexpr char kInstalledCriu[] = "/opt/ckptfs/bin/criu";

std::vector<std::string> CleanEnvironment() {
  // Nothing of the daemon's, nothing of the owner's: criu holds capabilities.
  return {"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C", "HOME=/",
          fmt::format("CKPTFS_HOOK={}", kHookSocket)};
}

struct Output {
  ExitStatus status;
  std::string text;
};

// Runs a short command and gives what it printed, the first 64 KiB.
Result<Output> Run(std::vector<std::string> argv) {
  auto pipe = MakePipe();
  if (!pipe) return pipe.error();
  ChildOptions options;
  options.argv = std::move(argv);
  options.environment = CleanEnvironment();
  options.stdout_fd = options.stderr_fd = pipe->second.get();
  auto child = Child::Spawn(options);
  if (!child) return child.error();
  pipe->second.Reset();
  Output output;
  std::array<char, 4096> chunk;
  for (;;) {
    ssize_t n = ::read(pipe->first.get(), chunk.data(), chunk.size());
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) break;
    if (output.text.size() < 64 << 10) output.text.append(chunk.data(), static_cast<size_t>(n));
  }
  auto status = child->Wait();
  if (!status) return status.error();
  output.status = *status;
  return output;
}

std::string FirstErrorLine(const std::string& text) {
  size_t at = text.find("Error");
  if (at == text.npos) at = 0;
  size_t end = text.find('\n', at);
  return text.substr(at, end == text.npos ? end : end - at);
}

Result<CriuProgram> Try(const std::string& path) {
  auto version = Run({path, "--version"});
  if (!version) return version.error();
  CriuProgram criu;
  criu.path = path;
  size_t at = version->text.find("Version: ");
  if (!version->status.Success() || at == std::string::npos)
    return Fail(Errc::kUnsupported, "{} --version: {}", path, version->status.Text());
  at += 9;
  criu.version = version->text.substr(at, version->text.find('\n', at) - at);
  auto check = Run({path, "check", "--no-default-config"});
  if (!check) return check.error();
  if (!check->status.Success())
    return Fail(Errc::kUnsupported, "criu {} does not work on this kernel: {}", criu.version,
                FirstErrorLine(check->text));
  auto lock = Run({path, "check", "--no-default-config", "--feature", "network_lock_nftables"});
  criu.locks_tcp = lock.ok() && lock->status.Success();
  return criu;
}

std::string Joined(const std::vector<gid_t>& groups) {
  return fmt::format("{}", fmt::join(groups, ","));
}

void AppendIdentity(const Credentials& owner, std::vector<std::string>* argv) {
  if (owner.effective_uid == 0) return;
  argv->insert(argv->end(),
               {"--uid", std::to_string(owner.effective_uid), "--gid",
                std::to_string(owner.effective_gid), "--groups", Joined(owner.groups), "--caps"});
}

}  // namespace

Result<CriuProgram> FindCriu() {
  if (const char* chosen = std::getenv("CKPTFS_CRIU"); chosen != nullptr && *chosen != '\0')
    return Try(chosen);
  std::optional<Error> first;
  for (const char* path : {"/usr/sbin/criu", "/usr/local/sbin/criu", kInstalledCriu}) {
    if (::access(path, X_OK) != 0) continue;
    auto criu = Try(path);
    if (criu) return criu;
    if (!first) first = criu.error();
  }
  if (!first) first = Fail(Errc::kUnsupported, "criu is not installed");
  return first->WithRemedy(fmt::format(
      "run scripts/setup, which puts a criu that works at {}, or name one in CKPTFS_CRIU",
      kInstalledCriu));
}

Result<std::string> FindInit() {
  if (const char* chosen = std::getenv("CKPTFS_INIT"); chosen != nullptr && *chosen != '\0')
    return std::string(chosen);
  char self[4096];
  ssize_t n = ::readlink("/proc/self/exe", self, sizeof self);
  std::string folder(self, n > 0 ? static_cast<size_t>(n) : 0);
  folder.resize(folder.rfind('/') == folder.npos ? 0 : folder.rfind('/'));
  for (const char* place : {"/ckptfs-init", "/../ckptfs-init", "/../libexec/ckptfs/ckptfs-init"})
    if (std::string path = folder + place; ::access(path.c_str(), X_OK) == 0) return path;
  return Fail(Errc::kUnsupported, "ckptfs-init was not found near {}", folder)
      .WithRemedy("install ckptfs as a whole, or name the program in CKPTFS_INIT");
}

Result<Child> StartCriu(const CriuProgram& criu, const CriuStart& start) {
  const Credentials& owner = start.owner;
  bool unprivileged = owner.effective_uid != 0;
  std::vector<std::string> argv{criu.path};
  argv.insert(argv.end(), start.argv.begin(), start.argv.end());
  // A configuration file of the owner's could name scripts to run with criu's
  // capabilities, so none is read. Paths are relative: the folder is where criu runs.
  for (const char* word : {"--no-default-config", "-D", ".", "-W", ".", "--stream", "-o", kCriuLog,
                           "-v3", "--manage-cgroups=ignore", "--file-locks", "--action-script"})
    argv.emplace_back(word);
  argv.push_back(start.init_path);
  if (unprivileged) argv.emplace_back("--unprivileged");

  ChildOptions options;
  options.environment = CleanEnvironment();
  options.working_directory = start.work_dir;
  std::vector<Fd> held;
  if (start.enter) {
    for (const char* ns : {"pid_for_children", "mnt"}) {
      auto opened = Open(fmt::format("/proc/{}/ns/{}", start.enter->pid, ns), O_RDONLY);
      if (!opened) return opened.error().Add("enter the unit's pid namespace");
      options.pass_fds.push_back(opened->get());
      held.push_back(std::move(*opened));
    }
    if (!IsAlive(*start.enter))
      return Fail(Errc::kGone, "the unit's pid namespace (init: pid {}) is gone", start.enter->pid);
    options.pass_fds.push_back(start.work_dir_fd);
    options.argv = {start.init_path, "enter", "3", "4", "5"};
  } else if (start.new_namespace) {
    options.argv = {start.init_path, "ns",
                    "--last-pid",    std::to_string(start.new_namespace->last_pid),
                    "--root",        std::to_string(start.new_namespace->root)};
  }
  if (start.enter || start.new_namespace) {
    AppendIdentity(owner, &options.argv);
    options.argv.emplace_back("--");
  } else if (unprivileged) {
    options.credentials = ChildCredentials{owner.effective_uid,
                                           owner.effective_gid,
                                           owner.groups,
                                           {kCapSetpcap, kCapCheckpointRestore}};
  }
  if (start.terminal != CriuStart::Terminal::kNone) {
    options.argv.insert(options.argv.end(), {start.init_path, "terminal"});
    if (start.terminal == CriuStart::Terminal::kControlling)
      options.argv.emplace_back("--controlling");
    options.argv.emplace_back("--");
  }
  options.argv.insert(options.argv.end(), argv.begin(), argv.end());
  return Child::Spawn(options);
}

}  // namespace ckptfs
