// `ckptfs-init terminal [--controlling] -- CRIU ARGUMENT...`
//
// A job that used a terminal needs one again, and the old one is gone. This makes
// a new pseudo terminal, runs criu with it as standard input (criu gives it to
// the job wherever the job had the old one) and ends with criu's status. A keeper
// stays behind, holds the other side and drops what the job prints there, until
// nothing has the terminal open any more. With --controlling it leads a session
// with that terminal, which criu and the restored job are in.
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/close_range.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "init/roles.h"

_Noreturn static void RunCriu(char** argv, int slave, int controlling) {
  if (controlling) {
    // In the keeper's session, which outlives criu; in front, as the job was.
    setpgid(0, 0);
    signal(SIGTTOU, SIG_IGN);
    tcsetpgrp(slave, getpid());
    signal(SIGTTOU, SIG_DFL);
  } else {
    setsid();
  }
  dup2(slave, 0);
  syscall(SYS_close_range, 3, ~0U, 0);
  execv(argv[0], argv);
  _exit(Complain(argv[0], errno, ExecFailureStatus(errno)));
}

// Outlives criu with none of its capabilities.
static void DropCapabilities(void) {
  struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
  struct __user_cap_data_struct none[2] = {{0}, {0}};
  prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
  syscall(SYS_capset, &header, none);
}

static int SessionHasOthers(void) {
  DIR* proc = opendir("/proc");
  int found = 0;
  for (struct dirent* entry; proc != NULL && !found && (entry = readdir(proc)) != NULL;) {
    pid_t pid = atoi(entry->d_name);
    if (pid > 0 && pid != getpid()) found = getsid(pid) == getpid();
  }
  if (proc != NULL) closedir(proc);
  return found;
}

_Noreturn static void Keep(char** argv, int controlling, int report) {
  char name[64];
  int master = open("/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC);
  if (master < 0 || unlockpt(master) != 0 || ptsname_r(master, name, sizeof name) != 0)
    _exit(Complain("make a terminal", errno, 126));
  int slave = open(name, O_RDWR | O_NOCTTY | O_CLOEXEC);
  if (slave < 0) _exit(Complain(name, errno, 126));
  // The end of a session's leader hangs up its terminal, so the keeper is it, not criu.
  setsid();
  if (controlling && ioctl(slave, TIOCSCTTY, 0) != 0)
    _exit(Complain("take the terminal", errno, 126));
  pid_t criu = fork();
  if (criu < 0) _exit(Complain("fork", errno, 126));
  if (criu == 0) RunCriu(argv, slave, controlling);
  DropCapabilities();
  int status = 0;
  while (waitpid(criu, &status, 0) < 0 && errno == EINTR) {
  }
  unsigned char code =
      (unsigned char)(WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status));
  close(slave);
  if (write(report, &code, 1) != 1 || code != 0) _exit(code);
  close(report);
  prctl(PR_SET_NAME, "ckpt:terminal");
  char dropped[4096];
  for (;;) {
    if (read(master, dropped, sizeof dropped) > 0 || errno == EINTR) continue;
    // EIO: nobody has the other side open. A job that is still in the session must
    // not be hung up, though: it may open /dev/tty again.
    if (!controlling || !SessionHasOthers()) _exit(0);
    sleep(1);
  }
}

int TerminalRole(int argc, char** argv) {
  int at = 2;
  int controlling = at < argc && strcmp(argv[at], "--controlling") == 0;
  if (controlling) ++at;
  if (at + 1 >= argc || strcmp(argv[at], "--") != 0) return Complain("terminal", EINVAL, 2);
  int report[2];
  if (pipe2(report, O_CLOEXEC) != 0) return Complain("pipe", errno, 126);
  pid_t keeper = fork();
  if (keeper < 0) return Complain("fork", errno, 126);
  if (keeper == 0) Keep(argv + at + 1, controlling, report[1]);
  close(report[1]);
  unsigned char code;
  if (read(report[0], &code, 1) == 1 && code == 0) return 0;
  int status = 0;
  waitpid(keeper, &status, 0);
  return WIFEXITED(status) && WEXITSTATUS(status) != 0 ? WEXITSTATUS(status) : 126;
}
