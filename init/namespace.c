// A pid namespace of a unit's own, for a restart whose pids are taken here.
//
// `ckptfs-init ns --last-pid N --root N [IDENTITY] -- CRIU ARGUMENT...`
//   makes a pid and a mount namespace (criu needs a /proc that fits), whose PID 1
//   runs criu there, as IDENTITY says. The caller's child ends with criu's
//   status. PID 1 stays: it reaps, passes signals on to the root, and when the
//   last process is gone ends with the root's status. `--last-pid` moves criu's
//   own pids out of the way of those that it restores.
//
// `ckptfs-init enter PIDNS-FD MNTNS-FD CWD-FD [IDENTITY] -- CRIU ARGUMENT...`
//   runs criu inside such a namespace, in the folder CWD-FD, and ends with its status.
//
// IDENTITY: [--uid N --gid N --groups N,N… --caps]
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/close_range.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "init/roles.h"

enum { kCapSetpcap = 8, kCapCheckpointRestore = 40 };

int TakeIdentityOption(struct Identity* who, int argc, char** argv, int at) {
  if (strcmp(argv[at], "--caps") == 0) {
    who->keep_capabilities = 1;
    return 1;
  }
  if (at + 1 >= argc) return 0;
  if (strcmp(argv[at], "--uid") == 0) {
    who->change = 1;
    who->uid = (uid_t)strtoul(argv[at + 1], NULL, 10);
  } else if (strcmp(argv[at], "--gid") == 0) {
    who->gid = (gid_t)strtoul(argv[at + 1], NULL, 10);
  } else if (strcmp(argv[at], "--groups") == 0) {
    char* rest = argv[at + 1];
    while (*rest != '\0' && who->group_count < sizeof who->groups / sizeof who->groups[0]) {
      who->groups[who->group_count++] = (gid_t)strtoul(rest, &rest, 10);
      if (*rest == ',') ++rest;
    }
    if (*rest != '\0') return 0;
  } else {
    return 0;
  }
  return 2;
}

int Become(const struct Identity* who) {
  if (!who->change) return 0;
  if (syscall(SYS_setgroups, who->group_count, who->groups) != 0) return -1;
  if (setresgid(who->gid, who->gid, who->gid) != 0) return -1;
  if (who->keep_capabilities && prctl(PR_SET_KEEPCAPS, 1) != 0) return -1;
  if (setresuid(who->uid, who->uid, who->uid) != 0) return -1;
  if (!who->keep_capabilities) return 0;
  struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
  struct __user_cap_data_struct data[2] = {{0}, {0}};
  data[0].permitted = data[0].effective = data[0].inheritable = 1u << kCapSetpcap;
  data[1].permitted = data[1].effective = data[1].inheritable = 1u << (kCapCheckpointRestore - 32);
  if (syscall(SYS_capset, &header, data) != 0) return -1;
  if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, kCapSetpcap, 0, 0) != 0) return -1;
  return prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, kCapCheckpointRestore, 0, 0);
}

static int ExitCode(int wait_status) {
  return WIFSIGNALED(wait_status) ? 128 + WTERMSIG(wait_status) : WEXITSTATUS(wait_status);
}

// The child's half of every fork here.
_Noreturn static void ExecAs(const struct Identity* who, char** argv, const sigset_t* mask) {
  syscall(SYS_close_range, 3, ~0U, 0);
  if (Become(who) != 0) _exit(Complain("take the owner's identity", errno, 126));
  if (mask != NULL) sigprocmask(SIG_SETMASK, mask, NULL);
  execv(argv[0], argv);
  _exit(Complain(argv[0], errno, ExecFailureStatus(errno)));
}

static int MakeOwnProc(void) {
  // Slave: what is mounted outside later is seen here, never the reverse.
  if (mount("none", "/", NULL, MS_REC | MS_SLAVE, NULL) != 0) return -1;
  return mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL);
}

static int RaiseLastPid(const char* last_pid) {
  int fd = open("/proc/sys/kernel/ns_last_pid", O_WRONLY | O_CLOEXEC);
  if (fd < 0) return -1;
  ssize_t written = write(fd, last_pid, strlen(last_pid));
  close(fd);
  return written < 0 ? -1 : 0;
}

_Noreturn static void BeFirst(const struct Identity* who, const char* last_pid, pid_t root,
                              char** argv, int report) {
  sigset_t all, before;
  sigfillset(&all);
  sigprocmask(SIG_SETMASK, &all, &before);
  setsid();
  if (MakeOwnProc() != 0) _exit(Complain("mount /proc", errno, 126));
  if (RaiseLastPid(last_pid) != 0) _exit(Complain("set ns_last_pid", errno, 126));
  pid_t criu = fork();
  if (criu < 0) _exit(Complain("fork", errno, 126));
  if (criu == 0) ExecAs(who, argv, &before);
  int status = 0;
  while (waitpid(criu, &status, 0) < 0 && errno == EINTR) {
  }
  unsigned char code = (unsigned char)ExitCode(status);
  // From here on no more than the owner may do is needed.
  struct Identity plain = *who;
  plain.keep_capabilities = 0;
  if (Become(&plain) != 0) code = 126;
  if (write(report, &code, 1) != 1 || code != 0) _exit(code);  // takes the namespace along
  syscall(SYS_close_range, 3, ~0U, 0);
  if (chdir("/") != 0) _exit(126);
  prctl(PR_SET_NAME, "ckpt:ns");
  EndLike(ReapUntilAlone(root));
}

int NamespaceRole(int argc, char** argv) {
  struct Identity who = {0};
  const char* last_pid = "0";
  pid_t root = 0;
  int at = 2;
  while (at < argc && strcmp(argv[at], "--") != 0) {
    int taken = TakeIdentityOption(&who, argc, argv, at);
    if (taken == 0 && at + 1 < argc) {
      if (strcmp(argv[at], "--last-pid") == 0) last_pid = argv[at + 1], taken = 2;
      if (strcmp(argv[at], "--root") == 0) root = atoi(argv[at + 1]), taken = 2;
    }
    if (taken == 0) return Complain(argv[at], EINVAL, 2);
    at += taken;
  }
  if (at + 1 >= argc) return Complain("no program given", EINVAL, 2);
  int report[2];
  if (pipe2(report, O_CLOEXEC) != 0) return Complain("pipe", errno, 126);
  if (unshare(CLONE_NEWPID | CLONE_NEWNS) != 0) return Complain("new namespaces", errno, 126);
  pid_t first = fork();
  if (first < 0) return Complain("fork", errno, 126);
  if (first == 0) BeFirst(&who, last_pid, root, argv + at + 1, report[1]);
  close(report[1]);
  unsigned char code;
  if (read(report[0], &code, 1) == 1 && code == 0) return 0;
  int status = 0;
  waitpid(first, &status, 0);
  return ExitCode(status) != 0 ? ExitCode(status) : 126;
}

int EnterRole(int argc, char** argv) {
  struct Identity who = {0};
  if (argc < 7) return Complain("enter", EINVAL, 2);
  int at = 5;
  while (at < argc && strcmp(argv[at], "--") != 0) {
    int taken = TakeIdentityOption(&who, argc, argv, at);
    if (taken == 0) return Complain(argv[at], EINVAL, 2);
    at += taken;
  }
  if (at + 1 >= argc) return Complain("no program given", EINVAL, 2);
  if (setns(atoi(argv[2]), CLONE_NEWPID) != 0) return Complain("enter pid namespace", errno, 126);
  if (setns(atoi(argv[3]), CLONE_NEWNS) != 0) return Complain("enter mount namespace", errno, 126);
  if (fchdir(atoi(argv[4])) != 0) return Complain("enter work folder", errno, 126);
  pid_t criu = fork();
  if (criu < 0) return Complain("fork", errno, 126);
  if (criu == 0) ExecAs(&who, argv + at + 1, NULL);
  int status = 0;
  while (waitpid(criu, &status, 0) < 0 && errno == EINTR) {
  }
  return ExitCode(status);
}
