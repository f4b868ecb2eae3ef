#include "base/process.h"

#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <csignal>
#include <cstdlib>
#include <map>
#include <optional>
#include <set>
#include <sstream>

namespace ckptfs {
namespace {

constexpr size_t kProcFileLimit = 1 << 20;
constexpr unsigned kKernelThreadFlag = 0x00200000;  // PF_KTHREAD
constexpr unsigned kExitingFlag = 0x00000004;       // PF_EXITING

// "pid (comm) S ppid …": comm may hold spaces and parentheses, so the last ')' ends it.
bool ParseStat(const std::string& text, ProcessInfo* info) {
  size_t open = text.find('(');
  size_t close = text.rfind(')');
  if (open == std::string::npos || close == std::string::npos || close < open) return false;
  info->id.pid = static_cast<pid_t>(std::strtol(text.c_str(), nullptr, 10));
  info->name = text.substr(open + 1, close - open - 1);
  std::istringstream rest(text.substr(close + 1));
  unsigned flags = 0;
  int tty_group = 0;
  rest >> info->state >> info->parent >> info->group >> info->session >> info->tty >> tty_group >>
      flags;
  std::string skipped;
  for (int field = 10; field <= 21; ++field) rest >> skipped;
  rest >> info->id.start_ticks;
  info->kernel_thread = (flags & kKernelThreadFlag) != 0;
  info->exiting = (flags & kExitingFlag) != 0;
  return !rest.fail();
}

// Parent and child of everyone: for kernels that do not list a thread's children.
Result<std::multimap<pid_t, pid_t>> ReadParents() {
  auto proc = Open("/proc", O_RDONLY | O_DIRECTORY);
  if (!proc) return proc.error();
  auto names = ListDir(proc->get());
  if (!names) return names.error();
  std::multimap<pid_t, pid_t> children;
  for (const std::string& name : *names) {
    pid_t pid = 0;
    auto [end, failed] = std::from_chars(name.data(), name.data() + name.size(), pid);
    if (failed != std::errc() || end != name.data() + name.size()) continue;
    auto stat = ReadFile(fmt::format("/proc/{}/stat", pid), kProcFileLimit);
    ProcessInfo info;
    if (stat && ParseStat(*stat, &info)) children.emplace(info.parent, pid);
  }
  return children;
}

// Appends the children of all threads of `pid` that were not seen yet.
void AddChildren(pid_t pid, std::set<pid_t>* seen, std::vector<pid_t>* todo) {
  auto tasks = Open(fmt::format("/proc/{}/task", pid), O_RDONLY | O_DIRECTORY);
  if (!tasks) return;
  auto threads = ListDir(tasks->get());
  if (!threads) return;
  for (const std::string& thread : *threads) {
    auto text = ReadFile(fmt::format("/proc/{}/task/{}/children", pid, thread), kProcFileLimit);
    if (!text) continue;  // the thread has ended; its children went to another
    std::istringstream pids(*text);
    for (pid_t child; pids >> child;)
      if (seen->insert(child).second) todo->push_back(child);
  }
}

void ParseStatus(const std::string& text, ProcessInfo* info) {
  std::istringstream lines(text);
  std::string line;
  Credentials& who = info->credentials;
  while (std::getline(lines, line)) {
    size_t colon = line.find(':');
    if (colon == std::string::npos) continue;
    std::string key = line.substr(0, colon);
    std::istringstream value(line.substr(colon + 1));
    if (key == "Tgid") {
      value >> info->thread_group;
    } else if (key == "Uid") {
      value >> who.real_uid >> who.effective_uid >> who.saved_uid >> who.fs_uid;
    } else if (key == "Gid") {
      value >> who.real_gid >> who.effective_gid >> who.saved_gid >> who.fs_gid;
    } else if (key == "Groups") {
      for (gid_t group; value >> group;) who.groups.push_back(group);
    } else if (key == "NStgid") {
      for (pid_t pid; value >> pid;) info->ns_pids.push_back(pid);
    } else if (key == "CapPrm") {
      value >> std::hex >> who.permitted_capabilities;
    } else if (key == "SigPnd" || key == "ShdPnd") {
      uint64_t pending = 0;
      value >> std::hex >> pending;
      info->kill_pending |= (pending >> (SIGKILL - 1) & 1) != 0;
    }
  }
  std::sort(who.groups.begin(), who.groups.end());
}

// Absence, also when the process goes away between open and read.
bool IsAbsence(const Error& error) {
  return error.code() == Errc::kNotFound || error.code() == Errc::kGone;
}

}  // namespace

Result<std::optional<ProcessInfo>> ReadProcess(pid_t pid) {
  ProcessInfo info;
  auto stat = ReadFile(fmt::format("/proc/{}/stat", pid), kProcFileLimit);
  if (!stat) {
    if (IsAbsence(stat.error())) return std::optional<ProcessInfo>();
    return stat.error();
  }
  if (!ParseStat(*stat, &info)) return Fail(Errc::kIo, "/proc/{}/stat cannot be understood", pid);
  auto status = ReadFile(fmt::format("/proc/{}/status", pid), kProcFileLimit);
  if (!status) {
    if (IsAbsence(status.error())) return std::optional<ProcessInfo>();
    return status.error();
  }
  ParseStatus(*status, &info);
  return std::optional<ProcessInfo>(std::move(info));
}

bool IsAlive(const ProcessId& id) {
  auto stat = ReadFile(fmt::format("/proc/{}/stat", id.pid), kProcFileLimit);
  ProcessInfo info;
  return stat && ParseStat(*stat, &info) && info.id == id && info.state != 'Z' && info.state != 'X';
}

bool IsDying(const ProcessId& id) {
  auto info = ReadProcess(id.pid);
  if (!info) return false;
  return !*info || (*info)->id != id || (*info)->state == 'Z' || (*info)->state == 'X' ||
         (*info)->exiting || (*info)->kill_pending;
}

Result<std::vector<ProcessInfo>> ReadTree(pid_t root) {
  std::optional<std::multimap<pid_t, pid_t>> parents;
  if (::access("/proc/thread-self/children", R_OK) != 0) {
    auto read = ReadParents();
    if (!read) return read.error();
    parents = std::move(*read);
  }
  std::vector<ProcessInfo> tree;
  std::vector<pid_t> todo{root};
  // A reused pid could make the root a child of its own descendant.
  std::set<pid_t> seen{root};
  for (size_t i = 0; i < todo.size(); ++i) {
    auto info = ReadProcess(todo[i]);
    if (!info) return info.error();
    if (!*info) continue;
    tree.push_back(std::move(**info));
    if (!parents) {
      AddChildren(todo[i], &seen, &todo);
      continue;
    }
    auto [first, last] = parents->equal_range(todo[i]);
    for (auto it = first; it != last; ++it)
      if (seen.insert(it->second).second) todo.push_back(it->second);
  }
  if (tree.empty()) return Fail(Errc::kGone, "pid {} does not exist", root);
  return tree;
}

bool IsInTree(pid_t pid, pid_t root) {
  // Bounded: kinship can change while we climb.
  for (int step = 0; pid > 0 && step < 4096; ++step) {
    if (pid == root) return true;
    auto stat = ReadFile(fmt::format("/proc/{}/stat", pid), kProcFileLimit);
    ProcessInfo info;
    if (!stat || !ParseStat(*stat, &info)) return false;
    pid = info.parent;
  }
  return false;
}

Result<Fd> OpenPidfd(const ProcessId& id) {
  int fd = static_cast<int>(::syscall(SYS_pidfd_open, id.pid, 0));
  if (fd < 0) return Error::FromErrno(errno, "pid {}", id.pid);
  Fd pidfd(fd);
  // The pid could have been reused before pidfd_open; the pidfd pins it now.
  if (!IsAlive(id)) return Fail(Errc::kGone, "pid {} is gone", id.pid);
  return pidfd;
}

std::string CgroupOf(pid_t pid) {
  auto text = ReadFile(fmt::format("/proc/{}/cgroup", pid), kProcFileLimit);
  if (!text) return "";
  std::istringstream lines(*text);
  std::string named;
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with("0::")) return line.substr(3);
    constexpr std::string_view kSystemd = ":name=systemd:";
    size_t at = line.find(kSystemd);
    if (at != std::string::npos) named = line.substr(at + kSystemd.size());
  }
  return named;
}

}  // namespace ckptfs
