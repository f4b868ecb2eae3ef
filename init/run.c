// `ckptfs-init run [--cgroup NAME] [--keep-session] -- PROGRAM [ARGUMENT...]`
//
// The root of a unit's tree: a subreaper, so that nothing of the job escapes by
// daemonising; in a cgroup v2 of its own below the caller's (if it may make
// one), in a session of its own, with no descriptor above 2. Signals sent to it
// reach the program.
//
// When the program and all its descendants are gone it keeps the exit status: it
// names itself "ckpt:exit=N" or "ckpt:sig=N" and waits, ten minutes at most, for
// SIGTERM; then it ends the way the program did. A PROGRAM that cannot be run
// is said on stderr, with status 127 or 126, at once.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "init/roles.h"

// Where cgroup v2 is mounted; "" if nowhere.
static void FindCgroupMount(char* mount, size_t size) {
  mount[0] = '\0';
  FILE* mounts = fopen("/proc/self/mounts", "re");
  if (mounts == NULL) return;
  char line[4096], where[1024], type[64];
  while (fgets(line, sizeof line, mounts) != NULL)
    if (sscanf(line, "%*s %1023s %63s", where, type) == 2 && strcmp(type, "cgroup2") == 0) {
      snprintf(mount, size, "%s", where);
      break;
    }
  fclose(mounts);
}

// A cgroup is good to have, not needed: failures are silent.
static void EnterOwnCgroup(const char* name) {
  char mount[1024], own[2048] = "", line[2048], path[4608];
  FindCgroupMount(mount, sizeof mount);
  FILE* cgroups = fopen("/proc/self/cgroup", "re");
  if (cgroups == NULL || mount[0] == '\0') {
    if (cgroups != NULL) fclose(cgroups);
    return;
  }
  while (fgets(line, sizeof line, cgroups) != NULL)
    if (strncmp(line, "0::", 3) == 0) {
      line[strcspn(line, "\n")] = '\0';
      snprintf(own, sizeof own, "%s", line + 3);
    }
  fclose(cgroups);
  snprintf(path, sizeof path, "%s%s/%s", mount, own, name);
  if (mkdir(path, 0755) != 0 && errno != EEXIST) return;
  strcat(path, "/cgroup.procs");
  int fd = open(path, O_WRONLY | O_CLOEXEC);
  if (fd < 0) return;
  if (write(fd, "0", 1) != 1) {
    // Not allowed in: stay where we are.
  }
  close(fd);
}

static void KeepStatus(int wait_status) {
  char name[16];
  if (WIFSIGNALED(wait_status))
    snprintf(name, sizeof name, "ckpt:sig=%d", WTERMSIG(wait_status));
  else
    snprintf(name, sizeof name, "ckpt:exit=%d", WEXITSTATUS(wait_status));
  prctl(PR_SET_NAME, name);
  sigset_t term;
  sigemptyset(&term);
  sigaddset(&term, SIGTERM);
  // Slices instead of a deadline: clocks jump when we are restored elsewhere.
  for (int second = 0; second < 600; ++second) {
    struct timespec slice = {1, 0};
    if (sigtimedwait(&term, NULL, &slice) == SIGTERM) break;
  }
}

// What the program gets to inherit besides descriptors 0 to 2: nothing of ours.
static void RunProgram(char** argv, int own_group, const sigset_t* mask, int report) {
  if (own_group) setpgid(0, 0);  // `kill 0` in the program is not for us
  sigprocmask(SIG_SETMASK, mask, NULL);
  execvp(argv[0], argv);
  int failed = errno;
  if (write(report, &failed, sizeof failed) != sizeof failed) {
    // Nobody is left to tell.
  }
  _exit(ExecFailureStatus(failed));
}

int RunRole(int argc, char** argv) {
  const char* cgroup = NULL;
  int new_session = 1, at = 2;
  for (; at < argc && strcmp(argv[at], "--") != 0; ++at) {
    if (strcmp(argv[at], "--cgroup") == 0 && at + 1 < argc)
      cgroup = argv[++at];
    else if (strcmp(argv[at], "--keep-session") == 0)
      new_session = 0;
    else
      return Complain(argv[at], EINVAL, 2);
  }
  if (at + 1 >= argc) return Complain("no program given", EINVAL, 2);
  if (cgroup != NULL && (strchr(cgroup, '/') != NULL || cgroup[0] == '.' || cgroup[0] == '\0'))
    return Complain(cgroup, EINVAL, 2);
  // A descriptor that strayed in here would have to be dumped with us.
  syscall(SYS_close_range, 3, ~0U, 0);
  if (new_session) setsid();
  if (prctl(PR_SET_CHILD_SUBREAPER, 1) != 0) return Complain("become subreaper", errno, 126);
  if (cgroup != NULL) EnterOwnCgroup(cgroup);
  sigset_t all, before;
  sigfillset(&all);
  sigprocmask(SIG_SETMASK, &all, &before);
  int report[2];
  if (pipe2(report, O_CLOEXEC) != 0) return Complain("pipe", errno, 126);
  pid_t program = fork();
  if (program < 0) return Complain("fork", errno, 126);
  if (program == 0) RunProgram(argv + at + 1, new_session, &before, report[1]);
  close(report[1]);
  int failed = 0;
  if (read(report[0], &failed, sizeof failed) == sizeof failed) {
    waitpid(program, NULL, 0);
    return Complain(argv[at + 1], failed, ExecFailureStatus(failed));
  }
  close(report[0]);
  // Whoever reads the program's output must see its end when the program ends.
  int null = open("/dev/null", O_RDWR | O_CLOEXEC);
  for (int fd = 0; null >= 0 && fd <= 2; ++fd) dup2(null, fd);
  if (null > 2) close(null);
  int status = ReapUntilAlone(program);
  KeepStatus(status);
  EndLike(status);
}
