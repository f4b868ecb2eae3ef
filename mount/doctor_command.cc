// `ckptfs doctor`: what works on this machine, what does not, and what to do.
#include <fcntl.h>
#include <linux/magic.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>

#include "base/process.h"
#include "crypto/secret_bytes.h"
#include "crypto/suite.h"
#include "kapi/registry.h"
#include "mount/commands.h"
#include "mount/exit_codes.h"
#include "mount/mount_table.h"

namespace ckptfs {
namespace {

enum class Verdict { kYes, kPartly, kNo };

struct Finding {
  std::string what;
  Verdict verdict;
  std::string words;
  std::string remedy;
};

bool IsMemory(const char* path) {
  struct statfs fs {};
  return ::statfs(path, &fs) == 0 && fs.f_type == TMPFS_MAGIC;
}

Finding Kernel() {
  utsname name{};
  ::uname(&name);
  int major = 0, minor = 0;
  std::sscanf(name.release, "%d.%d", &major, &minor);
  bool good = major > 5 || (major == 5 && minor >= 9);
  return {"kernel", good ? Verdict::kYes : Verdict::kNo, name.release,
          good ? "" : "5.9 or newer is needed (CAP_CHECKPOINT_RESTORE, pidfd, close_range)"};
}

Finding CheckpointRestore() {
  bool good = ::access("/proc/sys/kernel/ns_last_pid", F_OK) == 0;
  return {"kernel: restore", good ? Verdict::kYes : Verdict::kNo,
          good ? "built with CONFIG_CHECKPOINT_RESTORE" : "built without CONFIG_CHECKPOINT_RESTORE",
          good ? "" : "use a distribution's kernel"};
}

Finding Fuse() {
  auto device = Open("/dev/fuse", O_RDWR);
  if (device) return {"fuse", Verdict::kYes, "/dev/fuse can be opened", ""};
  bool missing = device.error().code() == Errc::kNotFound;
  return {"fuse", Verdict::kNo, device.error().message(),
          missing ? "modprobe fuse" : "chmod 666 /dev/fuse, or mount as root"};
}

Finding FuseHelper() {
  bool there = ::access("/usr/bin/fusermount3", X_OK) == 0;
  return {"fuse: users", there || ::geteuid() == 0 ? Verdict::kYes : Verdict::kPartly,
          there ? "fusermount3 is there" : "no fusermount3: only root can mount",
          there ? "" : "apt install fuse3"};
}

Finding OneCheckpointer(const Checkpointer& one) {
  Availability is = one.Probe();
  std::string name = fmt::format("checkpointer {}", one.name());
  if (is.available)
    return {name, Verdict::kYes, is.version.empty() ? "works" : "version " + is.version, is.remedy};
  return {name, Verdict::kPartly, is.why_not, is.remedy};
}

Finding OneSuite(Suite suite) {
  std::string name = fmt::format("suite {}", SuiteName(suite));
  if (SuiteAvailable(suite)) {
    bool fastest = suite == DefaultSuite();
    return {name, Verdict::kYes, fastest ? "new images are sealed with it" : "can be read", ""};
  }
  auto why = ParseSuite(SuiteName(suite));
  return {name, Verdict::kPartly, why ? "not here" : why.error().message(),
          why ? "" : why.error().remedy()};
}

Finding Locked() {
  rlimit limit{};
  ::getrlimit(RLIMIT_MEMLOCK, &limit);
  if (limit.rlim_max == RLIM_INFINITY) return {"locked memory", Verdict::kYes, "no limit", ""};
  bool good = limit.rlim_max >= (1u << 20);
  return {"locked memory", good ? Verdict::kYes : Verdict::kNo,
          fmt::format("at most {} KiB", limit.rlim_max >> 10),
          good ? "" : "keys are kept in locked memory: ulimit -l 1024"};
}

Finding Memory() {
  const char* where = ::geteuid() == 0 && IsMemory("/run") ? "/run"
                      : IsMemory("/dev/shm")               ? "/dev/shm"
                                                           : nullptr;
  if (where != nullptr)
    return {"folder in memory", Verdict::kYes, fmt::format("{} is a tmpfs", where), ""};
  return {"folder in memory", Verdict::kNo, "neither /run nor /dev/shm is a tmpfs",
          "mount -t tmpfs tmpfs /dev/shm"};
}

// In the store's folder, or in the nearest one above it that is there.
Finding StoreDisk(const std::string& store) {
  std::filesystem::path dir(store.empty() ? DefaultStore() : store);
  std::error_code failed;
  while (!std::filesystem::is_directory(dir, failed) && dir.has_parent_path() &&
         dir != dir.parent_path())
    dir = dir.parent_path();
  auto opened = Open(dir.string(), O_RDONLY | O_DIRECTORY);
  if (!opened) return {"store", Verdict::kNo, opened.error().message(), ""};
  struct statfs fs {};
  ::fstatfs(opened->get(), &fs);
  std::string space =
      fmt::format("{}: {:.1f} GiB free", dir.string(),
                  static_cast<double>(fs.f_bavail) * static_cast<double>(fs.f_bsize) / (1u << 30));
  if (fs.f_type == TMPFS_MAGIC)
    return {"store", Verdict::kPartly, space + ", in memory: gone after a reboot",
            "--store DIR on a disk"};
  Fd file(::openat(opened->get(), ".", O_TMPFILE | O_RDWR | O_DIRECT | O_CLOEXEC, 0600));
  if (file.valid()) return {"store", Verdict::kYes, space + ", O_DIRECT works", ""};
  return {"store", errno == EACCES ? Verdict::kNo : Verdict::kPartly,
          fmt::format("{}, O_DIRECT: {}", space, strerrordesc_np(errno)),
          errno == EACCES ? "--store DIR that you may write to" : "it works, more slowly"};
}

// Only the policy `tcp keep` needs it; all else works without.
Finding KeptConnections(const Checkpointer& criu) {
  bool keeps = criu.capabilities().tcp;
  return {"policy tcp keep", keeps ? Verdict::kYes : Verdict::kPartly,
          keeps ? "connections of root's jobs can be kept"
                : "criu cannot lock the network with nftables: connections are always closed",
          keeps ? "" : "apt install nftables, and a criu that was built with it"};
}

Finding Cgroups() {
  auto mounts = ReadFile("/proc/self/mounts", 16 << 20);
  bool there = mounts && mounts->find(" cgroup2 ") != std::string::npos;
  return {"cgroup v2", there ? Verdict::kYes : Verdict::kPartly,
          there ? "mounted" : "not mounted: processes that leave a job's tree are not noticed",
          there ? "" : "mount -t cgroup2 none /sys/fs/cgroup"};
}

Finding User() {
  auto self = ReadProcess(::getpid());
  uint64_t capabilities = self && *self ? (*self)->credentials.permitted_capabilities : 0;
  constexpr uint64_t kCheckpointRestore = 1ull << 40;
  if (::geteuid() == 0) return {"user", Verdict::kYes, "root: can save the jobs of every user", ""};
  bool may = (capabilities & kCheckpointRestore) != 0;
  return {"user", Verdict::kPartly,
          fmt::format("uid {}{}: only your own jobs{}", ::geteuid(),
                      may ? " with CAP_CHECKPOINT_RESTORE" : "",
                      may ? "" : ", and criu needs CAP_CHECKPOINT_RESTORE"),
          "run 'ckptfs mount' as root with -o allow_other"};
}

std::vector<Finding> Examine(const std::string& store) {
  std::vector<Finding> all = {Kernel(), CheckpointRestore(), Fuse(), FuseHelper()};
  bool any = false;
  for (const auto& checkpointer : MakeCheckpointers()) {
    all.push_back(OneCheckpointer(*checkpointer));
    any = any || all.back().verdict == Verdict::kYes;
    if (checkpointer->name() == "criu" && all.back().verdict == Verdict::kYes)
      all.push_back(KeptConnections(*checkpointer));
  }
  if (!any)
    all.push_back({"checkpointers", Verdict::kNo, "none works: no job can be saved",
                   "scripts/setup puts a criu that works here in place"});
  for (Suite suite : AllSuites()) all.push_back(OneSuite(suite));
  all.push_back(Locked());
  all.push_back(Memory());
  all.push_back(StoreDisk(store));
  all.push_back(Cgroups());
  all.push_back(User());
  if (auto mounts = FindMounts(); mounts)
    for (const MountedTree& one : *mounts) {
      bool alive = ::access((one.mountpoint + "/status").c_str(), F_OK) == 0;
      all.push_back({"mount " + one.mountpoint, alive ? Verdict::kYes : Verdict::kPartly,
                     alive ? "store " + one.source : "its daemon does not answer",
                     alive ? "" : "ckptfs mount again at the same place recovers it"});
    }
  return all;
}

}  // namespace

int DoctorCommand(const std::string& store) {
  if (auto ready = InitCrypto(); !ready) {
    fmt::print(stderr, "ckptfs: {}\n", ready.error().Text());
    return kExitFailed;
  }
  bool good = true;
  size_t width = 0;
  std::vector<Finding> all = Examine(store);
  for (const Finding& one : all) width = std::max(width, one.what.size());
  for (const Finding& one : all) {
    const char* verdict = one.verdict == Verdict::kYes      ? "yes   "
                          : one.verdict == Verdict::kPartly ? "partly"
                                                            : "NO    ";
    fmt::print("{}  {:<{}}  {}\n", verdict, one.what, width, one.words);
    if (one.verdict != Verdict::kYes && !one.remedy.empty())
      fmt::print("{:8}{:<{}}  -> {}\n", "", "", width, one.remedy);
    good = good && one.verdict != Verdict::kNo;
  }
  return good ? kExitOk : kExitWrong;
}

}  // namespace ckptfs
